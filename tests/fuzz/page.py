"""The page as a target: bytes that come in at a real server's door, and what must hold after whatever they were."""

import contextlib
import functools
import json
import os
import re
import socket
import struct
import tempfile
import time
import zlib
from pathlib import Path

import gradio  # 1.5 s; who imports this module has seen to it that it is there

import lungcli
from lungcli.core.errors import LungcliError
from lungcli.web import app, examples, middleware
from tests.modelfile import graphs
from tests.web.test_app import Served, free_port

# Where the program and its libraries lie is nobody's business; where an upload lies is told to who sent it.
SECRETS = (b"Traceback", b'File "', *(str(Path(each.__file__ or "").parent).encode() for each in (lungcli, gradio)))
MOST_ANSWERED = 16 << 20
_PATIENCE = 0.3
_MULTIPART = b"multipart/form-data; boundary=x"


@functools.cache
def served() -> Served:
    """Serve a page to this process alone, once. `end` must be called."""
    folder = Path(tempfile.mkdtemp())
    models = {"tiny": graphs.nodule_file(folder / "secret-place.onnx")}
    running = Served(app.Service(models=models, port=free_port(), megabytes=1))
    running.start()
    return running


def end() -> None:
    """End the server, if there is one."""
    if served.cache_info().currsize:
        served().end()
        served.cache_clear()


def parse(content: bytes, _folder: Path) -> None:
    """Send the bytes of one connection. Raises LungcliError when no request among them is granted."""
    told = sent(content)
    for secret in (*SECRETS, b"secret-place"):
        assert secret not in told, told[-2000:]
    assert len(told) <= MOST_ANSWERED
    status, config, _ = served().ask("GET", "/config")
    assert status == 200
    assert json.loads(config)["title"] == "lungcli"
    forgotten()
    if b"HTTP/1.1 200" not in told:
        raise LungcliError(f"not granted: {told[:30]!r}")


def sent(content: bytes) -> bytes:
    """Send bytes as their sum says (in pieces, half closed, hung up on); the answer, as far as it came soon."""
    manner = zlib.crc32(content)
    told = b""
    if manner & 128:
        content = _measured(content)
    address = "127.0.0.1", served().service.port
    # Whoever sends nonsense is hung up on: then that is the answer.
    with socket.create_connection(address, timeout=10) as link, contextlib.suppress(OSError):
        for piece in _pieces(content, 1 + manner % 4):
            link.sendall(piece)
            time.sleep(0.002)
        if manner & 16:
            link.shutdown(socket.SHUT_WR)
        if manner & 96 == 0:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return told
        link.settimeout(_PATIENCE)
        while (more := link.recv(1 << 16)) and len(told) <= MOST_ANSWERED:
            told += more
    return told


def forgotten() -> None:
    """Wait until uploads that came to nothing are gone; delete those that wait for their verdict."""
    until = time.monotonic() + 60
    for folder in Path(tempfile.gettempdir()).glob("lungcli-scratch-uploads-*"):
        while unfinished := sum(path.is_file() for path in folder.iterdir()):
            assert time.monotonic() < until, f"{unfinished} files are left"
            time.sleep(0.01)
        # The server sweeps at the same time.
        for name, _, files in os.walk(folder):
            for file in files:
                Path(name, file).unlink(missing_ok=True)


def seeds() -> tuple[bytes, ...]:
    """Whole requests: of each kind that the page answers, and of some that are too much."""
    numbers = {
        target: row["id"]
        for row in json.loads(served().ask("GET", "/config")[1])["dependencies"]
        for _, target in row["targets"]
    }
    picture = examples.phantom("malignant").content[:300]
    file = {"path": "/etc/passwd", "orig_name": "a.png", "meta": {"_type": "gradio.FileData"}}
    joined = [
        {"data": [[file], "tiny"], "fn_index": numbers["upload"], "session_hash": "a"},
        {"data": ["tiny"], "fn_index": numbers["click"], "session_hash": "b", "event_data": None, "trigger_id": 1},
        {"data": ["tiny", None], "fn_index": numbers["change"], "session_hash": "c"},
    ]
    joins = [
        request("POST", "/gradio_api/queue/join", json.dumps(each).encode(), more=b"Content-Type: application/json\r\n")
        for each in joined
    ]
    return (
        *(request("GET", path) for path in ("/", "/config", "/theme.css", "/gradio_api/upload_progress?upload_id=u")),
        *(uploaded(body) for body in (picture, b"", b"\r\n--x--\r\n" * 9)),
        chunked(part("files", "b.png", picture) + b"--x--\r\n"),
        uploaded(picture, field="other"),
        uploaded(picture, kind=_MULTIPART + b"; charset=nowhere"),
        *(
            join + request("GET", f"/gradio_api/queue/data?session_hash={name}")
            for join, name in zip(joins, "abc", strict=True)
        ),
        request("GET", "/gradio_api/heartbeat/a"),
        request(
            "POST", "/login", b"username=a&password=b", more=b"Content-Type: application/x-www-form-urlencoded\r\n"
        ),
        request("GET", "/", more=b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"),
        request("GET", "/config", more=b"X-Long: " + b"x" * 100_000 + b"\r\n"),
        request("GET", "/config", more=b"X-Many: x\r\n" * 3000),
        request("POST", "/gradio_api/queue/join", b"[" * 100_000, more=b"Content-Type: application/json\r\n"),
        request(
            "POST",
            middleware.UPLOAD,
            part("files", "a.png", b"x") * 1200,
            more=b"Content-Type: " + _MULTIPART + b"\r\n",
        ),
    )


def request(method: str, path: str, body: bytes = b"", more: bytes = b"") -> bytes:
    """One request, which says that none follows but for those that begin a conversation."""
    last = b"" if path.endswith("/join") else b"Connection: close\r\n"
    length = f"Content-Length: {len(body)}\r\n".encode() if body else b""
    return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n".encode() + length + more + last + b"\r\n" + body


def part(field: str, name: str, content: bytes) -> bytes:
    """One part of a form."""
    return (
        f'--x\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode() + content + b"\r\n"
    )


def uploaded(content: bytes, field: str = "files", kind: bytes = _MULTIPART) -> bytes:
    """Two files in an upload."""
    body = part(field, "a.png", content) + part(field, "../ä.png", content) + b"--x--\r\n"
    return request("POST", f"{middleware.UPLOAD}?upload_id=u", body, more=b"Content-Type: " + kind + b"\r\n")


def chunked(body: bytes) -> bytes:
    """An upload that does not say how long it is."""
    pieces = b"".join(b"%x\r\n" % len(piece) + piece + b"\r\n" for piece in _pieces(body, 5))
    head = request(
        "POST", middleware.UPLOAD, more=b"Content-Type: " + _MULTIPART + b"\r\nTransfer-Encoding: chunked\r\n"
    )
    return head + pieces + b"0\r\n\r\n"


def _measured(content: bytes) -> bytes:
    """Have a request tell the length of what follows its head, so that the damage there is looked at."""
    head, between, body = content.partition(b"\r\n\r\n")
    return re.sub(rb"Content-Length: \d+", b"Content-Length: %d" % len(body), head) + between + body


def _pieces(content: bytes, count: int) -> list[bytes]:
    size = max(1, -(-len(content) // count))
    return [content[at : at + size] for at in range(0, len(content), size)]
