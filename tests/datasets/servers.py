"""A real HTTP server on loopback that plays a source: it answers each request as the test says."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How to answer one request.

    `ranges`: asked for a part, send that. `stubborn`: even if the file is another one by now. `cut`: break the
    connection after so many bytes. `stuck`: send no more than so many, and keep the connection open for as long as the
    server runs. `pause`: seconds before each tenth of the body. `sized`: say how much will come.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = '"one"'
    ranges: bool = True
    stubborn: bool = False
    cut: int | None = None
    stuck: int | None = None
    pause: float = 0.0
    sized: bool = True


@dataclass(kw_only=True)
class Served:
    """A running server: its address, the answers still to give (the last one stays), and what it was asked."""

    url: str
    answers: list[Answer]
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def give(self, *answers: Answer) -> str:
        """Give these answers from now on, and return the address."""
        self.answers[:] = answers
        self.asked.clear()
        return self.url + "/set.zip"

    def ranges(self) -> list[str]:
        """The `Range` of each request, empty where it had none."""
        return [headers.get("Range", "") for _, headers in self.asked]


@contextlib.contextmanager
def serving() -> Iterator[Served]:
    """Run a server until the context ends."""
    served = Served(url="", answers=[Answer(status=404)])

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            served.asked.append((self.path, dict(self.headers)))
            answer = served.answers.pop(0) if len(served.answers) > 1 else served.answers[0]
            with contextlib.suppress(ConnectionError):
                _answer(self, answer)
                if answer.stuck is not None:
                    served.over.wait()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Keep the tests' output clean."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: object, client_address: object) -> None:
            """Bear clients that hang up, as a source does."""

    server = Server(("127.0.0.1", 0), Handler)
    served.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield served
    finally:
        served.over.set()
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, answer: Answer) -> None:
    asked, condition = handler.headers.get("Range"), handler.headers.get("If-Range")
    body, status, headers = answer.body, answer.status, dict(answer.headers)
    if status == 200 and answer.etag:
        headers["ETag"] = answer.etag
    if asked and status == 200 and answer.ranges and (answer.stubborn or condition == answer.etag):
        start = int(asked.removeprefix("bytes=").removesuffix("-"))
        status = 206 if start < len(body) else 416
        headers["Content-Range"] = (
            f"bytes {start}-{len(body) - 1}/{len(body)}" if status == 206 else f"bytes */{len(body)}"
        )
        body = body[start:] if status == 206 else b""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    if answer.sized:
        handler.send_header("Content-Length", str(len(body)))
    else:
        handler.send_header("Connection", "close")
    handler.end_headers()
    cut = min(len(body) if limit is None else limit for limit in (answer.cut, answer.stuck, len(body)))
    if answer.pause:
        for at in range(0, cut, max(1, cut // 10)):
            time.sleep(answer.pause)
            handler.wfile.write(body[at : min(at + max(1, cut // 10), cut)])
    else:
        handler.wfile.write(body[:cut])
    handler.wfile.flush()
    if cut < len(body) or not answer.sized:
        handler.close_connection = True


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """A server of the test's own, reached without the machine's proxy."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with serving() as running:
        yield running
