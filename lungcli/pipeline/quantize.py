"""From a float model file to a smaller one: the quantization search on the model's own data, and its result."""

from collections.abc import Generator
from pathlib import Path

import msgspec
import numpy as np

from lungcli.core import paths
from lungcli.core.commands import Form
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, StrategyDone, StrategyStarted, now
from lungcli.core.runs import Run
from lungcli.evaluation.acceptance import Decision
from lungcli.metrics.intervals import Estimate
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import ModelCard, TrialFigures
from lungcli.pipeline import stages
from lungcli.pipeline.stages import RunData
from lungcli.quantize import int8_coverage, search
from lungcli.quantize.search import Limits, QuantizationContext, Strategy, Trial

CALIBRATION_SLICES = 256
# Medians of two timings of one file differ by up to this share.
_SAME_SPEED = 0.05


def quantize(run: Run, run_data: RunData) -> Generator[Event, None, ModelCard]:
    """Make the int8 model file out of the student's; see `compress_file`."""
    limits = Limits(max_drop=run.recipe.max_int8_drop, metric=run.recipe.metric.replace("-", "_"))
    source, to = (run.stage(stage) / stages.MODEL for stage in ("student", "int8"))
    return compress_file(source, to, run_data, limits, tuning=run.recipe.qat_epochs)


def compress_file(
    source: Path, to: Path, run_data: RunData, limits: Limits, form: Form = "int8", tuning: int = 0
) -> Generator[Event, None, ModelCard]:
    """Search the strategies of `form` for the model file `source`; return the card of the file written to `to`.

    That file is of the first strategy that passes; where none does, of the best one (see `passes`). The last ones of
    int8 fine-tune the net for `tuning` epochs (0: they are left out). Calibration slices are of the training part and
    predictions of the validation part, so the test part stays unseen. Raises UsageError when the data has changed since
    it was trained, or when a file is to be fine-tuned whose weights are not beside it, LungcliError when no strategy
    runs on integers.
    """
    card = model_file.read_card(source)
    if form == "int8" and tuning:
        require_weights(source)
    stages.check_own_split(card, source, run_data)
    draft = msgspec.structs.replace(
        stages.with_seen(card, run_data),
        stage=form,
        precision=form,
        created=now(),
        versions=stages.versions(),
        external=(),
    )
    if not card.split.final:
        draft = msgspec.structs.replace(draft, figures=None, separability=(), robustness=())
    strategies = search.STRATEGIES[form] + (search.FINE_TUNED if form == "int8" and tuning else ())
    trials: list[Trial] = []
    with paths.scratch("quantization") as scratch:
        for step in search.search(_context(source, draft, run_data, tuning), scratch, limits, strategies):
            if isinstance(step, Strategy):
                number = strategies.index(step) + 1
                yield StrategyStarted(
                    time=now(), stage=form, strategy=step.name, number=number, strategies=len(strategies)
                )
            elif not isinstance(step, Trial):
                yield step
            else:
                trials.append(step)
                if step.proof:
                    about = trial_in_words(step.figures)
                    yield StrategyDone(
                        time=now(), stage=form, strategy=step.strategy.name, passes=step.passes, about=about
                    )
        chosen = search.best_trial(trials)
        if form == "int8" and chosen.proof:
            int8_coverage.require_int8(chosen.proof, chosen.strategy.min_int8_share)
        final = msgspec.structs.replace(
            model_file.read_card(chosen.path),
            int8=chosen.proof if form == "int8" else None,
            strategy=chosen.strategy.name,
            trials=tuple(trial.figures for trial in trials),
            failed_checks=card.failed_checks + (() if chosen.passes else ("quantization",)),
        )
        model_file.write(chosen.path, final, to)
    return final


def require_weights(source: Path) -> None:
    """Raise UsageError when the weights that training left are not beside the model file."""
    from lungcli.training import loop

    if not (source.parent / loop.BEST).is_file():
        raise UsageError(
            f"fine-tuning needs the weights that training left beside a model file, and {source} stands alone",
            "name a run's stage, as in RUN/student, or leave --qat-epochs out",
        )


