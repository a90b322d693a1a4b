"""The findings of an audit as sentences: one rule per finding, each decided by numbers alone."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from lungcli.datasets import groups, summary
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.datasets.audit.shortcuts import Shortcut, ShortcutTest
from lungcli.datasets.manifest import Rejected
from lungcli.datasets.summary import InstitutionSummary

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")

# Correlation of thumbnails that look the same to the eye, or are neighbours in one scan.
NEAR_COPY = 0.98

_IMBALANCE = 3.0
# A fifth of so many groups is three in the test part, the fewest that allow an interval.
_FEW_GROUPS = 15
_LEAK = 0.10


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One finding about a data set. `id` never changes; `examples` are the files it is about, most severe first."""

    id: str
    severity: Severity
    title: str
    detail: str
    examples: tuple[str, ...] = ()


class ClassCount(msgspec.Struct, frozen=True, kw_only=True):
    """Number of slices and near-duplicate groups of a class."""

    label: str
    slices: int
    groups: int


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """Two similar slices (paths), with their labels and the correlation of their thumbnails."""

    paths: tuple[str, str]
    labels: tuple[str, str]
    correlation: float


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """Number of the `n` test slices that have a slice at a correlation of at least `level` outside the test part."""

    level: float
    slices: int
    n: int


def files(unreadable: Sequence[Rejected], changed: Sequence[str], left_out: Sequence[Rejected]) -> Iterator[Finding]:
    """Files that can't be read, that changed after the import, and that the import left out."""
    if unreadable:
        yield Finding(
            id="files.unreadable",
            severity="error",
            title=f"{_count(unreadable, 'slice')} can no longer be read",
            detail="They could be read when they were imported. Training on this data set will stop at the first "
            "one: import it again. Everything below leaves them out.",
            examples=tuple(f"{item.path}: {item.reason}" for item in unreadable),
        )
    if changed:
        yield Finding(
            id="files.changed",
            severity="error",
            title=f"{_count(changed, 'slice')} changed after the import",
            detail="Their content no longer has the sha256 of the manifest, so near-duplicate groups and "
            "metrics of earlier runs may be wrong for them: import the data set again under a new name.",
            examples=tuple(changed),
        )
    if left_out:
        yield Finding(
            id="files.left-out",
            severity="note",
            title=f"{_count(left_out, 'file')} of the source {'was' if len(left_out) == 1 else 'were'} left out",
            detail="The import could not use them.",
            examples=tuple(f"{item.path}: {item.reason}" for item in left_out),
        )


def copies(sets: Sequence[Sequence[str]], label_of: dict[str, str]) -> Iterator[Finding]:
    """Files of the same content, given as sets of paths: of one class, and of several."""
    across = [item for item in sets if len({label_of[path] for path in item}) > 1]
    within = [item for item in sets if item not in across]
    if across:
        yield Finding(
            id="conflict.copies",
            severity="error",
            title=f"{_count(across, 'picture')} stored under several classes",
            detail="The same file has several labels, of which at most one is correct: fix the source and import "
            "it again.",
            examples=tuple(" = ".join(item) for item in across),
        )
    if within:
        extra = sum(len(item) - 1 for item in within)
        yield Finding(
            id="copies.exact",
            severity="warning",
            title=f"{extra} exact {'copy' if extra == 1 else 'copies'} of {_count(within, 'picture')}",
            detail="Copies share a near-duplicate group, so no grouped split separates them; but they count more "
            "than once in training and in every metric.",
            examples=tuple(" = ".join(item) for item in within),
        )


def near_copies(some: int, across: int, n: int) -> Iterator[Finding]:
    """Of `n` slices `some` have a near copy, and `across` one of another class."""
    if some:
        yield Finding(
            id="copies.near",
            severity="note",
            title=f"{some / n:.0%} of the slices have a near copy",
            detail=f"{some} of {n} have another slice at a correlation of at least {NEAR_COPY}, {across} of them one "
            "of another class. A random split puts most of them on both sides.",
        )


def conflicts(pairs: Sequence[Pair]) -> Iterator[Finding]:
    """Near-duplicates with different labels, most similar first: near copies are errors."""
    near = [pair for pair in pairs if pair.correlation >= NEAR_COPY]
    rest = [pair for pair in pairs if pair.correlation < NEAR_COPY]
    if near:
        yield Finding(
            id="conflict.labels",
            severity="error",
            title=f"{_count(near, 'pair')} of near copies with different labels",
            detail=f"At a correlation of at least {NEAR_COPY} both show the same body at nearly the same height, "
            "and cannot be of two classes: inspect them, and leave out what is mislabelled.",
            examples=tuple(_said(pair) for pair in near),
        )
    if rest:
        yield Finding(
            id="conflict.look-alikes",
            severity="warning",
            title=f"{_count(rest, 'pair')} of near-duplicates with different labels",
            detail=f"Between {groups.NEAR:.2f} and {NEAR_COPY:.2f} they may be two similar bodies, or one "
            "body under two labels: inspect them.",
            examples=tuple(_said(pair) for pair in rest),
        )


def mixed_groups(numbers: Sequence[int], labels: Sequence[str]) -> Iterator[Finding]:
    """Near-duplicate groups with more than one class."""
    held = {number: Counter(labels[i] for i in slices) for number, slices in groups.members_by_group(numbers).items()}
    mixed = sorted((item for item in held.items() if len(item[1]) > 1), key=lambda item: -item[1].total())
    if mixed:
        yield Finding(
            id="groups.mixed",
            severity="note",
            title=f"{_count(mixed, 'near-duplicate group')} with several classes",
            detail="Chains of similar slices joined them. They stay in one part of a split, which costs slices but "
            "leaks nothing.",
            examples=tuple(
                f"group {number}: {', '.join(f'{count} {label}' for label, count in held.most_common())}"
                for number, held in mixed
            ),
        )


