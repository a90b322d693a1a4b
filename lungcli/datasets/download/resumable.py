"""Resumable downloads: from a URL to a whole local file, checked on the way. Nothing is unpacked here.

During a download, `NAME.part` holds what has arrived and the sidecar `NAME.json` the validator and size of the file.
"""

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from lungcli.core import paths, versioned
from lungcli.core.errors import LungcliError, NetworkError
from lungcli.datasets.download import http
from lungcli.datasets.download.http import DEFAULT_RETRY, ProgressCallbacks, RetryPolicy

if TYPE_CHECKING:
    from requests import Response, Session

ZIP_MAGIC = b"PK\x03\x04"
MAX_BYTES = 8 << 30
_NOTHING_LEFT = 416


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A file to download, with the expected `size` in bytes (0: unknown) and `sha256` (empty: unknown)."""

    url: str
    size: int = 0
    sha256: str = ""


class Sidecar(msgspec.Struct, frozen=True, kw_only=True):
    """The server's validator (a strong ETag, or the date of change) and the size of a partly downloaded file."""

    validator: str
    size: int


Step = Literal["append", "start over", "complete", "drop"]


def transfer(
    remote: Remote, into: Path, progress: ProgressCallbacks, *, room: int = 0, retry: RetryPolicy = DEFAULT_RETRY
) -> str:
    """Download a .zip file, resuming what an earlier call left, and return its sha256.

    `into` appears only once it is whole and has the expected size and sha256. `room` bytes must be free besides. An
    https URL is never redirected to an unencrypted one, and certificates are always verified; the environment's
    proxies are used. Ctrl-C and temporary failures keep the part.

    Raises NetworkError when the server refuses, gives up or sends something else, LungcliError when the disk is full.
    """
    part, sidecar = into.with_suffix(".part"), into.with_suffix(".json")
    with paths.os_errors_as(into):
        into.parent.mkdir(parents=True, exist_ok=True)

    def attempt(session: "Session") -> str:
        return _attempt(session, remote, part, sidecar, progress, room, retry)

    sha256 = http.with_retries(remote.url, attempt, progress, retry, lambda: _size(part))
    if remote.sha256 not in ("", sha256):
        _remove_part(part, sidecar)
        raise NetworkError(
            f"what arrived has not the sha256 it must have: {sha256[:16]}… instead of {remote.sha256[:16]}…",
            "it is not used; try again, or use another source",
        )
    with paths.os_errors_as(into):
        part.replace(into)
        sidecar.unlink(missing_ok=True)
    return sha256


def range_action(status: int, content_range: str, validator: str, start: int, sidecar: Sidecar | None) -> Step:
    """Return what to do with the response to a range request from `start` on.

    206 continues only if it begins at `start` and is of the same file; 416 means that the part is whole, or of another
    file; anything else starts over (RFC 9110, sections 13.1.5, 14.4 and 15.5.17).
    """
    unit, _, value = content_range.partition(" ")
    span, _, total = value.partition("/")
    if status == _NOTHING_LEFT:
        return "complete" if unit == "bytes" and total == str(start) else "drop"
    if status != 206:
        return "start over"
    same = (
        sidecar is not None
        and validator in ("", sidecar.validator)
        and (total in ("*", str(sidecar.size)) or not sidecar.size)
    )
    return "append" if same and unit == "bytes" and span.partition("-")[0] == str(start) else "drop"


def received_bytes(into: Path) -> int:
    """Bytes of `into` that earlier calls have received."""
    return _size(into) or _size(into.with_suffix(".part"))


