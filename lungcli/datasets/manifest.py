"""A data set on disk: a folder with `slices/`, `masks/` and a `manifest.json` that says what each file is."""

import hashlib
import os
import re
import secrets
import shutil
from pathlib import Path

import msgspec

from lungcli.core import names, paths, runs, versioned
from lungcli.core.errors import LungcliError, UnreadableInputError, UsageError
from lungcli.core.runs import Run
from lungcli.datasets import atomic_dir

FORMAT_VERSION = 1
FILE = "manifest.json"
FOLDER = "slices"
MASKS = "masks"
SPLITS = "splits"

_MAKE_ONE = "make one with `lungcli data phantom` or `lungcli data import PATH`"
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SIGNATURE = re.compile(r"([0-9a-f]{32})?")


class Slice(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One axial CT image. `path` is relative to the data set's folder, `size` is (width, height) in pixels.

    `group` is the number of its near-duplicate group, which a split keeps together. `patient` is a pseudonym (see
    `pseudonyms`), `institution` where and by what scanner it was taken; both are empty where the source does not say.
    `mask` is the path of a picture of its size that marks the lesion, not 0 inside, relative to the data set's folder.
    `signature` recognises copies (see `training_slices`), empty where an earlier version imported the slice.
    """

    path: str
    label: str
    sha256: str
    size: tuple[int, int]
    group: int
    patient: str = ""
    institution: str = ""
    mask: str | None = None
    mask_sha256: str = ""
    signature: str = ""


class Rejected(msgspec.Struct, frozen=True, kw_only=True):
    """A file of the source that was left out of the data set, and why. `path` is relative to the source."""

    path: str
    reason: str


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a data set comes from and under what licence.

    `synthetic` slices were drawn by the program; with `any_picture` they need not be axial slices of the lungs. In an
    `ordered` source file numbers follow the scans. `data_set` is its name among the published ones
    (`registry.DATA_SETS`), empty for all others; `members` are name and digest of each data set that it combines.
    """

    about: str
    synthetic: bool = False
    any_picture: bool = False
    ordered: bool = False
    licence: str = "unknown"
    citation: str = ""
    doi: str = ""
    data_set: str = ""
    members: tuple[tuple[str, str], ...] = ()


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """The slices of one data set in file order, its classes in alphabetical order, and its `digest`.

    `doubtful` are slices that the guard takes for no axial slices of the lungs. The digest covers path, label, content,
    group, institution and mask of every slice: whatever decides a split or a training.
    """

    format_version: int = FORMAT_VERSION
    name: str
    classes: tuple[str, ...]
    slices: tuple[Slice, ...]
    rejected: tuple[Rejected, ...]
    source: Source
    digest: str
    doubtful: tuple[Rejected, ...] = ()

    def labels(self) -> tuple[int, ...]:
        """Class index of every slice."""
        index = {label: i for i, label in enumerate(self.classes)}
        return tuple(index[item.label] for item in self.slices)

    def institutions(self) -> tuple[str, ...]:
        """Institution of every slice; the data set's name where its source does not say."""
        return tuple(item.institution or self.name for item in self.slices)


_FORMAT = versioned.Format(
    kind="manifest",
    version=FORMAT_VERSION,
    content=Manifest,
    error=UnreadableInputError,
    most_bytes=versioned.MOST_LARGE,
)


def build(
    name: str,
    slices: tuple[Slice, ...],
    rejected: tuple[Rejected, ...],
    source: Source,
    doubtful: tuple[Rejected, ...] = (),
) -> Manifest:
    """Build a manifest; its classes and digest are computed from the slices."""
    return Manifest(
        name=name,
        classes=tuple(sorted({item.label for item in slices})),
        slices=slices,
        rejected=rejected,
        source=source,
        digest=digest(slices),
        doubtful=doubtful,
    )


def digest(slices: tuple[Slice, ...]) -> str:
    """Return a sha256 over path, label, content and group of the slices, in order, their institutions and masks.

    Institutions count by number, in order of their first slices: their names may be pseudonyms of one machine.
    """
    state = hashlib.sha256()
    numbers: dict[str, int] = {}
    for item in slices:
        state.update(msgspec.json.encode((item.path, item.label, item.sha256, item.group)))
        # Data sets of one institution without masks have the digest that they had before there were any.
        if number := numbers.setdefault(item.institution, len(numbers)):
            state.update(msgspec.json.encode(number))
        if item.mask:
            state.update(msgspec.json.encode((item.mask, item.mask_sha256)))
    return state.hexdigest()


def folder(name: str) -> Path:
    """Folder of the data set called `name`, whether or not it exists."""
    return paths.data_home() / names.checked(name, "data set")


def existing() -> dict[str, Path]:
    """Folders of the complete data sets on this machine, by name."""
    root = paths.data_home()
    if not root.is_dir():
        return {}
    return {
        item.name: item
        for item in sorted(root.iterdir())
        if not item.name.startswith(".") and os.path.lexists(item / FILE)
    }


def readable() -> tuple[list[Manifest], list[LungcliError]]:
    """Read every manifest; return them, and an error for each that cannot be read."""
    manifests: list[Manifest] = []
    problems: list[LungcliError] = []
    for folder in existing().values():
        try:
            manifests.append(read(folder / FILE))
        except LungcliError as error:
            problems.append(error)
    return manifests, problems


def save(manifest: Manifest, into: Path) -> None:
    """Write `manifest.json` into the folder `into`, atomically."""
    versioned.write(into / FILE, manifest)


def load(name: str) -> Manifest:
    """Read the manifest of the data set that `name` means.

    Raises UsageError when there is none, UnreadableInputError when it is damaged or of a newer lungcli.
    """
    return read(find(name) / FILE)


def read(path: Path) -> Manifest:
    """Read one manifest file. Raises UnreadableInputError."""
    hint = f"make it anew; before that: lungcli data remove '{path.parent.name}'"
    manifest = _FORMAT.read(path, hint)
    if damage := _damage(manifest):
        raise UnreadableInputError(f"the manifest {path} is damaged: {damage}", hint)
    return manifest


def _damage(manifest: Manifest) -> str:
    """Return why a manifest cannot have been written by lungcli (it may be hostile); empty when it can."""
    if not _DIGEST.fullmatch(manifest.digest):
        return "its digest is none"
    classes = frozenset(manifest.classes)
    if len(classes) < len(manifest.classes):
        return "it names a class twice"
    for item in manifest.slices:
        if item.label not in classes:
            return f"{item.path!r} is of a class that it does not name"
        if not _SIGNATURE.fullmatch(item.signature):
            return f"{item.path!r} has a signature that is none"
        for path, folder in ((item.path, FOLDER), (item.mask, MASKS)):
            if path is not None and not _lies_in(path, folder):
                return f"the path {path!r} does not lie in its folder {folder!r}"
    return ""


def _lies_in(path: str, folder: str) -> bool:
    parts = path.split("/")
    return parts[0] == folder and ".." not in parts and path.isprintable() and "\\" not in path


def find(name: str) -> Path:
    """Return the folder of the data set that `name` means. Raises UsageError when there is none."""
    return names.find(name, existing(), "data set", _MAKE_ONE)


def only() -> str:
    """Return the name of the only data set on this machine. Raises UsageError where there are none or several."""
    known = [*existing()]
    if len(known) != 1:
        why = f"there are several: {', '.join(known)}" if known else "there is none on this machine yet"
        raise UsageError(f"no data set is named with --data, and {why}", "add --data NAME" if known else _MAKE_ONE)
    return known[0]


def remove(name: str) -> None:
    """Delete the data set called `name`. Raises UsageError when there is none, and while a run reads it."""
    target = find(name)
    if reader := next((run.name for run in runs.readable()[0] if _reads(run, target.name)), ""):
        raise UsageError(f"the run {reader!r} reads the data set {target.name!r}", "stop it first, or wait for it")
    with atomic_dir.exclusive_lock(
        target.parent, target.name, f"another process works on the data set {target.name!r}"
    ):
        # Renamed first: if this is interrupted, the rest is no data set any more, and the next call deletes it.
        doomed = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
        with paths.os_errors_as(target):
            target.rename(doomed)
            shutil.rmtree(doomed)
        atomic_dir.remove_partial(target.parent)


def _reads(run: Run, name: str) -> bool:
    return names.spelling(run.recipe.data) == names.spelling(name) and runs.state(run) == "running"


def require_new(name: str) -> Path:
    """Return the folder for a new data set called `name`. Raises UsageError when it is taken."""
    target = folder(name)
    if target.exists():
        raise UsageError(
            f"there is a data set {name!r} already",
            "choose another --name, or remove it: lungcli data remove NAME",
        )
    return target