def classes(counts: Sequence[ClassCount]) -> Iterator[Finding]:
    """Classes that are much larger than others, and classes with few near-duplicate groups."""
    large, small = max(counts, key=lambda item: item.slices), min(counts, key=lambda item: item.slices)
    if large.slices >= _IMBALANCE * small.slices:
        yield Finding(
            id="classes.imbalance",
            severity="warning",
            title=f"{large.label} has {large.slices / max(1, small.slices):.1f} times the slices of {small.label}",
            detail=f"Always predicting {large.label} has an accuracy of "
            f"{large.slices / sum(item.slices for item in counts):.1%}: read balanced accuracy instead.",
        )
    few = [item for item in counts if item.groups < _FEW_GROUPS]
    if few:
        yield Finding(
            id="classes.few-groups",
            severity="warning",
            title=f"few near-duplicate groups: {', '.join(f'{item.label} {item.groups}' for item in few)}",
            detail="The test part then has one or two of them, and intervals over groups become very wide, however "
            "many slices there are.",
        )


def crossing(crossings: Sequence[Crossing], why_not: str) -> Iterator[Finding]:
    """Test slices with a near-duplicate outside the test part of the current split, or why there is no split."""
    if why_not:
        detail = "Nothing can be trained on this data set as it is."
        yield Finding(id="split.impossible", severity="error", title=why_not, detail=detail)
        return
    leaking = next((item for item in crossings if item.level == groups.NEAR and item.slices), None)
    below = next((item for item in crossings if item.level < groups.NEAR and item.slices), None)
    if leaking:
        yield Finding(
            id="split.crossing",
            severity="error",
            title=f"{leaking.slices} of {leaking.n} test slices have a near-duplicate in training or validation",
            detail=f"At a correlation of at least {groups.NEAR} they should be in one group: the groups of this "
            "data set are not those of its slices. Import it again.",
        )
    elif below:
        yield Finding(
            id="split.crossing",
            severity="note",
            title=f"{below.slices} of {below.n} test slices are similar to one in training or validation",
            detail=f"At a correlation between {below.level:.2f} and {groups.NEAR:.2f}; none above.",
        )


def shortcuts(measured: Sequence[Shortcut]) -> Iterator[Finding]:
    """Features that separate the classes although they do not depend on disease."""
    for item in measured:
        before, after = (trial is not None and trial.is_significant() for trial in (item.before, item.after))
        if before or after:
            results = [
                f"{_tried(trial)} {when}"
                for trial, when in ((item.before, "as read"), (item.after, "as prepared"))
                if trial is not None
            ]
            detail = f"Balanced accuracy on near-duplicate groups that were left out: {'; '.join(results)}."
            yield _shortcut(item, f"the class can be told from the {item.about}", detail)
        elif item.oddity is not None:
            odd = item.oddity
            title = f"{item.about}: {odd.of_label} of {odd.slices} slices that are not {odd.usual} are {odd.label}"
            detail = (
                f"They are of {odd.groups} near-duplicate {'group' if odd.groups == 1 else 'groups'}; of all slices "
                f"{odd.base:.0%} are {odd.label}. Too few for the grouped test, but a net may memorize it."
            )
            yield _shortcut(item, title, detail)


def institutions(counted: Sequence[InstitutionSummary], visible: ShortcutTest | None) -> Iterator[Finding]:
    """Institutions of one class alone, and how well the institution is told from prepared slices (`visible`)."""
    if one_class := summary.one_class(counted):
        yield Finding(
            id="institutions.one-class",
            severity="warning",
            title=f"{_count(one_class, 'institution')} with one class only",
            detail="Where a slice was taken then tells its class, and a net learns the scanner, not the disease: add "
            "slices of the other classes, and test on institutions left out (--protocol institution).",
            examples=tuple(
                f"{item.name}: {count} {label}" for item in one_class for label, count in item.classes.items()
            ),
        )
    if visible is not None:
        yield Finding(
            id="institutions.visible",
            severity="warning" if visible.is_significant() else "note",
            title=f"of {len(counted)} institutions, that of a slice is "
            f"{'told' if visible.is_significant() else 'not told'} from its 8×8 thumbnail as prepared",
            detail=f"Balanced accuracy on near-duplicate groups that were left out: {_tried(visible)}. What is told "
            "can stand in for the class.",
        )


def _tried(trial: ShortcutTest) -> str:
    value = trial.balanced_accuracy.value or 0.0
    return f"{value:.3f} (chance {trial.chance:.3f}, rarely above {trial.chance_high:.3f}, p {trial.p:.3f})"


def _shortcut(item: Shortcut, title: str, detail: str) -> Finding:
    return Finding(id=f"shortcut.{item.name}", severity="warning", title=title, detail=detail)


def leak(nearest: NearestNeighbour | None) -> Iterator[Finding]:
    """The difference between the two split protocols."""
    if nearest and nearest.random_accuracy - nearest.grouped_accuracy >= _LEAK:
        yield Finding(
            id="leak.memory",
            severity="warning",
            title=f"a random split would reward memory: {nearest.random_accuracy:.1%} against "
            f"{nearest.grouped_accuracy:.1%}",
            detail="1-nearest-neighbour on thumbnails learns nothing: the difference is leakage between "
            "near-duplicates. Keep --split grouped, and trust no other figure of this data.",
        )


def _said(pair: Pair) -> str:
    return f"{pair.paths[0]} ↔ {pair.paths[1]} ({pair.correlation:.3f})"


def _count(items: Sequence[object], what: str) -> str:
    return f"{len(items)} {what}{'' if len(items) == 1 else 's'}"
