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


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One model. `difference` is its balanced accuracy minus the baseline's, paired over look-alike groups; None for
    the baseline itself and for models judged on other slices. Latencies are in milliseconds, for one slice.
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


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Rows in the order asked for; `machine` says where the latencies were measured."""

    baseline: str
    machine: dict[str, str]
    rows: tuple[Row, ...]


def compare(paths: Sequence[Path], baseline: Path | None = None, seconds: float = 2.0, threads: int = 0) -> Comparison:
    """Compare model files, timing each for `seconds` with all of them interleaved (0: do not time).

    Raises ModelFileError for a file that is none, UsageError when there is nothing to compare.
    """
    if not paths:
        raise UsageError("there is no model to compare", "make one: lungcli compress --student mobilenetv2")
    pinned = baseline or paths[0]
    loaded = [modelfile.load(path, threads) for path in paths]
    latencies: Sequence[Measurement | None] = [None] * len(paths)
    if seconds > 0:
        latencies = bench.benchmark(loaded, seconds=seconds, threads=threads)
    reference = verdicts(pinned)
    return Comparison(
        baseline=models.name_of(pinned),
        machine=bench.machine(),
        rows=tuple(
            row(model.path, model.card, latency, None if model.path == pinned else reference)
            for model, latency in zip(loaded, latencies, strict=True)
        ),
    )


def row(path: Path, card: ModelCard, latency: Measurement | None, reference: Evaluation | None) -> Row:
    """Put one model file into a row, with its paired difference where both judged the same slices."""
    ours = verdicts(path)
    difference = None
    if ours is not None and reference is not None and evaluation.comparable(ours, reference):
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
    )


def verdicts(path: Path) -> Evaluation | None:
    """Return the verdicts kept beside a run's model file; None for a file that was moved out of its run."""
    beside = path.parent / "evaluation.json"
    return evaluate.load(beside) if path.name == models.MODEL and beside.is_file() else None
