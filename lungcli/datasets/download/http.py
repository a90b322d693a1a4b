"""HTTP requests with retries: temporary failures are retried, permanent ones are errors that say why."""

import contextlib
import email.utils
import errno
import re
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lungcli import __version__
from lungcli.core.errors import NetworkError
from lungcli.imaging.picture import printable

if TYPE_CHECKING:
    from requests import Response, Session
    from requests.adapters import HTTPAdapter

T = TypeVar("T")

CHUNK = 1 << 18
MAX_LIST = 1 << 20
MAX_REDIRECTS = 10
_REDIRECTS = (301, 302, 303, 307, 308)
_TOO_BUSY = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressCallbacks:
    """Callbacks of a download: `moved(done, total)` in bytes (total 0: unknown), and `say` with a sentence."""

    moved: Callable[[int, int], None]
    say: Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When to retry and when to give up; all times in seconds.

    `tries` in a row without a new byte; waits between them double from `first_wait`, or are what the server asks for
    if that is at most `longest_wait`; `connect`, `silence` and `head` are time-outs: of the connection, of each byte,
    and of the head of an answer. A body lasts at most `longest` and has `slowest` bytes a second in any `silence`.
    """

    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 120.0
    connect: float = 15.0
    silence: float = 60.0
    head: float = 60.0
    slowest: float = 1024.0
    longest: float = 2 * 86_400.0


DEFAULT_RETRY = RetryPolicy()


class RetryableError(Exception):
    """A temporary failure: retrying, perhaps after `wait` seconds, may succeed."""

    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


def fetch_small(url: str, progress: ProgressCallbacks, *, retry: RetryPolicy = DEFAULT_RETRY) -> bytes:
    """Return the content of a URL, at most 1 MiB. Raises NetworkError."""

    def attempt(session: "Session") -> bytes:
        with request(session, url, {}, retry) as response:
            require_success(response)
            content = bytearray()
            for chunk in chunks(response, retry):
                content += chunk
                if len(content) > MAX_LIST:
                    raise NetworkError("its list of files is larger than 1 MiB")
            return bytes(content)

    return with_retries(url, attempt, progress, retry, lambda: 0)


def with_retries(
    url: str,
    attempt: "Callable[[Session], T]",
    progress: ProgressCallbacks,
    retry: RetryPolicy,
    received: Callable[[], int],
) -> T:
    """Call `attempt` until it succeeds, waiting in between; `received()` is the number of bytes that have arrived.

    Raises NetworkError after too many failures in a row without a new byte.
    """
    failures = 0
    with session(url, retry) as http_session:
        while True:
            before = received()
            try:
                return attempt(http_session)
            except RetryableError as error:
                failures = 1 if received() > before else failures + 1
                wait = error.wait if error.wait is not None else retry.first_wait * 2 ** (failures - 1)
                if failures >= retry.tries:
                    raise NetworkError(f"{error}, {failures} times in a row", "try again later") from error
                if wait > retry.longest_wait:
                    raise NetworkError(f"{error} and asks to wait {wait:.0f} s", "try again then") from error
                progress.say(f"{redacted_url(url)}: {error}; trying again in {wait:.0f} s")
            time.sleep(wait)


@contextlib.contextmanager
def request(session: "Session", url: str, headers: dict[str, str], retry: RetryPolicy) -> "Iterator[Response]":
    """Send a request and yield the response, its body not read yet. Raises RetryableError or NetworkError."""
    import requests
    from urllib3.exceptions import NameResolutionError

    try:
        response = _following(session, url, headers, retry)
    except requests.exceptions.SSLError as error:
        raise NetworkError(
            f"its certificate can't be verified: {_cause(error)}", "check the clock and the proxy; it is never skipped"
        ) from error
    except requests.exceptions.ProxyError as error:
        raise NetworkError(f"the proxy refuses: {_cause(error)}", "check HTTPS_PROXY and NO_PROXY") from error
    except requests.exceptions.Timeout as error:
        raise RetryableError("it does not answer") from error
    except requests.exceptions.ConnectionError as error:
        if isinstance(getattr(error.args[0] if error.args else None, "reason", None), NameResolutionError):
            raise NetworkError("its name can't be resolved", "is this machine connected to a network?") from error
        raise RetryableError(f"no connection: {_cause(error)}") from error
    except requests.exceptions.InvalidSchema as error:
        raise NetworkError("it leads from https to another kind of address", "use another source") from error
    except (requests.RequestException, ValueError) as error:
        raise NetworkError(f"it can't be asked: {_cause(error)}", "check the address") from error
    with response:
        yield response


def _following(session: "Session", url: str, headers: dict[str, str], retry: RetryPolicy) -> "Response":
    """Follow redirects without their bodies, of which a library would read all, however large. Raises NetworkError."""
    for _ in range(MAX_REDIRECTS + 1):
        response = session.get(url, headers=headers, stream=True, timeout=(retry.connect, retry.silence))
        location = response.headers.get("Location", "")
        if response.status_code not in _REDIRECTS or not location:
            return response
        response.close()
        # Servers send UTF-8, which the library takes for Latin-1.
        url = urllib.parse.urljoin(url, location.encode("latin-1", "replace").decode("utf-8", "replace"))
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise NetworkError("it leads to another kind of address", "use another source")
        if not parts.hostname or not url.isprintable():
            raise NetworkError("it leads to no usable address", "use another source")
    raise NetworkError(f"it leads on more than {MAX_REDIRECTS} times", "use another source")


def chunks(response: "Response", retry: RetryPolicy) -> Iterator[bytes]:
    """Read the body as it arrives, so that nothing received before a break is lost. Raises RetryableError at the break.

    Raises NetworkError, since trying again would not help, where it arrives too slowly.
    """
    from urllib3.exceptions import HTTPError

    began = since = time.monotonic()
    arrived = 0
    try:
        while chunk := response.raw.read1(CHUNK):
            yield chunk
            arrived += len(chunk)
            passed = (now := time.monotonic()) - since
            if passed < retry.silence:
                continue
            if arrived < retry.slowest * passed or now - began > retry.longest:
                raise NetworkError(
                    f"it sends {arrived / passed:.0f} bytes a second, which takes too long", "try again later"
                )
            since, arrived = now, 0
    except (HTTPError, OSError) as error:
        raise RetryableError("the connection broke") from error


def require_success(response: "Response") -> None:
    """Raise RetryableError or NetworkError for a response that is not a success."""
    status = f"it answers {response.status_code} {printable(response.reason or '')}".rstrip()
    if response.status_code in _TOO_BUSY:
        raise RetryableError(status, retry_after(response.headers.get("Retry-After", ""), time.time()))
    if response.status_code not in (200, 206):
        raise NetworkError(status, "log in there with a browser and download it, or use another source")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise NetworkError("it compresses what it sends, though asked not to", "use another source")


def header_number(value: str) -> int | None:
    """Parse the number in a header; None if it is not one, or longer than any length or wait."""
    return int(value) if re.fullmatch(r"[0-9]{1,18}", value := value.strip(" \t")) else None


def retry_after(value: str, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for, as a number or a date; None where it makes no sense."""
    if (seconds := header_number(value)) is not None:
        return float(seconds)
    with contextlib.suppress(ValueError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - now)
    return None


