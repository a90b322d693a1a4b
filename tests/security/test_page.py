"""Attacks on the page, against a real server on loopback."""

import asyncio
import contextlib
import http.client
import importlib.util
import json
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lungcli.web import app, connections, examples, middleware
from lungcli.web.slice_worker import Reply, Upload
from lungcli.web.uploads import Uploads
from lungcli.web.visits import MAX_PICTURES
from lungcli.web.workers import Workers
from tests.modelfile import graphs
from tests.web.test_app import Served, free_port, uploads_in

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("gradio") is None, reason="the extra `web` (gradio) is not installed"),
    # Gradio and what it brings warn of their own future.
    pytest.mark.filterwarnings("ignore"),
]

UPLOAD = middleware.UPLOAD
JSON = "application/json"


@pytest.fixture(scope="module", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with uploads_in(tmp_path_factory.mktemp("uploads")):
        yield


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.nodule_file(tmp_path_factory.mktemp("model") / "m.onnx")


@pytest.fixture(scope="module")
def served(model: Path) -> Iterator[Served]:
    running = Served(app.Service(models={"tiny": model}, port=free_port(), megabytes=1))
    running.start()
    yield running
    running.end()


def kept() -> list[Path]:
    """Uploads that lie on disk."""
    folders = Path(tempfile.gettempdir()).glob("lungcli-scratch-uploads-*")
    return [path for folder in folders for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 500]


def unfinished() -> list[Path]:
    """Uploads that lie on disk and are not whole."""
    folders = Path(tempfile.gettempdir()).glob("lungcli-scratch-uploads-*")
    return [path for folder in folders for path in folder.iterdir() if path.is_file()]


def request_prediction(served: Served, *claimed: str, session: str, host: str = "127.0.0.1") -> bytes:
    """Ask for predictions of files that lie on the server, as the page does after an upload; the stream of answers.

    `host` is the address of this machine that the request comes from.
    """
    files = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in claimed]
    return call(served, "upload", {"data": [files, "tiny"]}, session, host)


def call(served: Served, event: str, body: dict[str, Any], session: str, host: str = "127.0.0.1") -> bytes:
    """Call what the page calls on an event; the stream of answers."""
    config = json.loads(served.ask("GET", "/config")[1])
    number = next(item["id"] for item in config["dependencies"] if [target[1] for target in item["targets"]] == [event])
    body = {**body, "fn_index": number, "session_hash": session}
    link = http.client.HTTPConnection("127.0.0.1", served.service.port, timeout=60, source_address=(host, 0))
    link.request("POST", "/gradio_api/queue/join", json.dumps(body), {"Content-Type": JSON})
    answer = link.getresponse()
    content = answer.read()
    link.close()
    assert answer.status == 200, content
    return served.ask("GET", f"/gradio_api/queue/data?session_hash={session}")[1]


def test_predicted_uploads_are_deleted_and_never_served(served: Served) -> None:
    before = kept()
    status, answer = served.upload(examples.phantom("malignant").content)
    assert status == 200
    (path,) = json.loads(answer)
    assert Path(path).is_file()
    for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/"):
        assert served.ask("GET", f"{route}{path}")[0] == 404
    assert b"malignant" in request_prediction(served, path, session="one")
    assert kept() == before


def test_no_visitor_can_read_an_upload_of_another(served: Served) -> None:
    """Where an upload lies can't be guessed without its content, and by then the verdict has been given."""
    ours, theirs = (examples.phantom(label).content for label in ("benign", "malignant"))
    (first,), (second,) = (json.loads(served.upload(content)[1]) for content in (ours, theirs))
    places = [Path(path).parent.name for path in (first, second)]
    assert places[0] != places[1]
    assert all(len(place) >= 64 for place in places)
    folder = Path(first).parent
    for guessed in (folder, folder.parent, f"{folder.parent}/*/a.png", f"{folder.parent}/{'0' * 64}/a.png"):
        assert b'"success":true' not in request_prediction(served, str(guessed), session="thief").replace(b" ", b"")
    assert b"malignant" in request_prediction(served, second, session="ours")
    for session, claimed in (("thief", second), ("ours", second)):
        assert b'"success":true' not in request_prediction(served, claimed, session=session).replace(b" ", b"")
    # What was answered to one is not told again, whoever calls himself so.
    assert b"a.png" not in overheard(served, "ours", 3.0)


