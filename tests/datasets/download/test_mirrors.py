"""Mirrors: from a place that has a set to the address of its .zip file."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core.errors import NetworkError, UsageError
from lungcli.core.registry import Mirror
from lungcli.datasets.download import http, mirrors
from lungcli.datasets.download.http import ProgressCallbacks, RetryPolicy
from lungcli.datasets.download.resumable import Remote
from tests.datasets.servers import Answer, Served, served

__all__ = ["served"]

QUIET = ProgressCallbacks(moved=lambda _, __: None, say=lambda _: None)
QUICK = RetryPolicy(tries=2, first_wait=0.0)


def listing(*files: tuple[str, int, str]) -> bytes:
    return json.dumps(
        [
            {
                "id": "x",
                "filename": name,
                "size": size,
                "content_details": {"download_url": url, "sha256_hash": "AB" * 32, "content_type": "any"},
            }
            for name, size, url in files
        ]
    ).encode()


def test_the_largest_archive_is_chosen() -> None:
    content = listing(
        ("about.txt", 999, "https://a.example/t"),
        ("small.zip", 5, "https://a.example/s"),
        ("Set.ZIP", 7, "https://b.example/z"),
    )

    assert mirrors.largest_zip(content) == Remote(url="https://b.example/z", size=7, sha256="ab" * 32)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"<html>", "sends no list"),
        (b"{}", "sends no list"),
        (b'[{"filename": 3}]', "sends no list"),
        (b"[]", "no .zip file"),
        (listing(("a.txt", 1, "https://a.example")), "no .zip file"),
        (listing(("a.zip", 1, "file:///etc/passwd")), "no usable address"),
        (listing(("a.zip", 1, "http://[")), "no usable address"),
    ],
)
def test_useless_lists(content: bytes, why: str) -> None:
    with pytest.raises(NetworkError, match=why):
        mirrors.largest_zip(content)


@given(st.binary(max_size=200) | st.text(max_size=60).map(lambda text: json.dumps([text, {"filename": text}]).encode()))
def test_any_answer_is_a_list_or_an_error(content: bytes) -> None:
    with contextlib.suppress(NetworkError):
        assert mirrors.largest_zip(content).url.startswith("http")


def test_a_list_is_asked_for_and_followed(served: Served) -> None:
    served.give(Answer(status=503), Answer(body=listing(("a.zip", 7, served.url + "/signed"))))
    mirror = Mirror(name="some", kind="mendeley", url=served.url + "/list")

    assert mirrors.resolve_zip(mirror, QUIET, QUICK).url == served.url + "/signed"
    assert [path for path, _ in served.asked] == ["/list", "/list"]


@pytest.mark.parametrize(
    ("answer", "why"),
    [(Answer(status=403), "it answers 403 Forbidden"), (Answer(body=b" " * (2 << 20)), "larger than 1 MiB")],
)
def test_a_list_that_cannot_be_had(served: Served, answer: Answer, why: str) -> None:
    url = served.give(answer)

    with pytest.raises(NetworkError, match=why):
        mirrors.resolve_zip(Mirror(name="some", kind="mendeley", url=url), QUIET, QUICK)


def test_a_list_may_not_lead_from_https_to_http(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "fetch_small", lambda *_, **__: listing(("a.zip", 1, "http://a.example")))

    with pytest.raises(NetworkError, match="from https"):
        mirrors.resolve_zip(Mirror(name="some", kind="mendeley", url="https://a.example/list"), QUIET)


def test_addresses_of_the_user() -> None:
    plain = mirrors.mirror_of_url("https://me:secret@a.example/set.zip?token=secret#x")
    listed = mirrors.mirror_of_url("http://127.0.0.1:1/public-api/datasets/x/files?version=4")

    assert (plain.name, plain.kind) == ("https://a.example/set.zip", "zip")
    assert listed.kind == "mendeley"
    assert mirrors.resolve_zip(plain, QUIET) == Remote(url=plain.url)


@pytest.mark.parametrize("url", ["", "set.zip", "file:///set.zip", "ftp://a.example/x", "http://", "http://["])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match="no http or https address") as caught:
        mirrors.mirror_of_url(url)
    assert "--from-zip" in caught.value.hint
