"""From a mirror of a data set to the URL of its .zip file."""

import urllib.parse

import msgspec

from lungcli.core.errors import NetworkError, UsageError
from lungcli.core.registry import Mirror
from lungcli.datasets.download import http
from lungcli.datasets.download.http import DEFAULT_RETRY, ProgressCallbacks, RetryPolicy
from lungcli.datasets.download.resumable import Remote


class _Details(msgspec.Struct, frozen=True):
    download_url: str
    sha256_hash: str = ""


class _Listed(msgspec.Struct, frozen=True):
    filename: str
    content_details: _Details
    size: int = 0


def resolve_zip(mirror: Mirror, progress: ProgressCallbacks, retry: RetryPolicy = DEFAULT_RETRY) -> Remote:
    """Return the .zip file that a mirror offers. Raises NetworkError."""
    if mirror.kind == "zip":
        return Remote(url=mirror.url)
    remote = largest_zip(http.fetch_small(mirror.url, progress, retry=retry))
    if mirror.url.casefold().startswith("https:") and not remote.url.casefold().startswith("https:"):
        raise NetworkError("its list leads from https to another kind of address", "use another source")
    return remote


def largest_zip(listing: bytes) -> Remote:
    """Return the largest .zip file in Mendeley's list of a data set's files (JSON). Raises NetworkError."""
    try:
        files = msgspec.json.decode(listing, type=list[_Listed])
    except (msgspec.DecodeError, ValueError) as error:
        raise NetworkError("it sends no list of files", "open its page with a browser") from error
    archives = [item for item in files if item.filename.casefold().endswith(".zip")]
    if not archives:
        raise NetworkError("its list of files has no .zip file", "open its page with a browser")
    largest = max(archives, key=lambda item: item.size)
    details = largest.content_details
    if not is_http_url(details.download_url):
        raise NetworkError("its list of files has no usable address", "open its page with a browser")
    return Remote(url=details.download_url, size=max(0, largest.size), sha256=details.sha256_hash.casefold())


def mirror_of_url(url: str) -> Mirror:
    """Return a URL as a mirror: of a .zip file, or of Mendeley's public list of files. Raises UsageError."""
    if not is_http_url(url):
        raise UsageError(
            "what --url gives is no http or https address", "for a file on this machine use --from-zip FILE"
        )
    listed = urllib.parse.urlsplit(url).path.startswith("/public-api/datasets/")
    return Mirror(name=http.redacted_url(url), kind="mendeley" if listed else "zip", url=url)


def is_http_url(url: str) -> bool:
    """Whether `url` is an http or https URL with a host."""
    try:
        parts = urllib.parse.urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False