def test_no_visitor_gets_a_heat_map_of_another(served: Served) -> None:
    (path,) = json.loads(served.upload(examples.phantom("malignant").content)[1])
    [of] = set(re.findall(rb'data-heat=."([0-9]+-[0-9]+)', request_prediction(served, path, session="seen")))
    for session, asked, made in (("thief", of.decode(), False), ("seen", "0-999", False), ("seen", of.decode(), True)):
        answer = call(served, "input", {"data": [], "event_data": {"of": asked}}, session)
        assert (b"regions that support malignant" in answer) == made, (session, asked)
        assert (b'"layer"' in answer) == made
    wrong: tuple[Any, ...] = (None, {}, [], "of", {"of": None}, {"of": {"of": of.decode()}}, {"of": "../" * 9})
    for event_data in wrong:
        answer = call(served, "input", {"data": [], "event_data": event_data}, "seen")
        assert b'"layer"' not in answer
        assert b"Traceback" not in answer


def overheard(served: Served, session: str, seconds: float) -> bytes:
    """What the page sends within so many seconds to who names a session."""
    link = socket.create_connection(("127.0.0.1", served.service.port), timeout=30)
    link.sendall(f"GET /gradio_api/queue/data?session_hash={session} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    told, end = b"", time.monotonic() + seconds
    with contextlib.suppress(TimeoutError):
        while (left := end - time.monotonic()) > 0:
            link.settimeout(left)
            if not (part := link.recv(65536)):
                break
            told += part
    link.close()
    return told


@pytest.mark.parametrize(
    "claimed",
    ["/etc/passwd", "../../../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x", "/proc/self/environ"],
)
def test_files_that_were_not_uploaded_are_not_predicted(served: Served, claimed: str) -> None:
    answers = request_prediction(served, claimed, session="two")
    assert b"root:" not in answers
    assert b'"success":true' not in answers.replace(b" ", b"")


@pytest.mark.parametrize(
    "path",
    [
        "/gradio_api/file=/etc/passwd",
        "/gradio_api/file=..%2f..%2f..%2fetc/passwd",
        "/gradio_api/proxy=http://127.0.0.1:22/",
        "/gradio_api/stream/x/1/1/playlist.m3u8",
        "/gradio_api/custom_component/x/client/component/..%2f..%2fetc%2fpasswd",
        "/gradio_api/deep_link",
        "/gradio_api/runs",
        "/gradio_api/openapi.json",
        "/gradio_api/vibe-code/",
        "/monitoring",
        "/static/..%2f..%2f..%2f..%2fetc/passwd",
        "/static/%2e%2e/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        "/assets/../../../../../../etc/passwd",
        "/svelte/..%5c..%5cpasswd",
        "/static//etc/passwd",
        "//etc/passwd",
        "/docs",
    ],
)
def test_addresses_that_the_page_does_not_need_are_closed(served: Served, path: str) -> None:
    status, content, _ = served.ask("GET", path)
    assert status in (403, 404)
    assert b"root:" not in content


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/gradio_api/run/judge"),
        ("POST", "/gradio_api/call/judge"),
        ("POST", "/gradio_api/component_server"),
        ("POST", "/gradio_api/process_recording"),
        ("POST", "/gradio_api/vibe-edit"),
        ("POST", "/gradio_api/stream/x"),
        ("POST", "/gradio_api/cancel"),
        ("PUT", "/config"),
        ("DELETE", "/gradio_api/upload"),
        ("OPTIONS", "/gradio_api/upload"),
        ("TRACE", "/"),
    ],
)
def test_methods_that_the_page_does_not_need_are_closed(served: Served, method: str, path: str) -> None:
    assert served.ask(method, path, b"{}", Content_Type=JSON)[0] == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "169.254.1.1", ""]
)
def test_rebound_dns_names_are_refused(served: Served, host: str) -> None:
    assert served.ask("GET", "/", Host=host)[0] == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "no-cors"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
        {"Sec_Fetch_Site": "same-site", "Sec_Fetch_Mode": "cors"},
    ],
    ids=str,
)
def test_other_origins_can_neither_read_nor_send(served: Served, headers: dict[str, str]) -> None:
    before = kept()
    for method, path, body in (
        ("GET", "/config", b""),
        ("POST", UPLOAD, b"x" * 1000),
        ("POST", "/login", b"username=a"),
    ):
        link = http.client.HTTPConnection("127.0.0.1", served.service.port, timeout=30)
        link.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = link.getresponse()
        assert (answer.status, answer.read()) == (403, b"")
        link.close()
    assert kept() == before


def test_the_page_itself_and_a_link_to_it_are_let_in(served: Served) -> None:
    own = f"127.0.0.1:{served.service.port}"
    assert served.ask("GET", "/config", Origin=f"http://{own}", Sec_Fetch_Site="same-origin")[0] == 200
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert served.ask("GET", "/", **link)[0] == 200  # type: ignore[arg-type]
    assert served.ask("GET", "/", Host=f"localhost:{served.service.port}")[0] == 200


