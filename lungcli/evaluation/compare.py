"""Any models side by side: size, latency, and what they get right, with the paired difference to a baseline."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from lungcli.core.errors import UsageError
from lungcli.evaluation import benchmark, evaluate
from lungcli.evaluation.benchmark import Measurement
from lungcli.metrics import classification, intervals, predictions, significance
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import Evaluation, Figures, Flip
from lungcli.metrics.significance import Significance
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import ModelCard

VALIDATION = "validation.json"
"""The verdicts on the validation part, beside the model file of a trial."""

Find = Callable[[Path], Evaluation | None]

_NO_VERDICTS = "one of the two has no verdicts on its test part"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `difference` is its balanced accuracy minus the baseline's, paired over look-alike groups; None for
    the baseline itself, and where `not_compared` says why there is none; `significance` has its tests. Latencies are
    in milliseconds, for one slice.
    """

    name: str
    model: str
    stage: str
    precision: str
    teacher: str
    data: str
    synthetic: bool
    bytes: int
    parameters: int
    latency: Measurement | None
    figures: Figures | None
    difference: Estimate | None
    significance: Significance | None = None
    not_compared: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in the order asked for, a pinned baseline first; `machine` says where the latencies were measured."""

    baseline: str
    machine: dict[str, str]
    rows: tuple[Row, ...]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a model says of a slice, and how sure it is of it."""

    verdict: str
    confidence: float


class FlippedSlice(msgspec.Struct, frozen=True, kw_only=True):
    """A slice that not all models judge alike: its path, true class, and the verdict of each model."""

    slice: str
    label: str
    verdicts: tuple[Verdict, ...]


class FlipCount(msgspec.Struct, frozen=True, kw_only=True):
    """Verdicts that are not the baseline's, by who was right."""

    mended: int
    broken: int
    both_wrong: int


class Flipped(msgspec.Struct, frozen=True, kw_only=True):
    """Of `n` slices those with a flipped verdict, in their order; `counts` are those of all `models` but the first."""

    models: tuple[str, ...]
    n: int
    counts: tuple[FlipCount, ...]
    slices: tuple[FlippedSlice, ...]


def verdicts(path: Path) -> Evaluation | None:
    """Return the verdicts kept beside a run's model file; None for a file that was moved out of its run."""
    return _beside(path, "evaluation.json")


def validation(path: Path) -> Evaluation | None:
    """Return the verdicts on the validation part that are kept beside the model of a search's trial; else None."""
    return _beside(path, VALIDATION)


def _beside(path: Path, name: str) -> Evaluation | None:
    beside = path.parent / name
    return evaluate.load(beside) if path.name == model_paths.MODEL and beside.is_file() else None


def compare(
    paths: Sequence[Path],
    baseline: Path | None = None,
    seconds: float = 2.0,
    threads: int = 0,
    *,
    listing: bool = False,
    find: Find = verdicts,
) -> Comparison:
    """Compare model files, timing each for `seconds` with all of them interleaved (0: do not time).

    `find` returns the verdicts of a file on its test part, or None.

    Raises ModelFileError for a file that is none, UsageError when there is nothing to compare, and for a model that
    was judged on another test part than the baseline; a `listing` says so in that model's row instead.
    """
    if not paths:
        raise UsageError("there is no model to compare", "make one: lungcli compress --student mobilenetv2")
    paths = _pinned_first(paths, baseline)
    pinned = paths[0]
    loaded = [model_file.load(path, threads) for path in paths]
    anchor = model_file.read_card(pinned)
    reasons = [why_not(model.card, anchor) for model in loaded]
    for model, reason in zip(loaded, reasons, strict=True):
        if reason and not listing:
            raise UsageError(
                f"{model_paths.name_of(model.path)} can't be compared with {model_paths.name_of(pinned)}: {reason}",
                "name models of one split; to time any models side by side: lungcli benchmark MODEL MODEL",
            )
    latencies: Sequence[Measurement | None] = [None] * len(paths)
    if seconds > 0:
        latencies = benchmark.benchmark(loaded, seconds=seconds, threads=threads)
    reference = find(pinned)
    if reference is None:
        reasons = [
            reason or ("" if model.path == pinned else _NO_VERDICTS)
            for model, reason in zip(loaded, reasons, strict=True)
        ]
    return Comparison(
        baseline=model_paths.name_of(pinned),
        machine=benchmark.machine(),
        rows=tuple(
            row(model.path, model.card, latency, None if model.path == pinned else reference, reason, find)
            for model, latency, reason in zip(loaded, latencies, reasons, strict=True)
        ),
    )


