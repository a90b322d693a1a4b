"""Which class each file of a source belongs to, told from nothing but the paths."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.data.read import DICOM_SUFFIXES

Kind = Literal["iqothnccd", "folders"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".tif", ".tiff", ".bmp", *DICOM_SUFFIXES)
LAYOUTS = "give a folder or .zip with one folder a class, pictures inside, such as benign/, malignant/ and normal/"

# The set's publisher spells it "Bengin cases".
_CLASSES = {"benign": "benign", "bengin": "benign", "malignant": "malignant", "normal": "normal"}
_CASES = re.compile(r"(bengin|benign|malignant|normal) cases?")
_PARTS = {"train", "training", "val", "valid", "validation", "test", "testing"}
_SYSTEM = {"thumbs.db", "desktop.ini", "__macosx"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a file is: its class in `label`, or in `reason` why it is not a slice; the other one is empty."""

    label: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a source is laid out, and the place of each of its files in the order they were given."""

    kind: Kind
    places: tuple[Place, ...]


def lay_out(files: Sequence[PurePosixPath]) -> Layout:
    """Recognise a source by the relative paths of its files.

    Either IQ-OTH/NCCD, at any depth, where other folders are foreign to it; or one folder a class: the uppermost
    level with two or more folders that hold pictures. Folders named train, valid, test and the like are looked
    through, since the program makes its own splits.

    Raises UnreadableInputError where there are no pictures or no class folders, UsageError for a single class.
    """
    pictures = [path for path in files if may_be_picture(path)]
    if not pictures:
        raise UnreadableInputError("there are no pictures in it", LAYOUTS)
    if _is_iqothnccd(pictures):
        return Layout(kind="iqothnccd", places=tuple(_place(path, _case_label(path)) for path in files))
    depth = _class_level(pictures)
    labels = (class_name(path.parts[depth]) if len(path.parts) > depth + 1 else "" for path in files)
    return Layout(kind="folders", places=tuple(_place(*pair) for pair in zip(files, labels, strict=True)))


def class_name(folder: str) -> str:
    """Return the class a folder is named after: `Bengin cases` is `benign`; other names in lower case."""
    plain = folder.strip().casefold()
    spelled = re.sub(r"[\s_-]+cases?$", "", plain)
    return _CLASSES.get(spelled, plain)


def may_be_picture(path: PurePosixPath) -> bool:
    """Say whether a file may be a slice by its name: DICOM files often have no suffix, or a number for one."""
    if any(part.startswith(".") or part.casefold() in _SYSTEM for part in path.parts):
        return False
    suffix = path.suffix.casefold()
    return suffix in SUFFIXES or (not suffix.strip(".0123456789") and any(map(str.isdigit, path.name)))


def _place(path: PurePosixPath, label: str) -> Place:
    if not may_be_picture(path):
        return Place(reason="not a picture")
    return Place(label=label) if label else Place(reason="not in a class folder")


def _is_iqothnccd(pictures: Sequence[PurePosixPath]) -> bool:
    folders = {part.strip().casefold() for path in pictures for part in path.parts[:-1]}
    labels = {class_name(folder) for folder in folders if _CASES.fullmatch(folder)}
    return len(labels) == 3 or ("bengin cases" in folders and len(labels) == 2)


def _case_label(path: PurePosixPath) -> str:
    """Class of the innermost folder that IQ-OTH/NCCD has; empty outside of those."""
    folders = [part for part in path.parts[:-1] if _CASES.fullmatch(part.strip().casefold())]
    return class_name(folders[-1]) if folders else ""


def _class_level(pictures: Sequence[PurePosixPath]) -> int:
    """How many folders lie above the class folders."""
    depth, looked_through = 0, True
    while True:
        folders = {path.parts[depth] for path in pictures if len(path.parts) > depth + 1}
        labels = {class_name(folder) for folder in folders}
        parts = labels <= _PARTS
        if not labels:
            if looked_through:
                raise UnreadableInputError("its pictures are not in class folders", LAYOUTS)
            raise _single_class()
        if len(labels) > 1 and not parts:
            return depth
        if labels <= set(_CLASSES.values()):
            raise _single_class()
        depth, looked_through = depth + 1, parts


def _single_class() -> UsageError:
    return UsageError("a classifier needs at least two classes, and all pictures are in one class folder", LAYOUTS)