def test_an_upload_that_announces_too_much_is_refused_before_it_is_sent(served: Served) -> None:
    link = http.client.HTTPConnection("127.0.0.1", served.service.port, timeout=30)
    link.putrequest("POST", UPLOAD)
    link.putheader("Content-Type", "multipart/form-data; boundary=x")
    link.putheader("Content-Length", str(1 << 40))
    link.endheaders()
    assert link.getresponse().status == 413
    link.close()


def test_an_upload_without_end_is_cut_off_and_leaves_nothing(served: Served) -> None:
    before = kept()
    link = socket.create_connection(("127.0.0.1", served.service.port), timeout=30)
    head = '--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    link.sendall(
        f"POST {UPLOAD} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        f"Transfer-Encoding: chunked\r\n\r\n{len(head):x}\r\n{head}\r\n".encode()
    )
    answer = b""
    with contextlib.suppress(ConnectionError):
        for _ in range(400):
            link.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    with contextlib.suppress(ConnectionError):
        answer = link.recv(100)
    link.close()
    assert not answer or answer.split()[1] == b"413"
    waited(lambda: kept() == before)


def test_an_upload_that_breaks_off_or_is_out_of_shape_leaves_nothing(served: Served) -> None:
    """The page's library leaves its files to nobody then."""
    head = b'Content-Disposition: form-data; name="%s"; filename="a.png"\r\n\r\n'
    link = begun(served)
    link.sendall(head % b"files" + b"x" * 30_000)
    waited(lambda: unfinished() != [])
    link.close()
    waited(lambda: unfinished() == [])
    body = b"--x\r\n" + head % b"other" + b"x" * 900 + b"\r\n--x--\r\n"
    form = "multipart/form-data; boundary=x"
    assert served.ask("POST", UPLOAD, body, Content_Type=form)[0] == 200
    text = b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\nx\r\n'
    assert served.ask("POST", UPLOAD, text + body, Content_Type=form)[0] == 500
    assert unfinished() == []


def test_many_half_sent_requests_delay_nobody(served: Served) -> None:
    links = [socket.create_connection(("127.0.0.1", served.service.port), timeout=30) for _ in range(100)]
    for link in links:
        link.sendall(b"GET /config HTTP/1.1\r\nHost: 127")
    assert served.ask("GET", "/config")[0] == 200
    for link in links:
        link.close()


def test_many_uploads_do_not_fill_the_disk(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "MAX_UNREAD_UPLOADS", 1)
    statuses = [served.upload(bytes([number]) * 900_000)[0] for number in range(6)]
    assert statuses[0] == 200
    assert statuses[-1] == 507
    assert sum(path.stat().st_size for path in kept()) <= (middleware.FILES_PER_UPLOAD + 1) << 20


def test_many_uploads_at_once_are_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "MOST_UPLOADS_AT_ONCE", 2)
    links = [begun(served) for _ in range(2)]
    waited(lambda: served.upload(b"x" * 600)[0] == 503)
    assert served.ask("GET", "/config")[0] == 200
    for link in links:
        link.close()
    waited(lambda: served.upload(b"x" * 10)[0] != 503)


def test_slow_clients_are_disconnected_and_delay_nobody(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "IDLE_SECONDS", 1.0)
    links = [begun(served) for _ in range(8)]
    assert served.ask("GET", "/config")[0] == 200
    for link in links:
        link.settimeout(30)
        assert link.recv(100).split()[1] == b"408"
        link.close()


