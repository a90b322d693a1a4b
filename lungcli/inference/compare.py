"""Any models side by side: size, latency, and what they get right, with the paired difference to a baseline."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from lungcli.core import evaluation, intervals, metrics, models
from lungcli.core.errors import UsageError
from lungcli.core.evaluation import Evaluation, Figures
from lungcli.core.intervals import Estimate
from lungcli.core.modelcard import ModelCard
from lungcli.inference import bench, evaluate, modelfile
from lungcli.inference.bench import Measurement

_NO_VERDICTS = "verdicts lie beside a run's model file, and one of the two has none"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `difference` is its balanced accuracy minus the baseline's, paired over look-alike groups; None for
    the baseline itself, and where `not_compared` says why there is none. Latencies are in milliseconds, for one slice.
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
    not_compared: str = ""


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in the order asked for; `machine` says where the latencies were measured."""

    baseline: str
    machine: dict[str, str]
    rows: tuple[Row, ...]


def compare(
    paths: Sequence[Path],
    baseline: Path | None = None,
    seconds: float = 2.0,
    threads: int = 0,
    *,
    listing: bool = False,
) -> Comparison:
    """Compare model files, timing each for `seconds` with all of them interleaved (0: do not time).

    Raises ModelFileError for a file that is none, UsageError when there is nothing to compare, and for a model that
    was judged on another test part than the baseline; a `listing` says so in that model's row instead.
    """
    if not paths:
        raise UsageError("there is no model to compare", "make one: lungcli compress --student mobilenetv2")
    pinned = baseline or paths[0]
    loaded = [modelfile.load(path, threads) for path in paths]
    anchor = modelfile.read_card(pinned)
    reasons = [why_not(model.card, anchor) for model in loaded]
    for model, reason in zip(loaded, reasons, strict=True):
        if reason and not listing:
            raise UsageError(
                f"{models.name_of(model.path)} can't be compared with {models.name_of(pinned)}: {reason}",
                "name models of one split; to time any models side by side: lungcli benchmark MODEL MODEL",
            )
    latencies: Sequence[Measurement | None] = [None] * len(paths)
    if seconds > 0:
        latencies = bench.benchmark(loaded, seconds=seconds, threads=threads)
    reference = verdicts(pinned)
    if reference is None:
        reasons = [
            reason or ("" if model.path == pinned else _NO_VERDICTS)
            for model, reason in zip(loaded, reasons, strict=True)
        ]
    return Comparison(
        baseline=models.name_of(pinned),
        machine=bench.machine(),
        rows=tuple(
            row(model.path, model.card, latency, None if model.path == pinned else reference, reason)
            for model, latency, reason in zip(loaded, latencies, reasons, strict=True)
        ),
    )


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
    path: Path, card: ModelCard, latency: Measurement | None, reference: Evaluation | None, reason: str = ""
) -> Row:
    """Put one model file into a row, with its paired difference to the `reference` where both judged the same slices.

    Without a reference there is no difference; a `reason` says why the two must not be compared.
    """
    difference = None
    if reference is not None and not reason:
        ours = verdicts(path)
        if ours is None:
            reason = _NO_VERDICTS
        elif not evaluation.comparable(ours, reference):
            reason = "the two judged different slices"
        else:
            difference = intervals.paired_difference(metrics.balanced_accuracy, ours.matrices(), reference.matrices())
    return Row(
        name=models.name_of(path),
        model=card.model,
        stage=card.stage,
        precision=card.precision,
        teacher=card.teacher,
        data=card.data.name,
        synthetic=card.data.synthetic,
        bytes=path.stat().st_size,
        parameters=card.parameters,
        latency=latency,
        figures=card.figures,
        difference=difference,
        not_compared=reason,
    )


def verdicts(path: Path) -> Evaluation | None:
    """Return the verdicts kept beside a run's model file; None for a file that was moved out of its run."""
    beside = path.parent / "evaluation.json"
    return evaluate.load(beside) if path.name == models.MODEL and beside.is_file() else None