def redacted_url(url: str) -> str:
    """Return a URL as it may be printed: without password, query (it may hold a signature) and fragment."""
    parts = urllib.parse.urlsplit(url)
    return printable(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}")


@contextlib.contextmanager
def session(url: str, retry: RetryPolicy = DEFAULT_RETRY) -> "Iterator[Session]":
    """Yield what asks for `url`: never unencrypted if that is an https address, always verified, by way of proxies."""
    # 30 ms, and only a download needs it.
    import requests

    with requests.Session() as http_session:
        http_session.headers["User-Agent"] = f"lungcli/{__version__}"
        # A compressed transfer could not be resumed, and a .zip file gains nothing.
        http_session.headers["Accept-Encoding"] = "identity"
        # See `_following`.
        http_session.get_redirect_target = lambda _response: None  # type: ignore[assignment,method-assign]
        for kind in ("http://", "https://"):
            http_session.mount(kind, _adapter(retry))
        if url.casefold().startswith("https:"):
            del http_session.adapters["http://"]
        yield http_session


def _adapter(retry: RetryPolicy) -> "HTTPAdapter":
    """Return what connects, and gives up on the head of an answer that does not end; the library waits byte by byte."""
    from requests.adapters import HTTPAdapter
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool

    def bounded(pool: Any) -> Any:
        class Connection(pool.ConnectionCls):  # type: ignore[misc]
            def getresponse(self) -> Any:
                over = threading.Event()
                hangs = threading.Timer(retry.head, _shut, [self.sock, over])
                hangs.daemon = True
                hangs.start()
                try:
                    response = super().getresponse()
                finally:
                    hangs.cancel()
                if over.is_set():
                    response.close()
                    raise ConnectionResetError(errno.ETIMEDOUT, "the head of its answer has no end")
                return response

        return type(pool.__name__, (pool,), {"ConnectionCls": Connection})

    pools = {"http": bounded(HTTPConnectionPool), "https": bounded(HTTPSConnectionPool)}

    class Adapter(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, **kwargs)
            self.poolmanager.pool_classes_by_scheme = pools

        def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
            manager = super().proxy_manager_for(*args, **kwargs)
            manager.pool_classes_by_scheme = pools
            return manager

    return Adapter()


def _shut(connection: socket.socket, over: threading.Event) -> None:
    over.set()
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a chain of library errors in one short line."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
