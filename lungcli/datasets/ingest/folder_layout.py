"""The class of each file of a source, from its path alone."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.core.registry import DATA_SETS, DataSet
from lungcli.datasets.ingest.folders import may_be_picture
from lungcli.datasets.splits import Part

LAYOUTS = (
    "give a folder or .zip with one folder a class, pictures inside, such as benign/, malignant/ and normal/; "
    "or name a table of classes: --labels FILE"
)

# IQ-OTH/NCCD is published with "Bengin cases".
_CLASSES = {"benign": "benign", "bengin": "benign", "malignant": "malignant", "normal": "normal"}
_PARTS: dict[str, Part] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRole:
    """The class of a file in `label`, or in `reason` why it is not a slice; the other one is empty.

    `part` is that of the split that the source comes with, none where it has none.
    """

    label: str = ""
    reason: str = ""
    part: Part | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The role of each file of a source, in order, and the published set with the same folders, if any."""

    data_set: DataSet | None
    roles: tuple[FileRole, ...]


def recognize_layout(files: Sequence[PurePosixPath], data_set: DataSet | None = None) -> Layout:
    """Recognize the layout of a source from the relative paths of its files, or use that of `data_set`.

    Either a published set, at any depth, where other folders are left out; or one folder per class: the uppermost
    level with two or more folders that hold pictures, or with one that is named benign, malignant or normal. Folders
    named train, valid, test and the like are no classes, but the source's own split.

    Raises UnreadableInputError where there are no pictures or no class folders, UsageError for a single unknown class.
    """
    pictures = [path for path in files if may_be_picture(path)]
    if not pictures:
        raise UnreadableInputError("there are no pictures in it", LAYOUTS)
    if row := data_set or _recognised(pictures):
        return Layout(data_set=row, roles=tuple(_place(path, published_label(row, path)) for path in files))
    depth = _class_level(pictures)
    labels = (class_name(path.parts[depth]) if len(path.parts) > depth + 1 else "" for path in files)
    return Layout(data_set=None, roles=tuple(_place(*pair) for pair in zip(files, labels, strict=True)))


def class_name(folder: str) -> str:
    """Return the class a folder is named after: `Bengin cases` is `benign`; other names in lower case.

    The same letters in another Unicode form are the same class: macOS writes ö as o and a mark.
    """
    plain = unicodedata.normalize("NFC", folder).strip().casefold()
    spelled = re.sub(r"(?<![\s_-])[\s_-]+cases?$", "", plain)
    return _CLASSES.get(spelled, plain)


def published_label(row: DataSet, path: PurePosixPath) -> str:
    """Class of the innermost folder of the published set; empty outside its folders."""
    for folder in reversed(path.parts[:-1]):
        for pattern, label in row.folders:
            if re.fullmatch(pattern, folder.strip().casefold()):
                return label
    return ""


def _place(path: PurePosixPath, label: str) -> FileRole:
    if not may_be_picture(path):
        return FileRole(reason="not a picture")
    return FileRole(label=label, part=part_of(path)) if label else FileRole(reason="not in a class folder")


def part_of(path: PurePosixPath) -> Part | None:
    """Part of a split that a folder of a file's path is named after, the uppermost of several; none where none is."""
    return next((part for folder in path.parts[:-1] if (part := part_called(folder))), None)


def part_called(name: str) -> Part | None:
    """Part of a split that a word means: `valid` is `val`; none where it means none."""
    return _PARTS.get(name.strip().casefold())


def _recognised(pictures: Sequence[PurePosixPath]) -> DataSet | None:
    """Recognize a published set by its folders: all of them, or its characteristic one and another class."""
    folders = {part.strip().casefold() for path in pictures for part in path.parts[:-1]}
    for row in (row for row in DATA_SETS.values() if row.folders):
        labels = [label for pattern, label in row.folders if any(re.fullmatch(pattern, folder) for folder in folders)]
        if len(labels) == len(row.folders) or (row.distinctive_folder in folders and len(set(labels)) > 1):
            return row
    return None


def _class_level(pictures: Sequence[PurePosixPath]) -> int:
    """Number of folder levels above the class folders."""
    depth, looked_through = 0, True
    while True:
        folders = {path.parts[depth] for path in pictures if len(path.parts) > depth + 1}
        labels = {class_name(folder) for folder in folders}
        parts = labels <= set(_PARTS)
        if not labels:
            if looked_through:
                raise UnreadableInputError("its pictures are not in class folders", LAYOUTS)
            raise _unnamed_class()
        if (len(labels) > 1 and not parts) or labels <= set(_CLASSES.values()):
            return depth
        depth, looked_through = depth + 1, parts


def _unnamed_class() -> UsageError:
    return UsageError(
        "all pictures are in one folder, which is not named after a class",
        f"{LAYOUTS}; for one class alone, call it benign, malignant or normal",
    )
