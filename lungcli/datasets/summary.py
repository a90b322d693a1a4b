"""The counts of a data set."""

import msgspec

from lungcli.core import registry
from lungcli.datasets import groups
from lungcli.datasets.ingest import published_hashes
from lungcli.datasets.manifest import Manifest, Rejected, Source


class DatasetSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of one data set: slices of each class; `mixed_groups` have slices of several classes.

    `known` of the `published` slices of a published set are there; both are 0 for other data.
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
    rejected: tuple[Rejected, ...]


def summarize(manifest: Manifest) -> DatasetSummary:
    """Count a data set."""
    row = registry.DATA_SETS.get(manifest.source.data_set)
    numbers = [item.group for item in manifest.slices]
    members = groups.members_by_group(numbers)
    return DatasetSummary(
        name=manifest.name,
        digest=manifest.digest,
        source=manifest.source,
        known=published_hashes.count_published(row, manifest.slices) if row else 0,
        published=row.slices if row else 0,
        slices=len(manifest.slices),
        classes={label: sum(item.label == label for item in manifest.slices) for label in manifest.classes},
        groups=len(members),
        largest_group=max(map(len, members.values()), default=0),
        mixed_groups=groups.count_mixed(numbers, manifest.labels()),
        exact_copies=groups.count_exact_copies([item.sha256 for item in manifest.slices]),
        rejected=manifest.rejected,
    )


def groups_by_class(manifest: Manifest) -> dict[str, int]:
    """Count the near-duplicate groups that each class has slices in."""
    return {label: len({item.group for item in manifest.slices if item.label == label}) for label in manifest.classes}
