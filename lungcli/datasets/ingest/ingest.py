"""Writing a data set: each file is read, hashed and grouped, and all are in place or none."""

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import numpy as np

from lungcli.core import paths, versioned
from lungcli.core.errors import LungcliError, UnreadableInputError, UsageError, during
from lungcli.core.names import natural
from lungcli.datasets import groups, manifest, source_splits, split_files, training_slices
from lungcli.datasets.atomic_dir import atomic_directory
from lungcli.datasets.files import Advance, map_in_order
from lungcli.datasets.ingest import dicom_identity, folder_layout, source_files
from lungcli.datasets.ingest.source_files import Content
from lungcli.datasets.manifest import Manifest, Rejected, Slice, Source
from lungcli.datasets.splits import Part
from lungcli.imaging import ood, ood_features, timed_reading
from lungcli.imaging.picture import Picture, printable

SOURCE = "SOURCE.txt"
"""File beside the slices with their origin, licence and citation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """The mask of a slice's lesion: a picture of the slice's size, which `origin` names if it is rejected."""

    content: Content
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingFile:
    """One file to import: its class, its name, and its content or how to get it (called once, in a thread).

    `patient`, a pseudonym, joins slices into one group where the source knows patients; where it does not say who or
    where, a DICOM header does. `part` is that of the split that the source comes with. `origin` names the file if it is
    rejected; `sha256`, if given, is that of the expected content.
    """

    label: str
    filename: str
    content: Content
    patient: str = ""
    institution: str = ""
    mask: Mask | None = None
    part: Part | None = None
    origin: str = ""
    sha256: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _IngestedFile:
    slice: Slice
    thumb: groups.Thumbs
    place: tuple[str, int] | None
    part: Part | None
    rejected_mask: Rejected | None = None
    doubtful: Rejected | None = None


def write_dataset(
    name: str,
    files: Sequence[IncomingFile],
    source: Source,
    *,
    ordered: bool,
    rejected: Sequence[Rejected] = (),
    advance: Advance | None = None,
) -> Manifest:
    """Write the data set `name` from `files` and return its manifest; the folder appears whole or not at all.

    Slices are sorted by class and number-aware file name. `ordered`: file numbers of a class follow the scans, so
    that neighbours may be near-duplicates. A split that comes with the files is kept beside them. Unreadable files are
    added to `rejected`; a slice is kept without a mask that cannot be read or is of another size. What the guard would
    refuse is imported, and listed as `doubtful`, unless the source is of `any_picture`; but a slice whose header names
    another part of the body than the chest is rejected.

    Raises UsageError (name taken, one class left of several), UnreadableInputError (no slice left), LungcliError
    (cannot write).
    """
    target = manifest.require_new(name)
    with atomic_directory(target) as partial:
        guarded = not (source.any_picture or source.synthetic)
        outcomes = list(_ingest_all(partial, files, advance, ordered=ordered, guarded=guarded))
        ingested = [item for item in outcomes if isinstance(item, _IngestedFile)]
        refused = (
            *rejected,
            *(item for item in outcomes if isinstance(item, Rejected)),
            *(item.rejected_mask for item in ingested if item.rejected_mask),
        )
        _require_classes({item.label for item in files}, ingested, refused)
        dataset = manifest.build(
            name,
            _grouped(ingested),
            refused,
            msgspec.structs.replace(source, ordered=ordered),
            tuple(item.doubtful for item in ingested if item.doubtful),
        )
        manifest.save(dataset, partial)
        if split := source_splits.given_split(dataset, [item.part for item in ingested]):
            file = split_files.of_splits(dataset, [split])
            versioned.write(partial / manifest.SPLITS / f"{split_files.GIVEN}.json", file)
        if source.citation:
            paths.atomic_write(partial / SOURCE, source_text(source).encode())
    return dataset


def source_text(source: Source) -> str:
    """Return lines with the origin, licence and citation of a data set."""
    doi = f"DOI: https://doi.org/{source.doi}\n" if source.doi else ""
    return f"{source.about}\nLicence: {source.licence}\n{doi}Cite as: {source.citation}\n"


def safe_filename(name: str) -> str:
    """Return `name` as a file name that every platform takes: at most 200 bytes, what is refused replaced by `_`."""
    plain = unicodedata.normalize("NFC", name).encode("utf-8", "replace").decode("utf-8")
    plain = "".join("_" if letter in '<>:"/\\|?*' or not letter.isprintable() else letter for letter in plain)
    suffix = PurePosixPath(plain).suffix[:16]
    stem = plain.removesuffix(suffix).encode()[: 200 - len(suffix.encode())].decode("utf-8", "ignore")
    return (stem.strip() + suffix).rstrip(" .") or "_"


def _ingest_all(
    into: Path, files: Sequence[IncomingFile], advance: Advance | None, *, ordered: bool, guarded: bool
) -> Iterator[_IngestedFile | Rejected]:
    """Import every file, several at a time, in the order of the data set."""
    items = sorted(files, key=lambda item: (item.label, natural(item.filename), item.filename, item.origin))
    targets = _targets(items)
    folders = {target.parent for target in targets}
    folders |= {_mask_path(target, "").parent for item, target in zip(items, targets, strict=True) if item.mask}
    with paths.os_errors_as(into):
        for folder in folders:
            (into / folder).mkdir(parents=True, exist_ok=True)

    def ingest(item_and_target: tuple[IncomingFile, PurePosixPath]) -> _IngestedFile | Rejected:
        return _ingest_file(into, *item_and_target, ordered=ordered, guarded=guarded)

    return map_in_order(ingest, list(zip(items, targets, strict=True)), advance)


def _ingest_file(
    into: Path, item: IncomingFile, target: PurePosixPath, *, ordered: bool, guarded: bool
) -> _IngestedFile | Rejected:
    shown = printable(item.origin or item.filename)
    try:
        with during(f"while reading {shown}"):
            content = source_files.read_content(item.content, shown)
            picture = timed_reading.read_within(content, shown)
    except UnreadableInputError as error:
        return Rejected(path=shown, reason=error.message.removeprefix(f"cannot read {shown}: "))
    if guarded and picture.region:
        return Rejected(path=shown, reason=ood.named_elsewhere(picture.region))
    sha256 = hashlib.sha256(content).hexdigest()
    if item.sha256 not in ("", sha256):
        raise LungcliError(f"{shown} has changed while it was read", "let nothing write there, and try again")
    with paths.os_errors_as(into / target):
        (into / target).write_bytes(content)
    identity = dicom_identity.of_file(content, item.filename)
    thumb = groups.thumbnail(picture.grey)
    ingested = Slice(
        path=str(target),
        label=item.label,
        sha256=sha256,
        size=picture.size,
        group=0,
        patient=item.patient or identity.patient,
        institution=item.institution or identity.institution,
        signature=training_slices.signature(thumb),
    )
    outcome = _with_mask(into, ingested, item.mask) if item.mask else ingested
    rejected_mask = outcome if isinstance(outcome, Rejected) else None
    return _IngestedFile(
        slice=ingested if isinstance(outcome, Rejected) else outcome,
        thumb=thumb,
        place=groups.sequence_position(item.label, item.filename) if ordered else None,
        part=item.part,
        rejected_mask=rejected_mask,
        doubtful=_doubt(shown, picture) if guarded else None,
    )


def _doubt(shown: str, picture: Picture) -> Rejected | None:
    objection = ood.rejection(picture.region, ood_features.measure(picture))
    return Rejected(path=shown, reason=objection.reason) if objection else None


def _with_mask(into: Path, item: Slice, mask: Mask) -> Slice | Rejected:
    try:
        content = source_files.read_content(mask.content, mask.origin)
        size = timed_reading.read_within(content, mask.origin).size
    except UnreadableInputError as error:
        return Rejected(path=mask.origin, reason=error.message.removeprefix(f"cannot read {mask.origin}: "))
    if size != item.size:
        return Rejected(path=mask.origin, reason=f"a mask of {_pixels(size)} for a slice of {_pixels(item.size)}")
    target = _mask_path(PurePosixPath(item.path), PurePosixPath(mask.origin).suffix)
    with paths.os_errors_as(into / target):
        (into / target).write_bytes(content)
    return msgspec.structs.replace(item, mask=str(target), mask_sha256=hashlib.sha256(content).hexdigest())


def _mask_path(path: PurePosixPath, suffix: str) -> PurePosixPath:
    """Return the path of a slice's mask: `masks/normal/1.jpg.png` is that of `slices/normal/1.jpg`."""
    return PurePosixPath(manifest.MASKS, *path.parts[1:-1], f"{path.name}{safe_filename(suffix) if suffix else ''}")


