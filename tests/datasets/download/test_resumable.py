"""Transfers: whatever a server does, the file is whole or not there, and nothing that has arrived is lost."""

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import threading
import time
from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lungcli.core.errors import LungcliError, NetworkError
from lungcli.datasets.download import http, resumable
from lungcli.datasets.download.http import ProgressCallbacks, RetryPolicy
from lungcli.datasets.download.resumable import Remote, Sidecar, range_action, transfer
from tests.datasets.servers import Answer, Served, served, serving

__all__ = ["served"]

FILE = resumable.ZIP_MAGIC + bytes(range(256)) * 4000
OTHER = resumable.ZIP_MAGIC + bytes(range(255, -1, -1)) * 3000
HALF = len(FILE) // 2
SHA = hashlib.sha256(FILE).hexdigest()
QUICK = RetryPolicy(tries=3, first_wait=0.0, connect=5.0, silence=5.0)
PAGE = b"<!DOCTYPE html><html><body>Please log in</body></html>"


@dataclass
class Heard:
    """Keeps what it was told."""

    moves: list[tuple[int, int]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def told(self) -> ProgressCallbacks:
        return ProgressCallbacks(moved=lambda done, total: self.moves.append((done, total)), say=self.said.append)


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "set.zip"


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits that were slept through at once."""
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def left(into: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in into.parent.iterdir()} if into.parent.exists() else {}


def leave_half(served: Served, into: Path, heard: Heard) -> None:
    """Cut a transfer off half-way, as a server that then stays away does."""
    url = served.give(Answer(body=FILE, cut=HALF), Answer(status=503))
    with pytest.raises(NetworkError):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)
    assert left(into)["set.part"] == FILE[:HALF]


def test_what_arrives_is_what_was_sent(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(body=FILE))

    assert transfer(Remote(url=url, size=len(FILE), sha256=SHA), into, heard.told()) == SHA

    assert left(into) == {"set.zip": FILE}
    assert heard.moves[0] == (0, len(FILE))
    assert heard.moves[-1] == (len(FILE), len(FILE))
    assert heard.said == []
    assert served.asked[0][1]["User-Agent"].startswith("lungcli/")
    assert served.asked[0][1]["Accept-Encoding"] == "identity"


def test_slow(served: Served, into: Path, heard: Heard) -> None:
    transfer(Remote(url=served.give(Answer(body=FILE, pause=0.01))), into, heard.told(), retry=QUICK)

    assert left(into) == {"set.zip": FILE}
    assert heard.moves == sorted(heard.moves)
    assert len(heard.moves) > 2


def test_silence_is_borne_only_so_long(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(body=FILE, pause=3.0), Answer(body=FILE))

    transfer(Remote(url=url), into, heard.told(), retry=RetryPolicy(first_wait=0.0, silence=0.2))

    assert left(into) == {"set.zip": FILE}
    assert "trying again" in heard.said[0]


def test_cut_off_half_way_goes_on_where_it_was(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(body=FILE, cut=HALF), Answer(body=FILE))

    assert transfer(Remote(url=url), into, heard.told(), retry=QUICK) == SHA

    assert left(into) == {"set.zip": FILE}
    assert served.ranges() == ["", f"bytes={HALF}-"]
    assert served.asked[1][1]["If-Range"] == '"one"'
    assert (HALF, len(FILE)) in heard.moves


def test_the_next_call_goes_on_too(served: Served, into: Path, heard: Heard) -> None:
    leave_half(served, into, heard)

    assert transfer(Remote(url=served.give(Answer(body=FILE))), into, heard.told(), retry=QUICK) == SHA

    assert served.ranges() == [f"bytes={HALF}-"]
    assert left(into) == {"set.zip": FILE}


def test_progress_gives_new_patience(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(*(Answer(body=FILE, cut=len(FILE) // 12) for _ in range(20)))

    assert transfer(Remote(url=url), into, heard.told(), retry=QUICK) == SHA
    assert len(served.asked) > QUICK.tries


@pytest.mark.parametrize("etag", ['"one"', "", 'W/"one"'])
def test_no_ranges_means_starting_over(served: Served, into: Path, heard: Heard, etag: str) -> None:
    url = served.give(Answer(body=FILE, cut=HALF, etag=etag), Answer(body=FILE, ranges=False, etag=etag))

    assert transfer(Remote(url=url), into, heard.told(), retry=QUICK) == SHA
    assert left(into) == {"set.zip": FILE}


def test_the_date_of_change_tells_where_there_is_no_etag(served: Served, into: Path, heard: Heard) -> None:
    date = {"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}
    url = served.give(Answer(body=FILE, cut=HALF, etag="", headers=date), Answer(body=FILE, etag="", headers=date))

    assert transfer(Remote(url=url), into, heard.told(), retry=QUICK) == SHA
    assert served.asked[1][1]["If-Range"] == date["Last-Modified"]


@pytest.mark.parametrize("stubborn", [False, True])
def test_another_file_in_between_is_never_mixed_in(served: Served, into: Path, heard: Heard, stubborn: bool) -> None:
    leave_half(served, into, heard)
    url = served.give(Answer(body=OTHER, etag='"two"', stubborn=stubborn))

    transfer(Remote(url=url), into, heard.told(), retry=QUICK)

    assert left(into) == {"set.zip": OTHER}


def test_a_shorter_file_in_between(served: Served, into: Path, heard: Heard) -> None:
    leave_half(served, into, heard)
    short = resumable.ZIP_MAGIC + b"short"

    url = served.give(Answer(body=short, etag='"two"', stubborn=True))
    transfer(Remote(url=url), into, heard.told(), retry=QUICK)

    assert left(into) == {"set.zip": short}


def test_a_part_that_is_whole_needs_nothing_more(served: Served, into: Path, heard: Heard) -> None:
    into.parent.mkdir()
    into.with_suffix(".part").write_bytes(FILE)
    into.with_suffix(".json").write_text(f'{{"validator": "\\"one\\"", "size": {len(FILE)}}}')

    assert transfer(Remote(url=served.give(Answer(status=500))), into, heard.told(), retry=QUICK) == SHA
    assert served.asked == []


def test_nothing_left_to_send_is_told_by_416(served: Served, into: Path, heard: Heard) -> None:
    into.parent.mkdir()
    into.with_suffix(".part").write_bytes(FILE)
    into.with_suffix(".json").write_text('{"validator": "\\"one\\"", "size": 0}')

    assert transfer(Remote(url=served.give(Answer(body=FILE))), into, heard.told(), retry=QUICK) == SHA
    assert served.ranges() == [f"bytes={len(FILE)}-"]


@pytest.mark.parametrize("note", [b"", b"no json", b'{"size": "x"}'])
def test_a_part_without_a_good_note_is_begun_anew(served: Served, into: Path, heard: Heard, note: bytes) -> None:
    into.parent.mkdir()
    into.with_suffix(".part").write_bytes(b"what is this")
    into.with_suffix(".json").write_bytes(note)

    assert transfer(Remote(url=served.give(Answer(body=FILE))), into, heard.told(), retry=QUICK) == SHA
    assert served.ranges() == [""]


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_and_keeps_the_part(served: Served, into: Path, heard: Heard, status: int) -> None:
    leave_half(served, into, heard)
    url = served.give(Answer(status=status))

    with pytest.raises(NetworkError, match=f"it answers {status}"):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)

    assert len(served.asked) == 1
    assert left(into)["set.part"] == FILE[:HALF]


def test_too_many_requests_waits_as_long_as_asked(served: Served, into: Path, heard: Heard, waits: list[float]) -> None:
    url = served.give(Answer(status=429, headers={"Retry-After": "7"}), Answer(body=FILE))

    assert transfer(Remote(url=url), into, heard.told()) == SHA

    assert waits == [7.0]
    assert heard.said == [f"{url}: it answers 429 Too Many Requests; trying again in 7 s"]


def test_who_asks_for_too_long_is_left_alone(served: Served, into: Path, heard: Heard, waits: list[float]) -> None:
    url = served.give(Answer(status=429, headers={"Retry-After": "86400"}))

    with pytest.raises(NetworkError, match="asks to wait 86400 s"):
        transfer(Remote(url=url), into, heard.told())
    assert (waits, len(served.asked)) == ([], 1)


def test_waits_double(served: Served, into: Path, heard: Heard, waits: list[float]) -> None:
    url = served.give(*(Answer(status=status) for status in (500, 502, 503, 504)), Answer(body=FILE))

    assert transfer(Remote(url=url), into, heard.told()) == SHA
    assert waits == [1.0, 2.0, 4.0, 8.0]


def test_patience_ends(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(status=500))

    with pytest.raises(NetworkError, match="it answers 500 Internal Server Error, 3 times in a row"):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)
    assert len(served.asked) == 3


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (PAGE, "a web page"),
        (b"\n  <html>", "a web page"),
        (b'{"error": "no"}', "something else"),
        (b"PK", "something else"),
        (b"", "it sends nothing"),
    ],
)
def test_what_is_no_zip_file_is_not_kept(served: Served, into: Path, heard: Heard, body: bytes, says: str) -> None:
    url = served.give(Answer(body=body))

    with pytest.raises(NetworkError, match=says):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)

    assert len(served.asked) == 1
    assert left(into) == {}


def test_a_log_in_page_does_not_cost_the_part(served: Served, into: Path, heard: Heard) -> None:
    leave_half(served, into, heard)
    before = left(into)
    url = served.give(Answer(body=PAGE, etag=""))

    with pytest.raises(NetworkError, match="a web page"):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)

    assert left(into) == before


def test_wrong_hash(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(body=OTHER))

    with pytest.raises(NetworkError, match="not the sha256 it must have"):
        transfer(Remote(url=url, sha256=SHA), into, heard.told(), retry=QUICK)
    assert left(into) == {}


def test_wrong_size(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(body=OTHER))

    with pytest.raises(NetworkError, match="not the 1,024,004 it lists"):
        transfer(Remote(url=url, size=len(FILE)), into, heard.told(), retry=QUICK)
    assert not into.exists()


def test_without_a_length(served: Served, into: Path, heard: Heard) -> None:
    transfer(Remote(url=served.give(Answer(body=FILE, sized=False))), into, heard.told(), retry=QUICK)

    assert left(into) == {"set.zip": FILE}
    assert heard.moves[-1] == (len(FILE), 0)


def test_shorter_than_listed_and_without_a_length(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(body=FILE, sized=False, cut=HALF), Answer(body=FILE))

    assert transfer(Remote(url=url, size=len(FILE)), into, heard.told(), retry=QUICK) == SHA
    assert left(into) == {"set.zip": FILE}


def test_a_body_without_end(served: Served, into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumable, "MAX_BYTES", 100_000)

    with pytest.raises(NetworkError, match="more than 100,000 bytes"):
        transfer(Remote(url=served.give(Answer(body=FILE, sized=False))), into, heard.told(), retry=QUICK)
    assert not into.exists()


def test_redirect(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(status=302, headers={"Location": "/signed/file?token=secret"}), Answer(body=FILE))

    assert transfer(Remote(url=url), into, heard.told(), retry=QUICK) == SHA
    assert [path for path, _ in served.asked] == ["/set.zip", "/signed/file?token=secret"]


def test_redirect_in_circles(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(status=302, headers={"Location": "/set.zip"}))

    with pytest.raises(NetworkError, match="leads on more than 10 times"):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)


@pytest.mark.parametrize("target", ["http://\x1b[31m/", "http://[", "https://"])
def test_redirect_to_no_address(served: Served, into: Path, heard: Heard, target: str) -> None:
    url = served.give(Answer(status=302, headers={"Location": target}))

    with pytest.raises(NetworkError, match=r"no usable address|can't be asked"):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)


def test_the_body_of_a_redirect_is_not_read(served: Served, into: Path, heard: Heard) -> None:
    """It may have no end; what is asked next comes while it is still open."""
    endless = Answer(status=302, headers={"Location": "/set.zip"}, body=bytes(1 << 20), stuck=1000)
    began = time.monotonic()

    assert transfer(Remote(url=served.give(endless, Answer(body=FILE))), into, heard.told(), retry=QUICK) == SHA
    assert time.monotonic() - began < QUICK.silence


def test_a_server_that_sends_a_byte_now_and_then_is_not_waited_for(served: Served, into: Path, heard: Heard) -> None:
    retry = RetryPolicy(tries=3, first_wait=0.0, silence=0.5)
    answer = Answer(body=resumable.ZIP_MAGIC + bytes(6), pause=0.2)

    with pytest.raises(NetworkError, match="bytes a second, which takes too long"):
        transfer(Remote(url=served.give(answer)), into, heard.told(), retry=retry)
    assert len(served.asked) == 1


def test_a_head_without_end_is_not_waited_for(into: Path, heard: Heard, waits: list[float]) -> None:
    """Each byte of it comes in time."""
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                with contextlib.suppress(OSError), connection:
                    connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    while True:
                        connection.sendall(b"y")
                        over.wait(0.05)

    over = threading.Event()
    thread = threading.Thread(target=answer)
    thread.start()
    try:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/set.zip"
        with pytest.raises(NetworkError, match="3 times in a row"):
            transfer(Remote(url=url), into, heard.told(), retry=RetryPolicy(tries=3, first_wait=0.0, head=0.5))
    finally:
        over.set()
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_redirect_to_another_kind_of_address(served: Served, into: Path, heard: Heard, target: str) -> None:
    url = served.give(Answer(status=302, headers={"Location": target}))

    with pytest.raises(NetworkError, match="another kind of address"):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)
    assert not into.exists()


def test_https_is_verified_and_never_left() -> None:
    with http.session("https://example.org/set.zip") as session:
        assert session.verify is True
        assert "http://" not in session.adapters


def test_a_server_without_tls_is_no_https_server(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(body=FILE)).replace("http://", "https://")

    with pytest.raises(NetworkError, match="certificate can't be verified"):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)


def test_compression_on_the_way_is_refused(served: Served, into: Path, heard: Heard) -> None:
    url = served.give(Answer(body=FILE, headers={"Content-Encoding": "gzip"}))

    with pytest.raises(NetworkError, match="compresses"):
        transfer(Remote(url=url), into, heard.told(), retry=QUICK)


def test_nobody_there(into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    with pytest.raises(NetworkError, match=r"no connection: .*refused, 3 times in a row"):
        transfer(Remote(url=f"http://127.0.0.1:{port}/x"), into, heard.told(), retry=QUICK)


def test_somebody_there_who_says_nothing(into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        with pytest.raises(NetworkError, match="it does not answer, 2 times in a row"):
            transfer(Remote(url=url), into, heard.told(), retry=RetryPolicy(tries=2, first_wait=0.0, silence=0.1))


def test_a_name_that_nobody_knows_is_asked_once(
    served: Served, into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def unknown(host: object, *_: object) -> None:
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)

    with pytest.raises(NetworkError, match="its name can't be resolved") as caught:
        transfer(Remote(url="http://set.invalid/set.zip"), into, heard.told(), retry=QUICK)
    assert "connected to a network" in caught.value.hint
    assert asked == ["set.invalid"]


def test_a_proxy_that_refuses(served: Served, into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", served.url)

    with pytest.raises(NetworkError, match=r"the proxy refuses: .*501") as caught:
        transfer(Remote(url="https://set.invalid/set.zip"), into, heard.told(), retry=QUICK)
    assert "HTTPS_PROXY" in caught.value.hint


def test_the_proxy_of_the_environment_is_asked(
    served: Served, into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.give(Answer(body=FILE))
    monkeypatch.setenv("HTTP_PROXY", served.url)
    monkeypatch.setenv("http_proxy", served.url)

    transfer(Remote(url="http://set.invalid/set.zip"), into, heard.told(), retry=QUICK)

    assert [path for path, _ in served.asked] == ["http://set.invalid/set.zip"]
    assert left(into) == {"set.zip": FILE}


def test_addresses_excepted_from_the_proxy(
    served: Served, into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        transfer(Remote(url=served.give(Answer(body=FILE))), into, heard.told(), retry=QUICK)
        assert proxy.asked == []


def test_interrupt_keeps_the_part(served: Served, into: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= HALF:
            raise KeyboardInterrupt

    url = served.give(Answer(body=FILE))
    with pytest.raises(KeyboardInterrupt):
        transfer(Remote(url=url), into, ProgressCallbacks(moved=interrupt, say=lambda _: None), retry=QUICK)
    size = resumable.received_bytes(into)
    assert HALF <= size < len(FILE)

    assert transfer(Remote(url=url), into, Heard().told(), retry=QUICK) == SHA
    assert served.ranges() == ["", f"bytes={size}-"]


def test_no_room(served: Served, into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 0, len(FILE) + 999))

    with pytest.raises(LungcliError, match="not enough space") as caught:
        transfer(Remote(url=served.give(Answer(body=FILE))), into, heard.told(), room=1000, retry=QUICK)
    assert "LUNGCLI_DATA" in caught.value.hint
    transfer(Remote(url=served.give(Answer(body=FILE))), into, heard.told(), room=999, retry=QUICK)


def test_a_disk_that_fills_up(served: Served, into: Path, heard: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LungcliError, match="No space left on device"):
            transfer(Remote(url=served.give(Answer(body=FILE, etag=""))), into, heard.told(), retry=QUICK)
    assert not into.exists()


@pytest.mark.parametrize(
    ("status", "content_range", "validator", "step"),
    [
        (200, "", "v", "start over"),
        (206, "bytes 5-9/10", "v", "append"),
        (206, "bytes 5-9/*", "", "append"),
        (206, "bytes 4-9/10", "v", "drop"),
        (206, "bytes 5-9/11", "v", "drop"),
        (206, "bytes 5-9/10", "w", "drop"),
        (206, "", "v", "drop"),
        (206, "words 5-9/10", "v", "drop"),
        (416, "bytes */5", "v", "complete"),
        (416, "bytes */4", "v", "drop"),
        (416, "", "v", "drop"),
    ],
)
def test_decisions(status: int, content_range: str, validator: str, step: str) -> None:
    assert range_action(status, content_range, validator, 5, Sidecar(validator="v", size=10)) == step


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Thu, 01 Jan 1970 00:01:40 GMT", 90.0),
        ("Thu, 01 Jan 1970 00:00:05 GMT", 0.0),
        ("", None),
        ("-5", None),
        ("soon", None),
        ("\x1c06", None),
        ("9" * 5000, None),
        ("Thu, 99 Jan 1970 00:01:40 GMT", None),
        (f"Thu, 01 Jan 1970{'9' * 30} 00:01:40 GMT", None),
    ],
)
def test_how_long_a_server_asks_to_wait(value: str, seconds: float | None) -> None:
    assert http.retry_after(value, now=10.0) == seconds


@given(cuts=st.lists(st.integers(0, 60_000), max_size=6), ranges=st.lists(st.booleans(), min_size=7, max_size=7))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_of_cuts_ends_with_the_file(
    server: Served, tmp_path: Path, cuts: list[int], ranges: list[bool]
) -> None:
    content = FILE[:50_000]
    into = tmp_path / f"{len(list(tmp_path.iterdir()))}" / "set.zip"
    answers = [Answer(body=content, cut=cut, ranges=ok) for cut, ok in zip(cuts, ranges, strict=False)]
    url = server.give(*answers, Answer(body=content))

    sha256 = transfer(Remote(url=url), into, Heard().told(), retry=RetryPolicy(tries=9, first_wait=0.0))

    assert left(into) == {"set.zip": content}
    assert sha256 == hashlib.sha256(content).hexdigest()


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with serving() as running:
        yield running
