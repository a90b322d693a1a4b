"""Models side by side: size, latency and metrics, with the paired difference to a baseline."""

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from lungcli.core.errors import UsageError
from lungcli.core.recipe import ADOPTED
from lungcli.evaluation import acceptance, benchmark, evaluate
from lungcli.evaluation.benchmark import Measurement
from lungcli.metrics import institutions, predictions, significance
from lungcli.metrics.institutions import InstitutionFigures
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import Evaluation, Figures, Flip
from lungcli.metrics.significance import Significance
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import ModelCard
from lungcli.modelfile.model_file import Model

VALIDATION = "validation.json"
"""The predictions of the validation part, beside the model file of a search's trial."""

FindEvaluation = Callable[[Path], Evaluation | None]

_NOT_EVALUATED = "one of the two has not been evaluated on its test part"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `difference` is its metric minus the baseline's, paired over near-duplicate groups; None for the
    baseline itself, and where `not_compared` says why there is none; `significance` has its tests. Latencies
    are in milliseconds, for one slice.
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
    trained_elsewhere: bool = False


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in the order asked for, a pinned baseline first; `machine` says where the latencies were measured.

    `evaluated_anew` names the data set whose test part all were evaluated on, for models of several data sets, without
    the `left_out` slices that one of them has seen; differences are in `metric`.
    """

    baseline: str
    machine: dict[str, str]
    rows: tuple[Row, ...]
    evaluated_anew: str = ""
    left_out: int = 0
    metric: str = acceptance.METRIC


class ModelByInstitution(msgspec.Struct, frozen=True, kw_only=True):
    """One model: its figures at each institution of the `part` it was evaluated on, the worst first."""

    name: str
    part: str
    institutions: tuple[InstitutionFigures, ...]


class LabelWithConfidence(msgspec.Struct, frozen=True, kw_only=True):
    """The class that a model predicts for a slice, and its probability."""

    label: str = msgspec.field(name="verdict")
    confidence: float


class FlippedSlice(msgspec.Struct, frozen=True, kw_only=True):
    """A slice that not all models classify alike: its path, true class, and the prediction of each model."""

    slice: str
    label: str
    predictions: tuple[LabelWithConfidence, ...] = msgspec.field(name="verdicts")


class FlipCount(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions that differ from the baseline's, by which of the two is correct."""

    mended: int
    broken: int
    both_wrong: int


class Flipped(msgspec.Struct, frozen=True, kw_only=True):
    """Of `n` slices those that not all models classify alike, in order; `counts` are of all `models` but the first."""

    models: tuple[str, ...]
    n: int
    counts: tuple[FlipCount, ...]
    slices: tuple[FlippedSlice, ...]


def stored_evaluation(path: Path) -> Evaluation | None:
    """Return the evaluation stored beside a run's model file; None for a file that was moved out of its run."""
    return _stored(path, "evaluation.json")


def stored_validation(path: Path) -> Evaluation | None:
    """Return the evaluation on the validation part that is stored beside the model of a search's trial; else None."""
    return _stored(path, VALIDATION)


def _stored(path: Path, name: str) -> Evaluation | None:
    file = path.parent / name
    return evaluate.load(file) if path.name == model_paths.MODEL and file.is_file() else None


def compare(
    paths: Sequence[Path],
    baseline: Path | None = None,
    seconds: float = 2.0,
    threads: int = 0,
    *,
    listing: bool = False,
    find: FindEvaluation = stored_evaluation,
    anew: str = "",
    left_out: int = 0,
    metric: str = acceptance.METRIC,
) -> Comparison:
    """Compare model files, timing each for `seconds` with all of them interleaved (0: do not time).

    `find` returns the evaluation of a file on its test part, or None; with `anew` on that of the data set so called,
    without `left_out` of its slices, and the figures in the cards are left aside. Differences are in `metric`; see
    `acceptance.difference_in`.

    Raises ModelFileError for a file that is none, UsageError when there is nothing to compare, and for a model that
    was evaluated on another test part than the baseline; a `listing` says so in that model's row instead.
    """
    if not paths:
        raise UsageError("there is no model to compare", "make one: lungcli compress --student mobilenetv2")
    paths = _baseline_first(paths, baseline)
    pinned = paths[0]
    loaded = [model_file.load(path, threads) for path in paths]
    reasons = [""] * len(loaded) if anew else _reasons(loaded, pinned, listing=listing)
    latencies: Sequence[Measurement | None] = [None] * len(paths)
    if seconds > 0:
        latencies = measured = benchmark.benchmark(loaded, seconds=seconds, threads=threads)
        if not threads:
            benchmark.keep(paths, measured)
    if (reference := find(pinned)) is None:
        pairs = zip(loaded, reasons, strict=True)
        reasons = [reason or ("" if model.path == pinned else _NOT_EVALUATED) for model, reason in pairs]
    return Comparison(
        baseline=model_paths.name_of(pinned),
        machine=benchmark.machine(),
        rows=tuple(
            make_row(
                model.path,
                msgspec.structs.replace(model.card, figures=None) if anew else model.card,
                latency,
                None if model.path == pinned else reference,
                reason,
                find,
                metric,
            )
            for model, latency, reason in zip(loaded, latencies, reasons, strict=True)
        ),
        evaluated_anew=anew,
        left_out=left_out,
        metric=metric,
    )


