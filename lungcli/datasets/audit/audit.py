"""The audit of a data set: leakage, shortcuts, label conflicts and other problems."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.core.recipe import Drawn
from lungcli.datasets import groups, manifest, splits, summary
from lungcli.datasets.audit import findings, knn_baseline, shortcuts
from lungcli.datasets.audit.features import SliceFeatures
from lungcli.datasets.audit.findings import SEVERITIES, ClassCount, Crossing, Finding, Pair, Severity
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.datasets.audit.shortcuts import Shortcut, ShortcutTest
from lungcli.datasets.files import Advance
from lungcli.datasets.groups import Thumbs
from lungcli.datasets.manifest import Manifest, Rejected
from lungcli.datasets.splits import Split
from lungcli.metrics.classification import Floats, Ints

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]
LEVELS = (0.98, 0.95, 0.90, 0.85)

_SHORTCUTS = (
    ("size", "picture size"),
    ("aspect", "aspect ratio"),
    ("format", "file format"),
    ("border", "border grey"),
    ("border-thumbnail", "border of an 8×8 thumbnail"),
    ("grey", "grey levels"),
    ("thumbnail", "8×8 thumbnail"),
)


class Grouping(msgspec.Struct, frozen=True, kw_only=True):
    """The effect of a grouping: number and size of groups, and the test slices with near-duplicates in other parts.

    `crossing` has one entry for each of LEVELS; it is empty where the groups cannot be split into three parts.
    """

    name: str
    groups: int
    largest: int
    crossing: tuple[Crossing, ...]


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """The results for the readable slices of one data set, the most severe findings first.

    `copies` are sets of paths with the same content; `conflicts` pair each slice with its nearest neighbour of another
    label, if they are near-duplicates. `institutions` says how well the institution of a slice is told from its
    thumbnail as prepared, None where there is but one.
    """

    name: str
    digest: str
    slices: int
    groups: int
    classes: tuple[ClassCount, ...]
    nearest_neighbour: NearestNeighbour | None
    groupings: tuple[Grouping, ...]
    shortcuts: tuple[Shortcut, ...]
    institutions: ShortcutTest | None = None
    copies: tuple[tuple[str, ...], ...]
    conflicts: tuple[Pair, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """Number of findings of this severity."""
        return sum(item.severity == severity for item in self.findings)

    def class_table(self) -> Table:
        """The headings and the rows of a table of the classes."""
        return ("class", "slices", "share", "near-duplicate groups"), [
            (item.label, str(item.slices), f"{item.slices / self.slices:.1%}", str(item.groups))
            for item in self.classes
        ]

    def grouping_table(self) -> Table:
        """The headings and the rows of a table of the groupings, with the share of test slices that cross."""
        rows = []
        for item in self.groupings:
            crossing = [f"{each.slices / each.n:.0%}" for each in item.crossing] or ["–"] * len(LEVELS)
            rows.append((item.name, str(item.groups), str(item.largest), *crossing))
        return ("grouped by", "groups", "largest", *(f"≥ {level:.2f}" for level in LEVELS)), rows


def audit(
    whole: Manifest, measured: Sequence[SliceFeatures | Rejected], seed: int = 0, advance: Advance | None = None
) -> Audit:
    """Audit a data set from the features of its slices (`features.dataset_features`), in the manifest's order.

    `seed` is that of the split; `advance(done, total)` counts the shortcuts measured. Raises UnreadableInputError when
    no slice can be read.
    """
    features = {i: item for i, item in enumerate(measured) if isinstance(item, SliceFeatures)}
    if not features:
        raise UnreadableInputError(f"no slice of the data set {whole.name!r} can be read", "import the data set again")
    readable = manifest.build(whole.name, tuple(whole.slices[i] for i in features), whole.rejected, whole.source)
    thumbs = np.stack([item.thumb for item in features.values()])
    current, why_not = _split(whole, "grouped", seed)
    as_imported = _GroupingMethod(name="as imported", numbers=_numbers(readable), split=current)
    methods = (*_alternative_groupings(readable, thumbs, seed), as_imported)
    # Indices of the current split are those in the whole data set, which may have unreadable slices.
    tests = [_test_mask(range(len(features)), method.split) for method in methods[:-1]]
    tests.append(_test_mask(tuple(features), current))
    numberings = [np.arange(len(features)), np.array(readable.labels(), dtype=np.int64), *tests]
    nearest, other_label, *other_part = knn_baseline.nearest(thumbs, numberings, _people(readable))
    groupings = tuple(
        _grouping(method, test, correlation)
        for method, test, (_, correlation) in zip(methods, tests, other_part, strict=True)
    )
    copies, conflicts, classes = _copies(readable), _conflicts(readable, *other_label), _class_counts(readable)
    memory = _memory(readable, thumbs)
    measured_shortcuts = measure_shortcuts(readable, tuple(features.values()), advance)
    visible = visible_institutions(readable, tuple(features.values()))
    near = [int((correlation >= findings.NEAR_COPY).sum()) for _, correlation in (nearest, other_label)]
    all_findings = (
        *findings.files(
            [item for item in measured if isinstance(item, Rejected)],
            [whole.slices[i].path for i, item in features.items() if item.changed],
            whole.rejected,
        ),
        *findings.copies(copies, {item.path: item.label for item in readable.slices}),
        *findings.conflicts(conflicts),
        *findings.crossing(groupings[-1].crossing, why_not),
        *findings.leak(memory),
        *findings.near_copies(near[0], near[1], len(features)),
        *findings.mixed_groups(_numbers(readable), [item.label for item in readable.slices]),
        *findings.classes(classes),
        *findings.shortcuts(measured_shortcuts),
        *findings.institutions(summary.institutions(readable), visible),
    )
    return Audit(
        name=whole.name,
        digest=whole.digest,
        slices=len(features),
        groups=groupings[-1].groups,
        classes=classes,
        nearest_neighbour=memory,
        groupings=groupings,
        shortcuts=measured_shortcuts,
        institutions=visible,
        copies=copies,
        conflicts=conflicts,
        findings=tuple(sorted(all_findings, key=lambda item: SEVERITIES.index(item.severity))),
    )


def measure_shortcuts(
    data: Manifest, features: Sequence[SliceFeatures], advance: Advance | None = None
) -> tuple[Shortcut, ...]:
    """Test every shortcut on slices as read and, where that makes a difference, as prepared."""
    labels, groups_ = np.array(data.labels(), dtype=np.int64), np.array(_numbers(data), dtype=np.int64)
    sizes = [item.size for item in features]
    of_file: dict[str, tuple[Floats, Sequence[str]]] = {
        "size": (np.array(sizes, dtype=np.float64), [f"{width}×{height}" for width, height in sizes]),
        "aspect": (np.array([[width / height] for width, height in sizes]), [f"{w / h:.2f}" for w, h in sizes]),
        "format": (shortcuts.one_hot([item.kind for item in features]), [item.kind for item in features]),
    }
    names = [item.label for item in data.slices]

    def measure(name: str, about: str) -> Shortcut:
        if name in of_file:
            numbers, values = of_file[name]
            before = shortcuts.run_test(numbers, labels, groups_, len(data.classes))
            odd = shortcuts.oddity(values, names, _numbers(data))
            return Shortcut(name=name, about=about, of_file=True, before=before, oddity=odd)
        stages = (np.stack([item.before[name] for item in features]), np.stack([item.after[name] for item in features]))
        before, after = (shortcuts.run_test(stage, labels, groups_, len(data.classes)) for stage in stages)
        return Shortcut(name=name, about=about, of_file=False, before=before, after=after)

    measured = []
    for name, about in _SHORTCUTS:
        measured.append(measure(name, about))
        if advance is not None:
            advance(len(measured), len(_SHORTCUTS))
    return tuple(measured)


class _GroupingMethod(msgspec.Struct, frozen=True, kw_only=True):
    """A way of grouping: the group number of each slice, and the split that results, if any."""

    name: str
    numbers: tuple[int, ...]
    split: Split | None


def visible_institutions(data: Manifest, features: Sequence[SliceFeatures]) -> ShortcutTest | None:
    """Test how well institutions are told apart by thumbnails of prepared slices; None where there is but one."""
    where = data.institutions()
    names = sorted(set(where))
    if len(names) < 2:
        return None
    labels = np.array([names.index(name) for name in where], dtype=np.int64)
    thumbnails = np.stack([item.after["thumbnail"] for item in features])
    return shortcuts.run_test(thumbnails, labels, np.array(_numbers(data), dtype=np.int64), len(names))


def _alternative_groupings(data: Manifest, thumbs: Thumbs, seed: int) -> tuple[_GroupingMethod, ...]:
    """No groups, and near-duplicates joined at each of LEVELS; known patients stay together."""
    hashes, patients = [item.sha256 for item in data.slices], [item.patient for item in data.slices]
    random = _GroupingMethod(
        name="random split", numbers=tuple(range(len(data.slices))), split=_split(data, "random", seed)[0]
    )
    groupings = [random]
    for level in LEVELS:
        group_numbers = groups.near_duplicate_groups(
            thumbs, hashes, [None] * len(hashes), near=level, patients=patients
        )
        numbers = tuple(group_numbers.tolist())
        slices = tuple(
            msgspec.structs.replace(item, group=number) for item, number in zip(data.slices, numbers, strict=True)
        )
        regrouped = manifest.build(data.name, slices, (), data.source)
        groupings.append(
            _GroupingMethod(
                name=f"likeness ≥ {level:.2f}", numbers=numbers, split=_split(regrouped, "grouped", seed)[0]
            )
        )
    return tuple(groupings)


def _split(of: Manifest, protocol: Drawn, seed: int) -> tuple[Split | None, str]:
    try:
        return splits.make_split(of, protocol, seed), ""
    except UsageError as error:
        return None, error.message


def _test_mask(places: Sequence[int], divided: Split | None) -> Ints:
    """1 for the slices of the test part, 0 for others: int64 [n]."""
    return np.isin(np.array(places), () if divided is None else divided.test).astype(np.int64)


def _grouping(way: _GroupingMethod, test: Ints, outside: NDArray[np.float32]) -> Grouping:
    """Summarize one grouping, given each slice's highest correlation with the other side of the test part."""
    n = int(test.sum())
    reached = outside[test == 1]
    crossing = tuple(Crossing(level=level, slices=int((reached >= level).sum()), n=n) for level in LEVELS) if n else ()
    sizes = Counter(way.numbers)
    return Grouping(name=way.name, groups=len(sizes), largest=max(sizes.values()), crossing=crossing)