def _attempt(
    session: "Session",
    remote: Remote,
    part: Path,
    sidecar: Path,
    progress: ProgressCallbacks,
    room: int,
    retry: RetryPolicy,
) -> str:
    """Request the missing bytes once, and return the sha256 of the whole file."""
    resumed = versioned.read_or(sidecar, Sidecar, None)
    start = _size(part) if resumed else 0
    if resumed and resumed.size and start == resumed.size:
        return _file_hash(part).hexdigest()
    headers = {"Range": f"bytes={start}-", "If-Range": resumed.validator} if resumed and start else {}
    with http.request(session, remote.url, headers, retry) as response:
        validator = _validator(response)
        content_range = response.headers.get("Content-Range", "")
        if response.status_code != _NOTHING_LEFT or not start:
            http.require_success(response)
        step = range_action(response.status_code, content_range, validator, start, resumed)
        if step == "complete":
            return _file_hash(part).hexdigest()
        if step == "drop":
            _remove_part(part, sidecar)
            raise http.RetryableError("it has another file by now", wait=0.0)
        start = start if step == "append" else 0
        length = http.header_number(response.headers.get("Content-Length", ""))
        total = 0 if length is None else start + length
        if remote.size and total not in (0, remote.size):
            raise NetworkError(f"it would send {total:,} bytes, not the {remote.size:,} it lists", "use another source")
        _require_space(part, max(0, (total or remote.size) - start) + room)
        arriving = http.chunks(response, retry)
        if step == "start over":
            # The part is deleted only once it is certain that a .zip file arrives.
            arriving = _from_magic(arriving)
            if _size(part):
                progress.say(f"{http.redacted_url(remote.url)}: it can't go on where it stopped, so it starts over")
            _begin(part, sidecar, Sidecar(validator=validator, size=total))
        return _receive(arriving, part, start, total or remote.size, progress)


def _begin(part: Path, sidecar: Path, content: Sidecar) -> None:
    """Empty the part, and write the sidecar if the server gives a validator."""
    with paths.os_errors_as(part):
        part.write_bytes(b"")
        sidecar.unlink(missing_ok=True)
    if content.validator:
        paths.atomic_write(sidecar, msgspec.json.encode(content))


def _receive(arriving: Iterator[bytes], part: Path, start: int, total: int, progress: ProgressCallbacks) -> str:
    """Append the chunks to the part, and return the sha256 of the whole."""
    state, done = _file_hash(part), start
    progress.moved(done, total)
    with paths.os_errors_as(part), part.open("ab") as file:
        for chunk in arriving:
            done += len(chunk)
            if done > (total or MAX_BYTES):
                raise NetworkError(f"it sends more than {total or MAX_BYTES:,} bytes", "use another source")
            state.update(chunk)
            file.write(chunk)
            progress.moved(done, total)
        file.flush()
        os.fsync(file.fileno())
    if total and done < total:
        raise http.RetryableError(f"the connection broke after {done / 1e6:.1f} of {total / 1e6:.1f} MB")
    return state.hexdigest()


def _from_magic(arriving: Iterator[bytes]) -> Iterator[bytes]:
    """Pass the chunks on if they begin as a .zip file does. Raises NetworkError, at once, for anything else."""
    head = b""
    for chunk in arriving:
        head += chunk
        if len(head) >= len(ZIP_MAGIC):
            break
    if head.startswith(ZIP_MAGIC):
        return itertools.chain([head], arriving)
    page = head.lstrip()[:64].lower().startswith((b"<!doctype html", b"<html"))
    what = "a web page (for logging in?)" if page else "something else" if head else "nothing"
    raise NetworkError(f"it sends {what} instead of a .zip file", "log in there with a browser and download it")


def _validator(response: "Response") -> str:
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _require_space(part: Path, need: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < need:
        raise LungcliError(
            f"not enough space: {need / 1e6:,.0f} MB are needed in {part.parent}, {free / 1e6:,.0f} MB are free",
            "free some space or choose another place with LUNGCLI_DATA=FOLDER",
        )


def _remove_part(part: Path, sidecar: Path) -> None:
    with paths.os_errors_as(part):
        sidecar.unlink(missing_ok=True)
        part.unlink(missing_ok=True)


def _file_hash(path: Path) -> "hashlib._Hash":
    with paths.os_errors_as(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256")


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
