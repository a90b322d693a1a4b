"""HTTP requests with retries: temporary failures are retried, permanent ones are errors that say why."""

import contextlib
import email.utils
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from lungcli import __version__
from lungcli.core.errors import NetworkError
from lungcli.imaging.picture import printable

if TYPE_CHECKING:
    from requests import Response, Session

T = TypeVar("T")

CHUNK = 1 << 18
MAX_LIST = 1 << 20
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
    if that is at most `longest_wait`; `connect` and `silence` are time-outs.
    """

    tries: int = 5
    first_wait: float = 1.0
    longest_wait: float = 120.0
    connect: float = 15.0
    silence: float = 60.0


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
            for chunk in chunks(response):
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
    with session(url) as http_session:
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
    """Send a request and yield the response, its body not read yet. Raises AgainError or NetworkError."""
    import requests
    from urllib3.exceptions import NameResolutionError

    try:
        response = session.get(url, headers=headers, stream=True, timeout=(retry.connect, retry.silence))
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
    except requests.RequestException as error:
        raise NetworkError(f"it can't be asked: {_cause(error)}", "check the address") from error
    with response:
        yield response


def chunks(response: "Response") -> Iterator[bytes]:
    """Read the body as it arrives, so that nothing received before a break is lost. Raises AgainError at the break."""
    from urllib3.exceptions import HTTPError

    try:
        while chunk := response.raw.read1(CHUNK):
            yield chunk
    except (HTTPError, OSError) as error:
        raise RetryableError("the connection broke") from error


def require_success(response: "Response") -> None:
    """Raise AgainError or NetworkError for a response that is not a success."""
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
def session(url: str) -> "Iterator[Session]":
    """Yield what asks for `url`: never unencrypted if that is an https address, always verified, by way of proxies."""
    # 30 ms, and only a download needs it.
    import requests

    with requests.Session() as http_session:
        http_session.headers["User-Agent"] = f"lungcli/{__version__}"
        # A compressed transfer could not be resumed, and a .zip file gains nothing.
        http_session.headers["Accept-Encoding"] = "identity"
        http_session.max_redirects = 10
        if url.casefold().startswith("https:"):
            del http_session.adapters["http://"]
        yield http_session


def _cause(error: BaseException) -> str:
    """Return the innermost reason of a chain of library errors in one short line."""
    while True:
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)[:200]
