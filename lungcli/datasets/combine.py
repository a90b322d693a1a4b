"""Several data sets as one: classes by name, patients and near-duplicates found across them, an institution a slice."""

import contextlib
import os
import shutil
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import msgspec

from lungcli.core import names, paths
from lungcli.core.errors import UsageError
from lungcli.datasets import group_thresholds, groups, manifest, pseudonyms, training_slices
from lungcli.datasets.atomic_dir import atomic_directory
from lungcli.datasets.files import Advance
from lungcli.datasets.ingest import folder_layout, ingest
from lungcli.datasets.manifest import Manifest, Rejected, Slice, Source


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """One slice of one of the data sets: as it is there, and as it will be in the combined one."""

    data: Manifest
    original: Slice
    slice: Slice

    @property
    def file(self) -> Path:
        """The slice's file."""
        return manifest.folder(self.data.name) / self.original.path

    @property
    def group(self) -> str:
        """Name of its group in its own data set."""
        return f"{self.data.name}/{self.original.group}"


def combine(
    sources: Sequence[str], name: str, class_map: Mapping[str, str] | None = None, advance: Advance | None = None
) -> Manifest:
    """Make the data set `name` of several others, the same whatever their order, and return its manifest.

    `class_map` renames classes; slices of a class that is renamed to nothing are left out. The institution of a slice
    whose source does not say is its data set. Groups of a data set stay together, and near-duplicates, copies and
    patients of several are joined. Of copies in several data sets, that of the first by name is kept. Files are hard
    links where the file system has them: they take no space, and the other data sets may be moved or removed.

    Raises UsageError (fewer than two data sets, an unknown one, a class that none has, name taken, copies of different
    classes), UnreadableInputError (a slice that cannot be read), LungcliError (cannot write).
    """
    target = manifest.require_new(name)
    datasets = _loaded(sources)
    members = _members(datasets, _checked_map(class_map or {}, datasets))
    _require_agreement(members)
    kept, rejected = _without_copies(_grouped(members, advance))
    with atomic_directory(target) as partial:
        for member in kept:
            _place_files(member, partial)
        slices = _numbered([member.slice for member in kept])
        combined = manifest.build(name, slices, rejected, _source(datasets), _doubtful(datasets))
        manifest.save(combined, partial)
        if combined.source.citation:
            paths.atomic_write(partial / ingest.SOURCE, ingest.source_text(combined.source).encode())
    return combined


def combined_name(sources: Sequence[str], advance: Advance | None = None) -> str:
    """Return the name of the data set that combines several, `A+B`; it is made where there is none yet.

    Raises as `combine` does, and UsageError where one of that name combines other data.
    """
    datasets = _loaded(sources)
    name = "+".join(data.name for data in datasets)
    if name not in manifest.existing():
        return combine(sources, name, advance=advance).name
    if manifest.load(name).source.members != _members_of(datasets):
        raise UsageError(
            f"the data set {name!r} combines other data than there is now under these names",
            f"lungcli data remove '{name}', and run this again",
        )
    return name


def _loaded(sources: Sequence[str]) -> list[Manifest]:
    """Return the manifests of two or more data sets, by name. Raises UsageError."""
    datasets = sorted((manifest.load(source) for source in sources), key=lambda data: names.natural(data.name))
    (most_named, count), *_ = Counter(data.name for data in datasets).most_common(1)
    if count > 1:
        raise UsageError(f"the data set {most_named!r} is named twice", "name each once")
    if len(datasets) < 2:
        raise UsageError("combining takes two data sets or more", "lungcli data combine A B --name AB")
    return datasets


def _members_of(datasets: Sequence[Manifest]) -> tuple[tuple[str, str], ...]:
    return tuple((data.name, data.digest) for data in datasets)


def shared_patients(data: Manifest) -> int:
    """Count the patients who are named in several institutions: one person, or one number given twice."""
    institutions: defaultdict[str, set[str]] = defaultdict(set)
    for item, institution in zip(data.slices, data.institutions(), strict=True):
        institutions[item.patient].add(institution)
    return sum(bool(patient) and len(places) > 1 for patient, places in institutions.items())


def _checked_map(class_map: Mapping[str, str], datasets: Sequence[Manifest]) -> dict[str, str]:
    """Return the map with every class spelled as the data sets do. Raises UsageError for a class that none has."""
    classes = {label: label for data in datasets for label in data.classes}
    return {
        names.find(label, classes, "class", "these are the classes of the data sets"): folder_layout.class_name(renamed)
        for label, renamed in class_map.items()
    }


