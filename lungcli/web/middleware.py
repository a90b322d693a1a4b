"""Access control in front of the page: origins, paths, sizes and timeouts of requests.

Gradio answers many more paths than the page needs. Only the needed ones are open; none of them returns a file of this
machine, uploads included.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lungcli.web.uploads import Uploads

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_ADDRESSES = ("127.0.0.1", "localhost", "::1")
LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")

# The browser must load nothing from elsewhere, whatever the libraries of the page ask for.
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
_ALLOWED_PATHS = {
    "GET": re.compile(
        r"/|/config/?|/theme\.css|/favicon\.ico|/manifest\.json|/robots\.txt|/logout|/login_check/?"
        r"|/(assets|static|svelte)/[\w@./ -]*"
        r"|/gradio_api/(app_id|user|login_check|token|startup-events|info|upload_progress|queue/data|heartbeat/\w+)/?"
    ),
    "POST": re.compile(r"/login/?|/gradio_api/(upload|queue/join|reset)/?"),
}
_ALLOWED_PATHS["HEAD"] = _ALLOWED_PATHS["GET"]

# Seconds without a byte of a request body, and for all of it.
IDLE_SECONDS, BODY_SECONDS = 30.0, 600.0
MOST_UPLOADS_AT_ONCE = 16
# An upload may be as large as so many largest files; unread uploads, as so many largest uploads.
FILES_PER_UPLOAD, MAX_UNREAD_UPLOADS = 4, 8
_SMALL_BODY = 1 << 20
# Who is still sending when the connection closes may never read why: so long, what is refused for now is discarded.
_MAY_COME_AGAIN, _DISCARD_SECONDS = (503, 507), 2.0
LOGIN = "/login"
LOGIN_SECONDS, MAX_LOGIN_WAIT = 1.0, 10.0


class AccessControl:
    """ASGI middleware around the page. `local`: only requests to local host names are answered (DNS rebinding)."""

    def __init__(self, app: "ASGIApp", *, local: bool, megabytes: int, uploads: Uploads) -> None:
        self._app, self._local, self._uploads = app, local, uploads
        self._logins = _Logins()
        self._most = FILES_PER_UPLOAD * megabytes << 20

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            # The page uses no web sockets.
            await send({"type": "websocket.close", "code": 1008})
            return
        answering = _Answer(send)
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        upload = scope["path"].rstrip("/") == UPLOAD
        most = self._most + _SMALL_BODY if upload else _SMALL_BODY
        status = self._refused(scope, headers, most) or (self._full(headers) if upload else 0)
        if status:
            if status in _MAY_COME_AGAIN:
                await _discarded(receive)
            await answering.refuse(status)
            return
        if scope["path"].rstrip("/") == LOGIN and not await self._logins.turn(str((scope.get("client") or ("",))[0])):
            await answering.refuse(429)
            return
        receive = _bounded(receive, most) if scope["method"] == "POST" else receive
        try:
            if upload:
                with self._uploads.arriving():
                    await self._app(scope, receive, _with_listener(answering, self._uploads.arrived))
            else:
                await self._app(scope, receive, answering)
        except _RefusedError as refused:
            await answering.refuse(refused.status)

    def _refused(self, scope: "Scope", headers: Mapping[str, str], most: int) -> int:
        """Return the status with which a request is refused, 0 where it is not."""
        host = headers.get("host", "")
        if self._local and _host_name(host) not in LOCAL_HOSTS:
            return 400
        if not same_origin(headers):
            return 403
        path = scope["path"]
        allowed = _ALLOWED_PATHS.get(scope["method"])
        if not allowed or not allowed.fullmatch(path) or ".." in path:
            return 404
        length = headers.get("content-length", "0")
        return 413 if not re.fullmatch(r"[0-9]{1,18}", length) or int(length) > most else 0

    def _full(self, headers: Mapping[str, str]) -> int:
        if self._uploads.under_way >= MOST_UPLOADS_AT_ONCE:
            return 503
        coming = int(headers.get("content-length", self._most))
        return 507 if self._uploads.waiting() + coming > MAX_UNREAD_UPLOADS * self._most else 0


class _Logins:
    """Lets each client try a login a second, so that guessing takes long."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}

    async def turn(self, client: str) -> bool:
        """Wait for a client's turn; return whether it has one, which it has not where many of its own wait."""
        now = asyncio.get_running_loop().time()
        self._next = {name: at for name, at in self._next.items() if at > now}
        at = self._next.get(client, now)
        if at - now > MAX_LOGIN_WAIT:
            return False
        self._next[client] = at + LOGIN_SECONDS
        await asyncio.sleep(at - now)
        return True


def same_origin(headers: Mapping[str, str]) -> bool:
    """Whether a request comes from the page itself, or from no page at all, by the headers that browsers add.

    Other pages may not even send requests: those cost time, and their duration could reveal something.
    """
    if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
        # Following a link to the page is allowed.
        return headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host", "")


def _with_listener(send: "Send", on_granted: Callable[[bytes], None]) -> "Send":
    """Call `on_granted` with the body of an answer of status 200, before its end is sent on."""
    body, granted = bytearray(), False

    async def listening(message: "Message") -> None:
        nonlocal granted
        if message["type"] == "http.response.start":
            granted = message["status"] == 200
        elif granted:
            body.extend(message.get("body", b""))
            if not message.get("more_body", False):
                on_granted(bytes(body))
        await send(message)

    return listening


def _host_name(host: str) -> str:
    """A host without its port."""
    return re.sub(r":\d*$", "", host).casefold()


class _RefusedError(Exception):
    """A request body is too large or too slow."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def _bounded(receive: "Receive", most: int) -> "Receive":
    """Pass on a body of at most `most` bytes that arrives in time; raises _RefusedError otherwise."""
    got, whole = 0, False
    began = asyncio.get_running_loop().time()

    async def bounded() -> "Message":
        nonlocal got, whole
        if whole:
            return await receive()
        time_left = BODY_SECONDS - (asyncio.get_running_loop().time() - began)
        try:
            message = await asyncio.wait_for(receive(), max(0.0, min(IDLE_SECONDS, time_left)))
        except TimeoutError as error:
            raise _RefusedError(408) from error
        if message["type"] == "http.disconnect":
            # Nobody reads this answer; it ends the wait for the rest.
            raise _RefusedError(400)
        got += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if got > most:
            raise _RefusedError(413)
        return message

    return bounded


async def _discarded(receive: "Receive") -> None:
    """Receive a body, for some seconds at most, without keeping it."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_DISCARD_SECONDS):
            while (await receive()).get("more_body", False):
                continue


class _Answer:
    """Sends answers on, each with the policy; remembers whether one has begun."""

    def __init__(self, send: "Send") -> None:
        self._send = send
        self._begun = False

    async def __call__(self, message: "Message") -> None:
        if message["type"] == "http.response.start":
            self._begun = True
            own_names = {name for name, _ in _HEADERS}
            other_headers = [item for item in message.get("headers", ()) if item[0].lower() not in own_names]
            message = {**message, "headers": [*other_headers, *_HEADERS]}
        await self._send(message)

    async def refuse(self, status: int) -> None:
        """Answer with a status alone; an answer that has begun is cut off."""
        if self._begun:
            return
        headers: list[tuple[bytes, bytes]] = [(b"content-length", b"0"), (b"connection", b"close")]
        start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
        await self(start)
        await self({"type": "http.response.body", "body": b""})
