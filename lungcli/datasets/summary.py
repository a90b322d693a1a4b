"""The counts of a data set."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from lungcli.core import registry
from lungcli.core.names import natural
from lungcli.datasets import groups
from lungcli.datasets.ingest import published_hashes
from lungcli.datasets.manifest import Manifest, Rejected, Slice, Source


class InstitutionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one institution: slices of each class it has, groups, and patients that the source names."""

    name: str
    classes: dict[str, int]
    groups: int
    patients: int


class DatasetSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one data set: slices of each class; `mixed_groups` have slices of several classes.

    `known` of the `published` slices of a published set are there; both are 0 for other data. `patients` are those that
    the source names, `masks` the slices with a lesion mask.
    """

    name: str
    digest: str
    source: Source
    known: int
    published: int
    slices: int
    classes: dict[str, int]
    groups: int
    largest_group: int
    mixed_groups: int
    exact_copies: int
    patients: int
    masks: int
    institutions: tuple[InstitutionSummary, ...]
    rejected: tuple[Rejected, ...]
    doubtful: tuple[Rejected, ...]


def summarize(manifest: Manifest) -> DatasetSummary:
    """Count a data set."""
    row = registry.DATA_SETS.get(manifest.source.data_set)
    members = groups.members_by_group([item.group for item in manifest.slices]).values()
    return DatasetSummary(
        name=manifest.name,
        digest=manifest.digest,
        source=manifest.source,
        known=published_hashes.count_published(row, manifest.slices) if row else 0,
        published=row.slices if row else 0,
        slices=len(manifest.slices),
        classes={label: sum(item.label == label for item in manifest.slices) for label in manifest.classes},
        groups=len(members),
        largest_group=max(map(len, members), default=0),
        mixed_groups=sum(len({manifest.slices[i].label for i in slices}) > 1 for slices in members),
        exact_copies=len(manifest.slices) - len({item.sha256 for item in manifest.slices}),
        patients=_patients(manifest.slices),
        masks=sum(item.mask is not None for item in manifest.slices),
        institutions=institutions(manifest),
        rejected=manifest.rejected,
        doubtful=manifest.doubtful,
    )


def institutions(manifest: Manifest) -> tuple[InstitutionSummary, ...]:
    """Count the slices of each institution, by name."""
    slices: defaultdict[str, list[Slice]] = defaultdict(list)
    for item, name in zip(manifest.slices, manifest.institutions(), strict=True):
        slices[name].append(item)
    return tuple(
        InstitutionSummary(
            name=name,
            classes=dict(sorted(Counter(item.label for item in own).items())),
            groups=len({item.group for item in own}),
            patients=_patients(own),
        )
        for name, own in sorted(slices.items(), key=lambda pair: natural(pair[0]))
    )


def one_class(counted: Sequence[InstitutionSummary]) -> tuple[InstitutionSummary, ...]:
    """Return the institutions whose slices are all of one class, of several: where a slice is from tells its class."""
    return tuple(item for item in counted if len(item.classes) == 1) if len(counted) > 1 else ()


def groups_by_class(manifest: Manifest) -> dict[str, int]:
    """Count the near-duplicate groups that each class has slices in."""
    return {label: len({item.group for item in manifest.slices if item.label == label}) for label in manifest.classes}


def _patients(slices: Iterable[Slice]) -> int:
    return len({item.patient for item in slices if item.patient})