def _members(datasets: Sequence[Manifest], class_map: Mapping[str, str]) -> list[_Member]:
    """Return the slices of all data sets, sorted by class, data set and path."""
    members = [
        _Member(data=data, original=item, slice=_renamed(item, data, institution, label))
        for data in datasets
        for item, institution in zip(data.slices, data.institutions(), strict=True)
        if (label := class_map.get(item.label, item.label))
    ]
    if not members:
        raise UsageError("no slice is left", "leave fewer classes out with --map")
    return sorted(members, key=lambda member: (member.slice.label, names.natural(member.slice.path), member.slice.path))


def _renamed(item: Slice, data: Manifest, institution: str, label: str) -> Slice:
    return msgspec.structs.replace(
        item,
        path=_within(item.path, data.name),
        label=label,
        # Earlier versions wrote what the source's table said.
        patient=pseudonyms.pseudonym(item.patient),
        institution=institution,
        mask=_within(item.mask, data.name) if item.mask else None,
    )


def _within(path: str, name: str) -> str:
    """Return the path of a file of the data set `name`: `slices/a/1.png` becomes `slices/name/a/1.png`."""
    folder, *rest = PurePosixPath(path).parts
    return str(PurePosixPath(folder, name, *rest))


def _require_agreement(members: Sequence[_Member]) -> None:
    """Raise UsageError where two data sets have the same picture in different classes."""
    first: dict[str, _Member] = {}
    for member in members:
        other = first.setdefault(member.slice.sha256, member)
        if other.data is not member.data and other.slice.label != member.slice.label:
            raise UsageError(
                f"the same slice is {other.slice.label} in {other.data.name!r} ({other.original.path}) "
                f"and {member.slice.label} in {member.data.name!r} ({member.original.path})",
                "where two words mean one class, rename one: lungcli data combine A B --name AB --map OLD=NEW; "
                "else correct a data set, or leave one out",
            )


def _grouped(members: Sequence[_Member], advance: Advance | None) -> list[_Member]:
    """Group all slices: those of one group of their data set, near-duplicates, copies and patients of several."""
    thumbs = group_thresholds.thumbnails_of([member.file for member in members], advance)
    numbers = groups.near_duplicate_groups(
        thumbs,
        [member.slice.sha256 for member in members],
        [None] * len(members),
        patients=[member.slice.patient for member in members],
        joined=[member.group for member in members],
    )
    return [
        replace(
            member,
            slice=msgspec.structs.replace(
                member.slice,
                group=int(number),
                # Earlier versions made none.
                signature=member.slice.signature or training_slices.signature(thumb),
            ),
        )
        for member, number, thumb in zip(members, numbers, thumbs, strict=True)
    ]


def _without_copies(members: Sequence[_Member]) -> tuple[list[_Member], tuple[Rejected, ...]]:
    """Return one of copies in several data sets, and those left out."""
    first: dict[str, _Member] = {}
    kept, rejected = [], []
    for member in members:
        other = first.setdefault(member.slice.sha256, member)
        if other.data is member.data:
            kept.append(member)
        else:
            shown = f"{member.data.name}/{member.original.path}"
            reason = f"the same picture as {other.data.name}/{other.original.path}"
            rejected.append(Rejected(path=shown, reason=reason))
    return kept, tuple(rejected)


def _numbered(slices: Sequence[Slice]) -> tuple[Slice, ...]:
    """Number groups from 0 in order of their first slices, now that some are gone."""
    numbers: dict[int, int] = {}
    return tuple(msgspec.structs.replace(item, group=numbers.setdefault(item.group, len(numbers))) for item in slices)


def _place_files(member: _Member, into: Path) -> None:
    """Link the files of a slice to their places, or copy them where the file system has no hard links."""
    folder = manifest.folder(member.data.name)
    pairs = ((member.original.path, member.slice.path), (member.original.mask, member.slice.mask))
    for original, path in pairs:
        if original is None or path is None:
            continue
        with paths.os_errors_as(into / path):
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                os.link(folder / original, into / path)
                continue
            shutil.copyfile(folder / original, into / path)


def _doubtful(datasets: Sequence[Manifest]) -> tuple[Rejected, ...]:
    return tuple(
        Rejected(path=f"{data.name}: {item.path}", reason=item.reason) for data in datasets for item in data.doubtful
    )


def _source(datasets: Sequence[Manifest]) -> Source:
    sources = [data.source for data in datasets]
    return Source(
        about=f"combined: {', '.join(data.name for data in datasets)}",
        synthetic=any(source.synthetic for source in sources),
        any_picture=any(source.any_picture for source in sources),
        licence="; ".join(dict.fromkeys(source.licence for source in sources)),
        citation="; ".join(dict.fromkeys(source.citation for source in sources if source.citation)),
        members=_members_of(datasets),
    )