def _copies(data: Manifest) -> tuple[tuple[str, ...], ...]:
    same: defaultdict[str, list[str]] = defaultdict(list)
    for item in data.slices:
        same[item.sha256].append(item.path)
    return tuple(tuple(paths) for paths in same.values() if len(paths) > 1)


def _conflicts(data: Manifest, index: Ints, correlation: NDArray[np.float32]) -> tuple[Pair, ...]:
    """Pair near-duplicates of different labels: every slice with its nearest, each pair once, most similar first."""
    pairs = {(min(i, j), max(i, j)): float(correlation[i]) for i, j in enumerate(index.tolist())}
    alike = sorted((item for item in pairs.items() if item[1] >= groups.NEAR), key=lambda item: -item[1])
    return tuple(
        Pair(
            paths=(data.slices[i].path, data.slices[j].path),
            labels=(data.slices[i].label, data.slices[j].label),
            correlation=value,
        )
        for (i, j), value in alike
    )


def _class_counts(data: Manifest) -> tuple[ClassCount, ...]:
    slices = Counter(item.label for item in data.slices)
    group_counts = Counter(label for label, _ in {(item.label, item.group) for item in data.slices})
    return tuple(ClassCount(label=label, slices=slices[label], groups=group_counts[label]) for label in data.classes)


def _memory(data: Manifest, thumbs: Thumbs) -> NearestNeighbour | None:
    if len(set(_numbers(data))) < 2:
        return None
    return knn_baseline.nearest_neighbour_accuracy(thumbs, data.labels(), _numbers(data))


def _numbers(data: Manifest) -> tuple[int, ...]:
    return tuple(item.group for item in data.slices)


def _people(data: Manifest) -> Ints | None:
    return groups.people_of([item.patient for item in data.slices])