def test_a_client_that_trickles_is_disconnected(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(middleware, "BODY_SECONDS", 2.0)
    link, start = begun(served), time.monotonic()
    with pytest.raises((ConnectionError, TimeoutError)):  # noqa: PT012 - whichever write meets the closed door
        while time.monotonic() - start < 60:
            link.sendall(b"x")
            time.sleep(0.2)
        raise AssertionError("still open")
    link.close()


def test_uploads_beyond_the_limit_are_named_without_content(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.png" for number in range(MAX_PICTURES + 2)]
    for path in paths:
        path.write_bytes(b"x" * 100)
    taken = app._read_uploads([str(path) for path in paths], Uploads(tmp_path), most=250)
    assert [len(item.content) for item in taken] == [100] * 10 + [0] * (len(paths) - 10)
    assert not any(path.exists() for path in paths)


OPEN_WITHOUT_ACCOUNT = {"/", "/theme.css", "/favicon.ico", "/manifest.json", "/robots.txt", "/logout"}


def test_nothing_of_use_is_open_without_an_account(model: Path) -> None:
    guarded = Served(app.Service(models={"secret-name": model}, port=free_port(), accounts=(("ada", "secret"),)))
    guarded.start()
    try:
        for path in ("/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", "/login_check"):
            status, content, _ = guarded.ask("GET", path)
            assert status in (401, 404), path
            assert b"secret-name" not in content
        for forged in ("access-token-x=1", "access-token=ada", "access-token-unsecure-x=ada"):
            assert guarded.ask("GET", "/config", Cookie=forged)[0] == 401
        assert guarded.ask("POST", "/gradio_api/queue/join", b"{}", Content_Type=JSON)[0] in (401, 422)
        assert guarded.ask("GET", "/gradio_api/upload_progress?upload_id=x")[0] == 401
        assert guarded.upload(b"x" * 10)[0] == 401
        for path in OPEN_WITHOUT_ACCOUNT:
            assert b"secret-name" not in guarded.ask("GET", path)[1]
        form = {"Content_Type": "application/x-www-form-urlencoded"}
        _, _, headers = guarded.ask("POST", "/login", b"username=ada&password=secret", **form)
        cookie = headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie or "samesite=strict" in cookie
    finally:
        guarded.end()


def begun(served: Served) -> socket.socket:
    """An upload of which the beginning has been sent."""
    link = socket.create_connection(("127.0.0.1", served.service.port), timeout=30)
    link.sendall(
        f"POST {UPLOAD} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Content-Length: 100000\r\n\r\n--x\r\n".encode()
    )
    return link


def waited(so: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until it is so."""
    end = time.monotonic() + seconds
    while not so():
        assert time.monotonic() < end
        threading.Event().wait(0.05)


def still_open(links: list[socket.socket]) -> list[socket.socket]:
    """Connections that the server has not cut off; it has sent nothing on any."""
    left = []
    for link in links:
        link.settimeout(0)
        try:
            link.recv(1)
        except BlockingIOError:
            left.append(link)
        except OSError:
            continue
    return left


def test_half_requests_of_one_client_end_nothing(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are cut off, too many at once from the first; whoever asks a whole question gets its answer meanwhile."""
    monkeypatch.setattr(connections, "HEAD_SECONDS", 5.0)
    monkeypatch.setattr(connections, "MAX_OF_CLIENT", 40)
    half: list[socket.socket] = []
    try:
        for _ in range(300):
            link = socket.create_connection(("127.0.0.1", served.service.port), timeout=10)
            with contextlib.suppress(OSError):
                link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
            half.append(link)
        time.sleep(0.3)
        assert 20 <= len(still_open(half)) <= 40
        # Of a head that comes slowly, each byte in time, no more is waited for.
        end = time.monotonic() + 60
        while time.monotonic() < end and (left := still_open(half)):
            for link in left:
                with contextlib.suppress(OSError):
                    link.sendall(b"y")
            time.sleep(0.2)
        assert not still_open(half)
    finally:
        for link in half:
            link.close()
    assert served.ask("GET", "/")[0] == 200


def test_a_slow_answer_is_no_half_request(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    (path,) = json.loads(served.upload(examples.phantom("malignant").content)[1])
    assert b"malignant" in request_prediction(served, path, session="slow")


def test_five_slow_pictures_of_one_visitor_block_no_other(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    predict, slow, let = Workers._asked, threading.Event(), threading.Event()

    def slowly(self: Workers, process: Any, model: Path, seconds: float, upload: Upload | None = None) -> Reply:
        if upload and upload.content == b"slow":
            slow.set()
            assert let.wait(60)
        return predict(self, process, model, seconds, upload)

    monkeypatch.setattr(Workers, "_asked", slowly)
    answers: list[bytes] = []

    def ask(session: str) -> None:
        (path,) = json.loads(served.upload(b"slow")[1])
        answers.append(request_prediction(served, path, session=session, host="127.0.0.2"))

    visits = [threading.Thread(target=ask, args=(f"slow{number}",)) for number in range(5)]
    for visit in visits:
        visit.start()
    try:
        assert slow.wait(60)
        (path,) = json.loads(served.upload(examples.phantom("malignant").content)[1])
        assert b"suspicious for malignancy" in request_prediction(served, path, session="other")
        assert answers == []
    finally:
        let.set()
        for visit in visits:
            visit.join(60)
    assert len(answers) == 5
    assert all(b"it is not a picture" in answer for answer in answers)


def test_guesses_of_a_password_have_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    logins, began = middleware._Logins(), time.monotonic()
    monkeypatch.setattr(middleware, "LOGIN_SECONDS", 0.1)
    monkeypatch.setattr(middleware, "MAX_LOGIN_WAIT", 0.45)

    async def guess() -> list[bool]:
        return list(await asyncio.gather(*(logins.turn("guesser") for _ in range(50)), logins.turn("another")))

    *turns, other = asyncio.run(guess())
    assert 4 <= sum(turns) <= 6
    assert other
    assert time.monotonic() - began < 30
