"""What a user named, as a stream of slices to predict: files, folders, patterns, .zip files, lists, DICOM series.

Slices come in the order they were named in; within a folder or .zip file by name, but a DICOM series from feet to head
at the place of its first slice. Names are as typed, without what names a patient in those of DICOM files.
"""

import dataclasses
import functools
import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.core.names import natural
from lungcli.datasets.ingest import folders, safe_zip
from lungcli.datasets.ingest.folders import is_system_file, may_be_picture
from lungcli.imaging import containers, dicom, privacy, timed_reading, volumes
from lungcli.imaging.containers import Container
from lungcli.imaging.dicom import Header
from lungcli.imaging.hounsfield import GreyScale
from lungcli.imaging.image_io import PLAIN_BYTES, is_plain, read
from lungcli.imaging.picture import MAX_SLICE_BYTES, Picture, printable
from lungcli.predict import files

Source = Path | bytes | Callable[[], Picture]

LIST = "-"
_LONGEST_NAME = 1 << 16
_ZIP = b"PK\x03\x04"
# A CD has its table of contents in a DICOM file of this name.
_CONTENTS = "dicomdir"


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One slice to predict: what to call it, where it comes from, and the DICOM series it belongs to, if any.

    Of an archive, `file` is the file it was made from. `scale` is what the user says of pictures' greys.
    """

    shown: str
    source: Source
    series: str = ""
    file: str = ""
    scale: GreyScale | None = None

    def read(self) -> Picture:
        """Decode it. Raises UnreadableInputError."""
        return self.source() if callable(self.source) else read(self.source, self.shown, scale=self.scale)


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """How things are called: series by number, in order of appearance, and paths without the words of any patient met.

    With `phi` everything is called what it is. Opening a file of many slices, and reading each, may take so many
    `seconds`; with 0 it is done in this process, and takes what it takes. `passed_over` counts files of folders and
    .zip files that hold no picture, by what they are, such as `RT Structure Set`.
    """

    phi: bool = False
    seconds: float = 0.0
    words: set[str] = field(default_factory=set)
    series: dict[str, str] = field(default_factory=dict)
    passed_over: Counter[str] = field(default_factory=Counter)


def items(named: Iterable[str], naming: Naming, stdin: BinaryIO | None = None) -> Iterator[Item]:
    """Yield the slices of every name in order, each when it is asked for; `-` stands for a list of names on `stdin`.

    What can't be opened is an item too: reading it raises the UnreadableInputError that says why.
    """
    for name in named:
        if name == LIST and stdin:
            for line in listed(stdin):
                yield from _of_path(line, naming)
        else:
            yield from _of_path(name, naming)


def plain_here(item: Item) -> Item:
    """Return an item that is read in this process, without a limit of time, where that takes a second at most.

    To start another process takes as long as the whole prediction of a small picture, see `image_io.is_plain`.
    """
    if callable(item.source):
        return item
    content = files.first_bytes(item.source, PLAIN_BYTES + 1) if isinstance(item.source, Path) else item.source
    if not is_plain(content, item.shown):
        return item
    return dataclasses.replace(item, source=functools.partial(read, content, item.shown, scale=item.scale))


def beside(path: Path, naming: Naming) -> Iterator[Item]:
    """Yield the slices of the files in the folder of `path`, its own among them, but not those of subfolders."""
    names = [str(file) for file in path.parent.iterdir() if wanted(file.name) and file.is_file()]
    yield from _of_files(sorted(names, key=natural), files.on_disk, naming)


def of_content(content: bytes, name: str, naming: Naming) -> Iterator[Item]:
    """Yield the slices of one file that came as bytes, at most 192 MiB, such as a picture on stdin."""
    if len(content) > MAX_SLICE_BYTES:
        yield _unreadable(
            f"cannot read {name}: it is larger than {MAX_SLICE_BYTES >> 20} MiB", "name the file", name, naming
        )
        return
    yield from _of_file(files.in_memory(name, content), naming)


def of_listed(name: str, get: Callable[[], Path | bytes], naming: Naming) -> Iterator[Item]:
    """Yield the slices of one file of a listing, none where it is no picture by name or content, as in a folder.

    `get` gives the file, on this machine or as bytes; the UnreadableInputError it may raise, told by `name`, is that of
    an item.
    """
    try:
        file = files.of_source(name, get())
    except UnreadableInputError as error:
        shown = _unread(name, naming)
        yield Item(shown=shown, source=functools.partial(_refuse, error.message.replace(name, shown), error.hint))
        return
    if is_picture(name, file.head()):
        yield from _of_files([name], lambda _: file, naming)


def called(name: str, get: Callable[[], Path | bytes], naming: Naming) -> str:
    """Return what `of_listed` calls a file of a listing; of its content only a header is read.

    Of patients, what `naming` knows counts, and what this file's own header adds to it.
    """
    try:
        file = files.of_source(name, get())
    except UnreadableInputError:
        return _unread(name, naming)
    return _called(file, _header(file), naming) if dicom.is_dicom(file.head(), name) else _shown(name, naming)


def is_picture(name: str, head: bytes) -> bool:
    """Say whether a file in a folder is taken for a picture, by its name or its first 132 bytes."""
    return (
        dicom.is_dicom(head, name)
        or may_be_picture(PurePosixPath(PurePosixPath(name).name))
        or head.startswith(dicom.PICTURE_MAGIC)
    )


def listed(stdin: BinaryIO) -> Iterator[str]:
    """Yield the names of a list, one a line or ended by NUL as `find -print0` writes them, as they arrive."""
    begun, nameless = b"", 0
    while part := stdin.readline(_LONGEST_NAME):
        *names, begun = (begun + part.replace(b"\r\n", b"\0").replace(b"\n", b"\0")).split(b"\0")
        nameless = 0 if any(names) or begun else nameless + len(part)
        if max(len(begun), nameless) > _LONGEST_NAME:
            raise UsageError("what is on stdin is no list of paths", "give one path a line, or ended by NUL")
        yield from map(os.fsdecode, filter(None, names))
    yield from map(os.fsdecode, filter(None, [begun]))


def count(named: Iterable[str]) -> int | None:
    """Return about how many slices are named, for a progress bar, opening no file; None where only time tells."""
    total = 0
    for name in named:
        path = Path(name)
        if name == LIST or (_is_pattern(name) and not folders.exists(path)):
            return None
        total += (
            sum(len(folder.files) for folder in folders.walk(path, wanted))
            if folders.exists(path) and path.is_dir()
            else 1
        )
    return total


def passed_over(naming: Naming) -> str:
    """Return how many files of folders were passed over since they hold no picture, and what they are; or ''."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(naming.passed_over.items()))
    total = naming.passed_over.total()
    return f"{total} {'file holds' if total == 1 else 'files hold'} no picture: {kinds}" if kinds else ""