def _pixels(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]} pixels"


def _targets(items: Sequence[IncomingFile]) -> list[PurePosixPath]:
    """Return a path within the data set for every file, all different even when case is ignored."""
    used: set[str] = set()
    # Scanners give the first slice of every patient the same name: counting from 1 for each would take n² steps.
    numbers: dict[str, int] = {}
    targets = []
    for item in items:
        folder, name = PurePosixPath("slices", safe_filename(item.label)), PurePosixPath(safe_filename(item.filename))
        target, first = folder / name, str(folder / name).casefold()
        number = numbers.get(first, 1)
        while str(target).casefold() in used:
            number += 1
            target = folder / f"{name.stem}-{number}{name.suffix}"
        numbers[first] = number
        used.add(str(target).casefold())
        targets.append(target)
    return targets


def _require_classes(expected: Set[str], ingested: Sequence[_IngestedFile], rejected: Sequence[Rejected]) -> None:
    labels = {item.slice.label for item in ingested}
    why = f"; the first: {rejected[0].path}: {rejected[0].reason}" if rejected else ""
    if not labels:
        raise UnreadableInputError(f"none of its files is a slice{why}", folder_layout.LAYOUTS)
    if len(labels) == 1 < len(expected):
        raise UsageError(f"all readable slices are {labels.pop()!r}{why}", folder_layout.LAYOUTS)


def _grouped(ingested: Sequence[_IngestedFile]) -> tuple[Slice, ...]:
    slices = [item.slice for item in ingested]
    group_numbers = groups.near_duplicate_groups(
        np.stack([item.thumb for item in ingested]),
        [item.sha256 for item in slices],
        [item.place for item in ingested],
        patients=[item.patient for item in slices],
    )
    return tuple(
        msgspec.structs.replace(item, group=int(group)) for item, group in zip(slices, group_numbers, strict=True)
    )
