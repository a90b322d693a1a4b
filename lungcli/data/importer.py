"""Making a data set out of files: each one read, hashed and grouped, all of them in place or none."""

import contextlib
import functools
import hashlib
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from lungcli.core import paths
from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.core.names import natural
from lungcli.data import groups, layout, manifest, unpack
from lungcli.data.manifest import Manifest, Rejected, Slice, Source
from lungcli.data.read import content_of, printable, read

Advance = Callable[[int, int], None]

IQOTHNCCD = Source(
    about="IQ-OTH/NCCD lung cancer dataset",
    licence="CC BY 4.0",
    citation="alyasriy & AL-Huseiny (2023), The IQ-OTH/NCCD lung cancer dataset, Mendeley Data V4, "
    "doi:10.17632/bhmdr45bh2.4",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One file to take in: its class, its name, and its content or how to come by it (asked for once, in a thread).

    `patient` joins slices into one group where the source knows patients; `origin` names the file if it is rejected.
    """

    label: str
    filename: str
    content: bytes | Path | Callable[[], bytes]
    patient: str = ""
    origin: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Taken:
    slice: Slice
    thumb: groups.Thumbs
    place: tuple[str, int] | None


def import_dataset(source: Path, name: str | None = None, advance: Advance | None = None) -> Manifest:
    """Copy the slices of a folder or .zip file into a new data set and return its manifest.

    `layout.lay_out` says which layouts are known. No file is dropped in silence: what is not a slice is in
    `manifest.rejected` with its reason. `name` defaults to one made from the source's; `advance(done, total)` counts
    files. Raises UsageError (name taken, single class), UnreadableInputError (nothing usable, or a .zip file not to
    be trusted), LungcliError (cannot write); nothing is left behind then, nor after Ctrl-C.
    """
    if name is not None:
        manifest.require_new(name)
    with contextlib.ExitStack() as stack:
        rejected: tuple[Rejected, ...] = ()
        contents: list[Path | Callable[[], bytes]]
        if source.is_dir():
            files, rejected = _walk(source)
            contents = [source / file for file in files]
        else:
            archive = stack.enter_context(unpack.opened(source))
            members = unpack.members(archive)
            files = tuple(PurePosixPath(item.filename) for item in members)
            contents = [functools.partial(unpack.content, archive, item) for item in members]
        try:
            found = layout.lay_out(files)
        except (UnreadableInputError, UsageError) as error:
            raise type(error)(f"cannot import {printable(str(source))}: {error.message}", error.hint) from error
        known = found.kind == "iqothnccd"
        shown = [printable(str(file)) for file in files]
        return write_dataset(
            name or ("iqothnccd" if known else default_name(source)),
            [
                Incoming(label=place.label, filename=file.name, content=content, origin=origin)
                for file, place, content, origin in zip(files, found.places, contents, shown, strict=True)
                if place.label
            ],
            IQOTHNCCD if known else Source(about=f"imported from {printable(source.resolve().name)}"),
            # Only there is it known that file numbers follow the scans.
            ordered=known,
            rejected=(
                *rejected,
                *(
                    Rejected(path=origin, reason=place.reason)
                    for origin, place in zip(shown, found.places, strict=True)
                    if place.reason
                ),
            ),
            advance=advance,
        )


def write_dataset(
    name: str,
    files: Sequence[Incoming],
    source: Source,
    *,
    ordered: bool,
    rejected: Sequence[Rejected] = (),
    advance: Advance | None = None,
) -> Manifest:
    """Make the data set `name` of `files` and return its manifest; the folder appears whole or not at all.

    Slices are sorted by class and number-aware file name. `ordered` says that file numbers of a class follow the
    scans, so that neighbours may be look-alikes. Files that can't be read join `rejected`.

    Raises UsageError (name taken, fewer than two classes left), UnreadableInputError (no slice left), LungcliError
    (cannot write).
    """
    target = manifest.require_new(name)
    with _appearing(target) as partial:
        outcomes = list(_take_all(partial, files, ordered, advance))
        taken = [item for item in outcomes if isinstance(item, _Taken)]
        refused = (*rejected, *(item for item in outcomes if isinstance(item, Rejected)))
        _require_classes(taken, refused)
        made = manifest.make(name, _grouped(taken), refused, source)
        manifest.save(made, partial)
    return made


def default_name(source: Path) -> str:
    """Return a name for a data set made from `source`: its own, in lower case, fit for a folder."""
    path = source.resolve()
    stem = path.name if path.is_dir() else path.stem
    slug = re.sub(r"[^\w.+-]+|_+", "-", unicodedata.normalize("NFC", printable(stem)).casefold())
    return slug.strip("-.+")[:80].strip("-.+") or "dataset"


def safe(name: str) -> str:
    """Return `name` as a file name that every platform takes: at most 200 bytes, what is refused replaced by `_`."""
    plain = unicodedata.normalize("NFC", name).encode("utf-8", "replace").decode("utf-8")
    plain = "".join("_" if letter in '<>:"/\\|?*' or not letter.isprintable() else letter for letter in plain)
    suffix = PurePosixPath(plain).suffix[:16]
    stem = plain.removesuffix(suffix).encode()[: 200 - len(suffix.encode())].decode("utf-8", "ignore")
    return (stem.strip() + suffix).rstrip(" .") or "_"


def _walk(source: Path) -> tuple[tuple[PurePosixPath, ...], tuple[Rejected, ...]]:
    """List the files under a folder, relative to it, and the folders that were not entered."""
    files: list[PurePosixPath] = []
    rejected: list[Rejected] = []

    def relative(path: str | Path) -> PurePosixPath:
        return PurePosixPath(Path(path).relative_to(source).as_posix())

    def refuse(error: OSError) -> None:
        where = relative(str(error.filename)) if error.filename else PurePosixPath()
        rejected.append(Rejected(path=printable(str(where)), reason=(error.strerror or "unreadable").lower()))

    for folder, folders, found in os.walk(source, onerror=refuse):
        here = Path(folder)
        links = [here / item for item in folders if (here / item).is_symlink()]
        rejected += [Rejected(path=printable(str(relative(i))), reason="a link to a folder") for i in links]
        files += [relative(here / item) for item in found]
    return tuple(sorted(files)), tuple(rejected)


@contextlib.contextmanager
def _appearing(target: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `target` that becomes `target` on success and vanishes otherwise."""
    partial = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
    try:
        with paths.saying_why_not(target):
            partial.mkdir(parents=True)
        yield partial
        with paths.saying_why_not(target):
            partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _take_all(
    into: Path, files: Sequence[Incoming], ordered: bool, advance: Advance | None
) -> Iterator[_Taken | Rejected]:
    """Take in every file, several at a time, in the order of the data set."""
    items = sorted(files, key=lambda item: (item.label, natural(item.filename), item.filename, item.origin))
    targets = _targets(items)
    with paths.saying_why_not(into):
        for folder in {target.parent for target in targets}:
            (into / folder).mkdir(parents=True, exist_ok=True)

    def take(item: Incoming, target: PurePosixPath) -> _Taken | Rejected:
        return _take(into, item, target, ordered)

    pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
    try:
        for done, outcome in enumerate(pool.map(take, items, targets), start=1):
            if advance:
                advance(done, len(items))
            yield outcome
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _take(into: Path, item: Incoming, target: PurePosixPath, ordered: bool) -> _Taken | Rejected:
    """Read, hash and copy one file."""
    shown = printable(item.origin or item.filename)
    try:
        content = _content(item, shown)
        picture = read(content, name=shown)
    except UnreadableInputError as error:
        return Rejected(path=shown, reason=error.message.removeprefix(f"cannot read {shown}: "))
    with paths.saying_why_not(into / target):
        (into / target).write_bytes(content)
    return _Taken(
        slice=Slice(
            path=str(target),
            label=item.label,
            sha256=hashlib.sha256(content).hexdigest(),
            size=picture.size,
            group=0,
            patient=item.patient,
        ),
        thumb=groups.thumbnail(picture.grey),
        place=_place(item) if ordered else None,
    )


def _content(item: Incoming, shown: str) -> bytes:
    if isinstance(item.content, bytes):
        return item.content
    return content_of(item.content, shown) if isinstance(item.content, Path) else item.content()


def _place(item: Incoming) -> tuple[str, int] | None:
    """Folder and number of a file: `Normal case (12).jpg` is number 12 of what is called `Normal case (…`."""
    last = re.search(r"([0-9]+)[^0-9]*$", PurePosixPath(item.filename).stem)
    return (f"{item.label}/{item.filename[: last.start()]}", int(last[1])) if last else None


def _targets(items: Sequence[Incoming]) -> list[PurePosixPath]:
    """A path within the data set for every file, all different even where case does not count."""
    taken: set[str] = set()
    targets = []
    for item in items:
        folder, name = PurePosixPath("slices", safe(item.label)), PurePosixPath(safe(item.filename))
        target, number = folder / name, 1
        while str(target).casefold() in taken:
            number += 1
            target = folder / f"{name.stem}-{number}{name.suffix}"
        taken.add(str(target).casefold())
        targets.append(target)
    return targets


def _require_classes(taken: Sequence[_Taken], rejected: Sequence[Rejected]) -> None:
    labels = sorted({item.slice.label for item in taken})
    if not labels:
        why = f"; the first: {rejected[0].path}: {rejected[0].reason}" if rejected else ""
        raise UnreadableInputError(f"none of its files is a slice{why}", layout.LAYOUTS)
    if len(labels) < 2:
        raise UsageError(
            f"a classifier needs at least two classes, and all readable slices are {labels[0]!r}", layout.LAYOUTS
        )


def _grouped(taken: Sequence[_Taken]) -> tuple[Slice, ...]:
    slices = [item.slice for item in taken]
    found = groups.look_alikes(
        np.stack([item.thumb for item in taken]),
        [item.sha256 for item in slices],
        [item.place for item in taken],
        patients=[item.patient for item in slices],
    )
    return tuple(
        Slice(path=i.path, label=i.label, sha256=i.sha256, size=i.size, group=int(group), patient=i.patient)
        for i, group in zip(slices, found, strict=True)
    )