def flipped(paths: Sequence[Path], baseline: Path | None = None, find: Find = verdicts) -> Flipped:
    """Find the slices that models judge otherwise than the first of them, or than `baseline`.

    Raises UsageError for fewer than two models, for one without verdicts, and for ones that judged different slices.
    """
    paths = _pinned_first(paths, baseline)
    if len(paths) < 2:
        raise UsageError("verdicts flip from one model to another, and there are not two", "name two: RUN/teacher RUN")
    judged = []
    for path in paths:
        if (found := find(path)) is None:
            raise UsageError(
                f"{model_paths.name_of(path)} has no verdicts on its test part",
                "name models of finished runs; of a file, bring in its data set; of a trial: lungcli evaluate RUN",
            )
        judged.append(found)
    first, *others = judged
    flips = [predictions.flips(ours, first) for ours in others]
    names = {flip.slice for found in flips for flip in found}
    return Flipped(
        models=tuple(map(model_paths.name_of, paths)),
        n=len(first.labels),
        counts=tuple(map(_count, flips)),
        slices=tuple(
            FlippedSlice(
                slice=name,
                label=first.classes[first.labels[i]],
                verdicts=tuple(_verdict(each, i) for each in judged),
            )
            for i, name in enumerate(first.slices)
            if name in names
        ),
    )


def _count(flips: Sequence[Flip]) -> FlipCount:
    mended = sum(flip.ours == flip.label for flip in flips)
    broken = sum(flip.theirs == flip.label for flip in flips)
    return FlipCount(mended=mended, broken=broken, both_wrong=len(flips) - mended - broken)


def _verdict(found: Evaluation, index: int) -> Verdict:
    probabilities = found.probabilities[index]
    return Verdict(verdict=found.classes[probabilities.index(max(probabilities))], confidence=max(probabilities))


def _pinned_first(paths: Sequence[Path], baseline: Path | None) -> Sequence[Path]:
    if baseline is None:
        return paths
    return [baseline, *(path for path in paths if path.resolve() != baseline.resolve())]


def why_not(ours: ModelCard, theirs: ModelCard) -> str:
    """Say why two models must not be compared: they were judged on different test parts. Empty where they may be."""
    if ours.split.digest == theirs.split.digest:
        return ""
    own, other = ours.split.in_words(), theirs.split.in_words()
    if ours.data.digest != theirs.data.digest:
        own, other = f"{own} of {ours.data.name!r}", f"{other} of {theirs.data.name!r}"
    if own == other:
        own, other = f"{own} ({ours.split.digest[:8]})", f"another ({theirs.split.digest[:8]})"
    return f"it was judged on {own}, the baseline on {other}"


def row(
    path: Path,
    card: ModelCard,
    latency: Measurement | None,
    reference: Evaluation | None,
    reason: str = "",
    find: Find = verdicts,
) -> Row:
    """Put one model file into a row, with its paired difference to the `reference` where both judged the same slices.

    Without a reference there is no difference; a `reason` says why the two must not be compared. Figures that the
    card has not are worked out of the verdicts.
    """
    difference = tests = None
    wanted = card.figures is None or (reference is not None and not reason)
    ours = find(path) if wanted else None
    if reference is not None and not reason:
        if ours is None:
            reason = _NO_VERDICTS
        elif not predictions.comparable(ours, reference):
            reason = "the two judged different slices"
        else:
            difference = intervals.paired_difference(
                classification.balanced_accuracy, ours.matrices(), reference.matrices()
            )
            tests = significance.between(ours, reference)
    return Row(
        name=model_paths.name_of(path),
        model=card.model,
        stage=card.stage,
        precision=card.precision,
        teacher=card.teacher,
        data=card.data.name,
        synthetic=card.data.synthetic,
        bytes=path.stat().st_size,
        parameters=card.parameters,
        latency=latency,
        figures=card.figures or (ours.figures() if ours else None),
        difference=difference,
        significance=tests,
        not_compared=reason,
    )