def is_single(named: Sequence[str]) -> bool:
    """Say whether the user named one file, so that one prediction is to be expected."""
    if len(named) != 1 or named[0] == LIST or volumes.is_volume(named[0]):
        return False
    path = Path(named[0])
    if not folders.exists(path):
        return not _is_pattern(named[0])
    return path.is_file() and not _is_zip(path)


def _of_path(name: str, naming: Naming) -> Iterator[Item]:
    path = Path(name)
    try:
        if path.is_dir():
            yield from _not_empty(_of_folder(path, naming), f"there are no pictures in {name}", name, naming)
        elif _is_pattern(name) and not os.path.lexists(path):
            paths = sorted(glob.glob(name, recursive=True), key=natural)  # noqa: PTH207 - typed names stay as typed
            matched = (item for path in paths for item in _of_path(path, naming))
            yield from _not_empty(matched, f"no file matches {name}", name, naming)
        elif _is_zip(path):
            yield from _not_empty(_of_zip(path, naming), f"there are no pictures in {name}", name, naming)
        else:
            yield from _of_file(files.on_disk(name), naming)
    except (OSError, ValueError) as error:
        yield _unreadable(f"cannot read {name}: {_why(error)}", "check the path", name, naming)


def _of_file(file: files.File, naming: Naming) -> Iterator[Item]:
    """Yield the slice in a file, or the frames of a DICOM file."""
    if dicom.is_dicom(file.head(), file.path):
        yield from _of_dicom(file, _header(file), naming)
    else:
        yield from _of_picture(file, naming)


def _of_picture(file: files.File, naming: Naming) -> Iterator[Item]:
    """Yield a picture, or the axial slices of a volume, which is a series of its own."""
    shown = _shown(file.path, naming)
    try:
        source = file.get()
        if not volumes.is_volume(file.path):
            yield Item(shown=shown, source=source)
            return
        volume = _opened(source, file.path, shown, naming)
    except UnreadableInputError as error:
        yield Item(shown=shown, source=functools.partial(_refuse, error.message, error.hint))
        return
    series = _series(Header(series=shown), naming)
    yield from _parts(volume, f"{shown}, slice", series)


def _of_dicom(file: files.File, header: Header, naming: Naming) -> Iterator[Item]:
    shown = _called(file, header, naming)
    series = _series(header, naming)
    try:
        source = file.get()
        if header.frames == 1:
            yield Item(shown=shown, source=source, series=series)
            return
        container = _opened(source, "", shown, naming)
    except UnreadableInputError as error:
        yield Item(shown=shown, source=functools.partial(_refuse, error.message, error.hint), series=series)
        return
    yield from _parts(container, f"{shown}, frame", series)