def passes(card: ModelCard) -> bool:
    """Whether the strategy that a file was made by passed; True for files without one."""
    return not any(row.fails for row in card.trials if row.name == card.strategy)


def check_of(card: ModelCard, limits: Limits) -> Decision:
    """Return the quantization check of a file that a search has made, on the validation part."""
    chosen = next(row for row in card.trials if row.name == card.strategy)
    return Decision(
        name="quantization",
        model=card.precision,
        reference="float32",
        part="val",
        met=not chosen.fails,
        max_drop=limits.max_drop,
        difference=chosen.difference or Estimate(value=None, low=None, high=None),
        metric=limits.metric,
        sensitivity=chosen.sensitivity,
        positive_class=card.positive_class,
    )


def proof_in_words(card: ModelCard) -> str:
    """Describe the proof that a file is int8, and the strategy that it was made by."""
    if card.int8 is None:
        return f"{card.precision}, computed in float32"
    proof = card.int8
    reservation = "" if passes(card) else ", the best strategy though none passes"
    strategy = f" ({card.strategy}{reservation})" if card.strategy else ""
    return (
        f"{proof.int8_nodes} of {proof.nodes} layers run on integers{strategy}, "
        f"{1 / proof.size_ratio:.1f}× smaller, "
        f"{proof.agreement:.1%} of {proof.n} validation findings unchanged"
    )


def trial_in_words(row: TrialFigures) -> str:
    """Describe the result of a trial on the validation part."""
    drop = row.difference.value if row.difference and row.difference.value is not None else 0.0
    outcome = f"fails ({', '.join(row.fails)})" if row.fails else "passes"
    return f"{drop:+.3f} to float32, {row.agreement:.1%} of findings unchanged: {outcome}"


def speed_in_words(float_p50: float, p50: float, precision: str) -> str:
    """Recommend a file by its median latency (ms) beside that of the float file, in one sentence."""
    times = f"{p50:.2f} ms a slice, float32 {float_p50:.2f} ms"
    if precision != "int8":
        return f"{precision} computes in float32 and saves size only ({times})"
    if p50 > float_p50 * (1 + _SAME_SPEED):
        return f"{precision} is slower than float32 on this CPU ({times}): use the float file, unless size counts"
    if p50 >= float_p50 * (1 - _SAME_SPEED):
        return f"{precision} is as fast as float32 on this CPU ({times}): it saves size only"
    return f"{precision} is {float_p50 / p50:.1f}× as fast as float32 on this CPU ({times}): use it"


def _context(source: Path, draft: ModelCard, run_data: RunData, tuning: int) -> QuantizationContext:
    train = np.array(run_data.split.train)
    stride = max(1, len(train) // CALIBRATION_SLICES)

    def write_model(graph: Path, to: Path) -> None:
        model_file.write(graph, draft, to)
        # A net from elsewhere that was not calibrated is compared as it is.
        if draft.adopted and not draft.calibration:
            return
        model_file.write(graph, stages.calibrated_card(model_file.load(to), run_data), to)

    def fine_tune(to: Path) -> Generator[Event, None, None]:
        from lungcli.training import distributed, loop, qat

        if distributed.process_group().size > 1:
            raise UsageError(
                "fine-tuning in int8 runs on one device only; all that came before it is kept",
                "go on without --devices: lungcli runs resume RUN",
            )
        recipe = msgspec.structs.replace(draft.recipe, model=draft.model, size=draft.size)
        return qat.tune(recipe, tuning, stages.training_material(run_data, recipe), source.parent / loop.BEST, to)

    return QuantizationContext(
        source=source,
        calibration=run_data.pixels[train[::stride][:CALIBRATION_SLICES]],
        write_model=write_model,
        evaluate=lambda model: run_data.evaluate(model, "val"),
        fine_tune=fine_tune if tuning else None,
    )
