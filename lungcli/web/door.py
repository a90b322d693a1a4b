"""What gets through to the page: from whom, to where, how much, how slowly.

The page's library answers many more addresses than the page asks for. Only those that it needs are open; none of them
gives out a file of the machine, an upload included.
"""

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lungcli.core import paths

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL = ("127.0.0.1", "localhost", "::1")
OWN_NAMES = ("127.0.0.1", "localhost", "[::1]")

# The browser is told to ask nobody else, whatever the page's own libraries would like to load.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' blob: data:; frame-ancestors 'none'; "
    "form-action 'self'; base-uri 'self'; object-src 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
UPLOAD = "/gradio_api/upload"
_OPEN = {
    "GET": re.compile(
        r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/logout|/login_check/?"
        r"|/(assets|static|svelte)/[\w@./ -]*"
        r"|/gradio_api/(app_id|user|login_check|token|startup-events|info|upload_progress|queue/data|heartbeat/\w+)/?"
    ),
    "POST": re.compile(r"/login/?|/gradio_api/(upload|queue/join|reset)/?"),
}
_OPEN["HEAD"] = _OPEN["GET"]

# Seconds without a byte of what was announced, and for all of it.
SILENCE, PATIENCE = 30.0, 600.0
MOST_UPLOADS_AT_ONCE = 16
# What an upload of several files may hold, in times of one; what may lie unread, in times of that.
FILES, WAITING = 4, 8
_SMALL = 1 << 20
# An upload is read within a moment of its arrival, or by nobody.
KEPT_SECONDS = 600


class Door:
    """ASGI middleware around the page. `local`: only this machine's own names are answered (DNS rebinding)."""

    def __init__(self, app: "ASGIApp", *, local: bool, megabytes: int, folder: Path) -> None:
        self._app, self._local, self._folder = app, local, folder
        self._most = FILES * megabytes << 20
        self._uploading = 0

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # The page has no web sockets.
            await send({"type": "websocket.close", "code": 1008})
            return
        answering = _Answer(send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        upload = scope["path"].rstrip("/") == UPLOAD
        most = self._most + _SMALL if upload else _SMALL
        status = self._refused(scope, headers, most) or (self._full(headers) if upload else 0)
        if status:
            await answering.refuse(status)
            return
        self._uploading += upload
        try:
            await self._app(scope, _bounded(receive, most) if scope["method"] == "POST" else receive, answering)
        except _RefusedError as refused:
            await answering.refuse(refused.status)
        finally:
            self._uploading -= upload
            if upload and not self._uploading:
                self._unfinished()

    def _unfinished(self) -> None:
        """Delete what uploads left that broke off; whole ones lie in folders of their own."""
        for path in self._folder.iterdir():
            if path.is_file():
                path.unlink(missing_ok=True)

    def _refused(self, scope: "Scope", headers: Mapping[str, str], most: int) -> int:
        """Say with which status a request is refused, 0 where it is not."""
        host = headers.get("host", "")
        if self._local and _name(host) not in OWN_NAMES:
            return 400
        if not same_origin(headers):
            return 403
        path = scope["path"]
        allowed = _OPEN.get(scope["method"])
        if not allowed or not allowed.fullmatch(path) or ".." in path:
            return 404
        length = headers.get("content-length", "0")
        return 413 if not length.isdecimal() or int(length) > most else 0

    def _full(self, headers: Mapping[str, str]) -> int:
        if self._uploading >= MOST_UPLOADS_AT_ONCE:
            return 503
        coming = int(headers.get("content-length", self._most))
        return 507 if waiting(self._folder) + coming > WAITING * self._most else 0


def same_origin(headers: Mapping[str, str]) -> bool:
    """Say whether a request comes from the page itself, or from no page at all, by what browsers add to it.

    A page elsewhere may not even ask: what it can't read of the answer could still cost, or say something by its time.
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        # Following a link to the page is fine.
        return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def waiting(folder: Path) -> int:
    """Return how many bytes of uploads wait for their verdict."""
    return sum(told.st_size for told in paths.found(folder).values())


def sweep(folder: Path) -> None:
    """Delete uploads that nobody asked a verdict for, and the empty folders of the others."""
    long_ago = time.time() - KEPT_SECONDS
    old = [path for path, told in paths.found(folder).items() if told.st_mtime < long_ago]
    for path in [*old, *folder.iterdir()]:
        # What is deleted meanwhile, or not empty yet, needs no deleting.
        with contextlib.suppress(OSError):
            if path.stat().st_mtime < long_ago:
                path.rmdir() if path.is_dir() else path.unlink()


def _name(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d*$", "", host).casefold()


class _RefusedError(Exception):
    """What arrives is more, or slower, than it may be."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _bounded(receive: "Receive", most: int) -> "Receive":
    """Pass on a body of at most so many bytes that keeps coming to its end. Raises _RefusedError from within."""
    got, whole = 0, False
    began = asyncio.get_running_loop().time()

    async def bounded() -> "Message":
        nonlocal got, whole
        if whole:
            return await receive()
        left = PATIENCE - (asyncio.get_running_loop().time() - began)
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(SILENCE, left)))
        except TimeoutError as error:
            raise _RefusedError(408) from error
        if message["type"] == "http.disconnect":
            # Nobody reads this; it ends what waits for the rest.
            raise _RefusedError(400)
        got += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if got > most:
            raise _RefusedError(413)
        return message

    return bounded


class _Answer:
    """Sends answers on, each with the policy; knows whether one has begun."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self._begun = False

    async def __call__(self, message: "Message") -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            own = {name for name, _ in _HEADERS}
            kept = [item for item in message.get("headers", ()) if item[0].lower() not in own]
            message = {**message, "headers": [*kept, *_HEADERS]}
        await self._send(message)

    async def refuse(self, status: int) -> None:
        """Answer with a status alone; an answer that has begun can only be broken off."""
        if self._begun:
            return
        headers: list[tuple[bytes, bytes]] = [(b"content-length", b"0"), (b"connection", b"close")]
        start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
        await self(start)
        await self({"type": "http.response.body", "body": b""})