def _opened(source: Path | bytes, name: str, shown: str, naming: Naming) -> Container:
    """Open a file of many slices; see `containers.opened`."""
    if naming.seconds:
        return timed_reading.opened(source, name, printable(shown), naming.seconds)
    return containers.opened(source, name, printable(shown))


def _parts(container: Container, called: str, series: str) -> Iterator[Item]:
    for part in container.parts:
        name = f"{called} {part + 1}"
        yield Item(shown=name, source=functools.partial(container.read, part, printable(name)), series=series)


def _called(file: files.File, header: Header, naming: Naming) -> str:
    """What to call a DICOM file, whose header adds to what is known of patients."""
    naming.words.update(header.patient)
    # Whom the folders of a file without a readable header name, nobody can say.
    unknown = not header.complete and not header.patient
    return _shown(file.path if naming.phi or not unknown else privacy.without_folders(file.path), naming)


def _unread(name: str, naming: Naming) -> str:
    """What to call a file that cannot be had: one that is DICOM by its name as one without a readable header."""
    unknown = dicom.is_dicom(b"", name) and not naming.phi
    return _shown(privacy.without_folders(name) if unknown else name, naming)


def _of_files(names: Sequence[str], make: Callable[[str], files.File], naming: Naming) -> Iterator[Item]:
    """Yield the slices of files that lie together: a DICOM series sorted, at the place of its first file."""
    headers: dict[str, Header] = {}
    series: dict[str, list[str]] = {}
    pictures: set[str] = set()
    for name in names:
        file = make(name)
        head = file.head()
        if dicom.is_dicom(head, name):
            header = _header(file)
            # Known before the first of them is shown: a damaged file may lie in the folder of a patient.
            naming.words.update(header.patient)
            if header.no_picture:
                naming.passed_over[header.no_picture] += 1
                continue
            headers[name] = header
            series.setdefault(header.series or name, []).append(name)
        elif is_picture(name, head):
            pictures.add(name)
    for name in names:
        if name in pictures:
            yield from _of_picture(make(name), naming)
        if name not in headers:
            continue
        for file_name in sorted(series.pop(headers[name].series or name, ()), key=lambda name: headers[name].place):
            yield from _of_dicom(make(file_name), headers[file_name], naming)


def _of_folder(root: Path, naming: Naming) -> Iterator[Item]:
    for folder in folders.walk(root, wanted):
        if folder.error and folder.path == root:
            raise folder.error
        if folder.error:
            why = _why(folder.error)
            yield _unreadable(f"cannot read {folder.path}: {why}", "check the folder", str(folder.path), naming)
        yield from _of_files(folder.files, functools.partial(files.on_disk, folder.path), naming)


def _of_zip(path: Path, naming: Naming) -> Iterator[Item]:
    try:
        with safe_zip.open_zip(path) as archive:
            members = {item.filename: item for item in safe_zip.checked_members(archive) if wanted(item.filename)}
            names = sorted(members, key=natural)
            yield from _of_files(names, lambda name: files.in_zip(archive, members[name], path), naming)
    except UnreadableInputError as error:
        yield _unreadable(error.message, error.hint, str(path), naming)


def wanted(name: str) -> bool:
    """Say whether a file or folder in a folder is looked at: nothing hidden, of the system, or a CD's contents."""
    path = PurePosixPath(name)
    return not is_system_file(path) and path.name.casefold() != _CONTENTS


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip" or files.first_bytes(path).startswith(_ZIP)


def _header(file: files.File) -> Header:
    try:
        return dicom.header(file.get())
    except UnreadableInputError:
        return Header(complete=False)


def _series(header: Header, naming: Naming) -> str:
    if not header.series or naming.phi:
        return header.series
    return naming.series.setdefault(header.series, f"series {len(naming.series) + 1}")


def _shown(path: str, naming: Naming) -> str:
    return path if naming.phi else privacy.hidden(path, naming.words)


def _not_empty(items: Iterator[Item], message: str, name: str, naming: Naming) -> Iterator[Item]:
    before = naming.passed_over.total()
    empty = True
    for item in items:
        empty = False
        yield item
    if empty and naming.passed_over.total() > before:
        yield _unreadable(f"{message}: {passed_over(naming)}", "name the CT slices", name, naming)
    elif empty:
        yield _unreadable(message, "check the path", name, naming)


def _unreadable(message: str, hint: str, name: str, naming: Naming) -> Item:
    """An item whose reading raises UnreadableInputError; `message` may hold the name as typed."""
    shown = _shown(name, naming)
    return Item(shown=shown, source=functools.partial(_refuse, message.replace(name, shown), hint))


def _refuse(message: str, hint: str) -> Picture:
    raise UnreadableInputError(printable(message), hint)


def _why(error: Exception) -> str:
    return (getattr(error, "strerror", None) or "the path cannot be used").lower()


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")
