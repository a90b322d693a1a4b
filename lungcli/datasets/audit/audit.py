"""The audit of a data set: what in it would flatter a classifier, or mislead it."""

from collections import Counter, defaultdict
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.datasets import groups, manifest, splits
from lungcli.datasets.audit import findings, knn_baseline, shortcuts
from lungcli.datasets.audit.features import Advance, SliceFeatures
from lungcli.datasets.audit.findings import SEVERITIES, ClassCount, Crossing, Finding, Pair, Severity
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.datasets.audit.shortcuts import Shortcut
from lungcli.datasets.groups import Thumbs
from lungcli.datasets.manifest import Manifest, Rejected
from lungcli.datasets.splits import Split
from lungcli.metrics.classification import Floats, Ints

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
    """What a way of grouping does: number and size of its groups, and the test slices whose look-alikes it lets cross.

    `crossing` has one entry for each of LEVELS; it is empty where the groups can't be divided into three parts.
    """

    name: str
    groups: int
    largest: int
    crossing: tuple[Crossing, ...]


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """Everything found out about the readable slices of one data set, the worst findings first.

    `copies` are sets of paths with the same content; `conflicts` pair each slice with the most alike one of another
    label, if they look alike at all.
    """

    name: str
    digest: str
    slices: int
    groups: int
    classes: tuple[ClassCount, ...]
    nearest_neighbour: NearestNeighbour | None
    groupings: tuple[Grouping, ...]
    shortcuts: tuple[Shortcut, ...]
    copies: tuple[tuple[str, ...], ...]
    conflicts: tuple[Pair, ...]
    findings: tuple[Finding, ...]

    def count(self, severity: Severity) -> int:
        """How many findings have this severity."""
        return sum(item.severity == severity for item in self.findings)


def audit(
    whole: Manifest, looks: Sequence[SliceFeatures | Rejected], seed: int = 0, advance: Advance | None = None
) -> Audit:
    """Judge a data set by what `looks.look_at_all` saw of its slices, in the manifest's order.

    `seed` is that of the split; `advance(done, total)` counts the shortcuts tried. Raises UnreadableInputError when
    no slice can be read.
    """
    seen = {i: item for i, item in enumerate(looks) if isinstance(item, SliceFeatures)}
    if not seen:
        raise UnreadableInputError(f"no slice of the data set {whole.name!r} can be read", "import the data set again")
    kept = manifest.build(whole.name, tuple(whole.slices[i] for i in seen), whole.rejected, whole.source)
    thumbs = np.stack([item.thumb for item in seen.values()])
    current, why_not = _split(whole, "grouped", seed)
    ways = (
        *_alternative_groupings(kept, thumbs, seed),
        _GroupingMethod(name="as imported", numbers=_numbers(kept), split=current),
    )
    # Of the current split the places are those in the whole data set, which may have slices that can't be read.
    tests = [_test_mask(range(len(seen)), way.split) for way in ways[:-1]] + [_test_mask(tuple(seen), current)]
    own = np.arange(len(seen))
    anyone, others, *outside = knn_baseline.nearest(thumbs, [own, np.array(kept.labels(), dtype=np.int64), *tests])
    groupings = tuple(
        _grouping(way, test, correlation) for way, test, (_, correlation) in zip(ways, tests, outside, strict=True)
    )
    copies, conflicts, classes = _copies(kept), _conflicts(kept, *others), _class_counts(kept)
    memory = _memory(kept, thumbs)
    tried = measure_shortcuts(kept, tuple(seen.values()), advance)
    near = [int((correlation >= findings.NEAR_COPY).sum()) for _, correlation in (anyone, others)]
    found = (
        *findings.files(
            [item for item in looks if isinstance(item, Rejected)],
            [whole.slices[i].path for i, item in seen.items() if item.changed],
            whole.rejected,
        ),
        *findings.copies(copies, {item.path: item.label for item in kept.slices}),
        *findings.conflicts(conflicts),
        *findings.crossing(groupings[-1].crossing, why_not),
        *findings.leak(memory),
        *findings.near_copies(near[0], near[1], len(seen)),
        *findings.mixed_groups(_numbers(kept), [item.label for item in kept.slices]),
        *findings.classes(classes),
        *findings.shortcuts(tried),
    )
    return Audit(
        name=whole.name,
        digest=whole.digest,
        slices=len(seen),
        groups=groupings[-1].groups,
        classes=classes,
        nearest_neighbour=memory,
        groupings=groupings,
        shortcuts=tried,
        copies=copies,
        conflicts=conflicts,
        findings=tuple(sorted(found, key=lambda item: SEVERITIES.index(item.severity))),
    )