def _reasons(models: Sequence[Model], pinned: Path, *, listing: bool) -> list[str]:
    """Say of each model why it is not compared with the pinned one. Raises UsageError unless it is for a `listing`."""
    baseline_card = model_file.read_card(pinned)
    reasons = [reason_not_comparable(model.card, baseline_card) for model in models]
    for model, reason in zip(models, reasons, strict=True):
        if reason and not listing:
            raise UsageError(
                f"{model_paths.name_of(model.path)} can't be compared with {model_paths.name_of(pinned)}: {reason}",
                "name models of one split; to time any models side by side: lungcli benchmark MODEL MODEL",
            )
    return reasons


def by_institution(
    paths: Sequence[Path], baseline: Path | None = None, find: FindEvaluation = stored_evaluation
) -> tuple[ModelByInstitution, ...]:
    """Return the figures by institution of each model that was evaluated on data of several.

    Raises UsageError where none was.
    """
    evaluations = [(path, find(path)) for path in _baseline_first(paths, baseline)]
    rows = tuple(
        ModelByInstitution(
            name=model_paths.name_of(path),
            part=evaluation.part,
            institutions=institutions.by_institution(evaluation),
        )
        for path, evaluation in evaluations
        if evaluation is not None and evaluation.institutions
    )
    if not rows:
        raise UsageError(
            "no model was evaluated on slices of several institutions",
            "train one on such data: lungcli data combine A B --name AB",
        )
    return rows


def find_flips(
    paths: Sequence[Path], baseline: Path | None = None, find: FindEvaluation = stored_evaluation
) -> Flipped:
    """Find the slices that models classify otherwise than the first of them, or than `baseline`.

    Raises UsageError for fewer than two models, for one that was not evaluated, and for different test parts.
    """
    paths = _baseline_first(paths, baseline)
    if len(paths) < 2:
        raise UsageError("predictions flip from one model to another, so it takes two", "name two: RUN/teacher RUN")
    evaluations = []
    for path in paths:
        if (evaluation := find(path)) is None:
            raise UsageError(
                f"{model_paths.name_of(path)} has not been evaluated on its test part",
                "name models of finished runs; of a file, bring in its data set; of a trial: lungcli evaluate RUN",
            )
        evaluations.append(evaluation)
    first, *others = evaluations
    flips = [predictions.flips(ours, first) for ours in others]
    flipped_names = {flip.slice for of_model in flips for flip in of_model}
    return Flipped(
        models=tuple(map(model_paths.name_of, paths)),
        n=len(first.labels),
        counts=tuple(map(_count, flips)),
        slices=tuple(
            FlippedSlice(
                slice=name,
                label=first.classes[first.labels[i]],
                predictions=tuple(_label_with_confidence(each, i) for each in evaluations),
            )
            for i, name in enumerate(first.slices)
            if name in flipped_names
        ),
    )


def _count(flips: Sequence[Flip]) -> FlipCount:
    mended = sum(flip.ours == flip.label for flip in flips)
    broken = sum(flip.theirs == flip.label for flip in flips)
    return FlipCount(mended=mended, broken=broken, both_wrong=len(flips) - mended - broken)


def _label_with_confidence(evaluation: Evaluation, index: int) -> LabelWithConfidence:
    probabilities = evaluation.probabilities[index]
    return LabelWithConfidence(
        label=evaluation.classes[probabilities.index(max(probabilities))], confidence=max(probabilities)
    )


def _baseline_first(paths: Sequence[Path], baseline: Path | None) -> Sequence[Path]:
    if baseline is None:
        return paths
    return [baseline, *(path for path in paths if path.resolve() != baseline.resolve())]


def reason_not_comparable(ours: ModelCard, theirs: ModelCard) -> str:
    """Say why two models can't be compared: they were evaluated on different test parts. Empty where they can.

    Adopted ones have no test part of their own: they are evaluated on that of the others.
    """
    if ours.split.digest == theirs.split.digest or ours.adopted or theirs.adopted:
        return ""
    own, other = ours.split.in_words(), theirs.split.in_words()
    if ours.data.digest != theirs.data.digest:
        own, other = ours.split.in_words(ours.data.name), theirs.split.in_words(theirs.data.name)
    if own == other:
        own, other = f"{own} ({ours.split.digest[:8]})", f"another ({theirs.split.digest[:8]})"
    return f"it was evaluated on {own}, the baseline on {other}"


def make_row(
    path: Path,
    card: ModelCard,
    latency: Measurement | None,
    reference: Evaluation | None,
    reason: str = "",
    find: FindEvaluation = stored_evaluation,
    metric: str = acceptance.METRIC,
) -> Row:
    """Make the row of a model file, with its paired difference to the `reference` where both are of the same slices.

    Without a reference there is no difference; a `reason` says why the two can't be compared. Metrics missing in the
    card are computed from the evaluation.
    """
    difference = test_results = None
    needs_evaluation = card.figures is None or (reference is not None and not reason)
    evaluation = find(path) if needs_evaluation else None
    if reference is not None and not reason:
        if evaluation is None:
            reason = _NOT_EVALUATED
        elif not predictions.comparable(evaluation, reference):
            reason = "the two were evaluated on different slices"
        else:
            _, difference = acceptance.difference_in(metric, evaluation, reference)
            test_results = significance.between(evaluation, reference)
            if metric != acceptance.METRIC:
                test_results = msgspec.structs.replace(test_results, bootstrap=None)
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
        figures=card.figures or (evaluation.figures() if evaluation else None),
        difference=difference,
        significance=test_results,
        not_compared=reason,
        trained_elsewhere=card.adopted is not None or ADOPTED in card.teacher,
    )