def measure_shortcuts(
    kept: Manifest, looks: Sequence[SliceFeatures], advance: Advance | None = None
) -> tuple[Shortcut, ...]:
    """Try every shortcut on slices as read and, where that makes a difference, as prepared."""
    labels, groups_ = np.array(kept.labels(), dtype=np.int64), np.array(_numbers(kept), dtype=np.int64)
    sizes = [item.size for item in looks]
    of_file: dict[str, tuple[Floats, Sequence[str]]] = {
        "size": (np.array(sizes, dtype=np.float64), [f"{width}×{height}" for width, height in sizes]),
        "aspect": (np.array([[width / height] for width, height in sizes]), [f"{w / h:.2f}" for w, h in sizes]),
        "format": (shortcuts.one_hot([item.kind for item in looks]), [item.kind for item in looks]),
    }
    names = [item.label for item in kept.slices]

    def tried(name: str, about: str) -> Shortcut:
        if name in of_file:
            numbers, values = of_file[name]
            before = shortcuts.run_test(numbers, labels, groups_, len(kept.classes))
            odd = shortcuts.oddity(values, names, _numbers(kept))
            return Shortcut(name=name, about=about, of_file=True, before=before, oddity=odd)
        stages = (np.stack([item.before[name] for item in looks]), np.stack([item.after[name] for item in looks]))
        before, after = (shortcuts.run_test(stage, labels, groups_, len(kept.classes)) for stage in stages)
        return Shortcut(name=name, about=about, of_file=False, before=before, after=after)

    found = []
    for name, about in _SHORTCUTS:
        found.append(tried(name, about))
        if advance is not None:
            advance(len(found), len(_SHORTCUTS))
    return tuple(found)


class _GroupingMethod(msgspec.Struct, frozen=True, kw_only=True):
    """A way of grouping: a group number for each slice, and the split it leads to, if any."""

    name: str
    numbers: tuple[int, ...]
    split: Split | None


def _alternative_groupings(kept: Manifest, thumbs: Thumbs, seed: int) -> tuple[_GroupingMethod, ...]:
    """Every slice by itself, and look-alikes joined at each of LEVELS; patients stay together where they are known."""
    hashes, patients = [item.sha256 for item in kept.slices], [item.patient for item in kept.slices]
    alone = _GroupingMethod(
        name="random split", numbers=tuple(range(len(kept.slices))), split=_split(kept, "random", seed)[0]
    )
    ways = [alone]
    for level in LEVELS:
        found = groups.near_duplicate_groups(thumbs, hashes, [None] * len(hashes), near=level, patients=patients)
        numbers = tuple(found.tolist())
        slices = tuple(
            msgspec.structs.replace(item, group=number) for item, number in zip(kept.slices, numbers, strict=True)
        )
        regrouped = manifest.build(kept.name, slices, (), kept.source)
        ways.append(
            _GroupingMethod(
                name=f"likeness ≥ {level:.2f}", numbers=numbers, split=_split(regrouped, "grouped", seed)[0]
            )
        )
    return tuple(ways)


def _split(of: Manifest, protocol: splits.Protocol, seed: int) -> tuple[Split | None, str]:
    """The split, or why there is none."""
    try:
        return splits.split(of, protocol, seed), ""
    except UsageError as error:
        return None, error.message


def _test_mask(places: Sequence[int], divided: Split | None) -> Ints:
    """1 for the slices of the test part, 0 for others: int64 [n]."""
    return np.isin(np.array(places), () if divided is None else divided.test).astype(np.int64)


def _grouping(way: _GroupingMethod, test: Ints, outside: NDArray[np.float32]) -> Grouping:
    """Sum up one way, given how much each slice is like the most alike one on the other side of the test part."""
    n = int(test.sum())
    reached = outside[test == 1]
    crossing = tuple(Crossing(level=level, slices=int((reached >= level).sum()), n=n) for level in LEVELS) if n else ()
    sizes = Counter(way.numbers)
    return Grouping(name=way.name, groups=len(sizes), largest=max(sizes.values()), crossing=crossing)


def _copies(kept: Manifest) -> tuple[tuple[str, ...], ...]:
    """Sets of paths with the same content."""
    same: defaultdict[str, list[str]] = defaultdict(list)
    for item in kept.slices:
        same[item.sha256].append(item.path)
    return tuple(tuple(paths) for paths in same.values() if len(paths) > 1)


def _conflicts(kept: Manifest, index: Ints, correlation: NDArray[np.float32]) -> tuple[Pair, ...]:
    """Pair every slice with its most alike one of another label, if they look alike; each pair once, worst first."""
    pairs = {(min(i, j), max(i, j)): float(correlation[i]) for i, j in enumerate(index.tolist())}
    alike = sorted((item for item in pairs.items() if item[1] >= groups.NEAR), key=lambda item: -item[1])
    return tuple(
        Pair(
            paths=(kept.slices[i].path, kept.slices[j].path),
            labels=(kept.slices[i].label, kept.slices[j].label),
            correlation=value,
        )
        for (i, j), value in alike
    )


def _class_counts(kept: Manifest) -> tuple[ClassCount, ...]:
    slices = Counter(item.label for item in kept.slices)
    held = Counter(label for label, _ in {(item.label, item.group) for item in kept.slices})
    return tuple(ClassCount(label=label, slices=slices[label], groups=held[label]) for label in kept.classes)


def _memory(kept: Manifest, thumbs: Thumbs) -> NearestNeighbour | None:
    if len(set(_numbers(kept))) < 2:
        return None
    return knn_baseline.nearest_neighbour_accuracy(thumbs, kept.labels(), _numbers(kept))


def _numbers(kept: Manifest) -> tuple[int, ...]:
    return tuple(item.group for item in kept.slices)
