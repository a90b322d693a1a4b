"""From a float model file to a smaller one: the ladder is climbed on a model's own data, and its outcome is kept."""

from collections.abc import Generator
from pathlib import Path

import msgspec
import numpy as np

from lungcli.core import paths
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, RungDone, RungStarted, now
from lungcli.core.runs import Run
from lungcli.evaluation import evaluate
from lungcli.metrics import referral
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import ModelCard, RungFigures
from lungcli.pipeline import stages
from lungcli.pipeline.stages import RunData
from lungcli.quantize import int8_coverage, search
from lungcli.quantize.search import Form, Limits, QuantizationContext, Strategy, Trial

CALIBRATION_SLICES = 256
# Medians of two timings of one file differ by so much.
_SAME_SPEED = 0.05


def quantize(run: Run, found: RunData) -> Generator[Event, None, ModelCard]:
    """Make the int8 model file out of the student's; see `to_smaller`.

    The limits are the ladder's own, unless the run allows less to be lost.
    """
    limits = Limits(max_drop=min(Limits().max_drop, run.recipe.max_drop))
    source, to = (run.stage(stage) / stages.MODEL for stage in ("student", "int8"))
    return to_smaller(source, to, found, limits, tuning=run.recipe.qat_epochs)


def to_smaller(
    source: Path, to: Path, found: RunData, limits: Limits, form: Form = "int8", tuning: int = 0
) -> Generator[Event, None, ModelCard]:
    """Climb the ladder of `form` with the model file `source`, and return the card of the file written to `to`.

    That file is of the first rung that holds; where none does, of the best one (see `holds`). The last rungs of int8
    fine-tune the net for `tuning` epochs (0: there are none such). Calibration slices are of the training part and
    verdicts of the validation part, so the test part stays unseen. Raises UsageError when the data has changed since
    it was trained, or when a file is to be fine-tuned whose weights are not beside it, LungcliError when no rung is
    really int8.
    """
    card = model_file.read_card(source)
    if form == "int8" and tuning:
        require_weights(source)
    stages.check_own_split(card, source, found)
    draft = msgspec.structs.replace(
        card,
        stage=form,
        precision=form,
        created=now(),
        versions=stages.versions(),
        figures=None,
        stress=(),
        elsewhere=(),
    )
    rungs = search.STRATEGIES[form] + (search.TUNED if form == "int8" and tuning else ())
    tried: list[Trial] = []
    with paths.scratch("ladder") as scratch:
        for step in search.search(_ground(source, draft, found, tuning), scratch, limits, rungs):
            if isinstance(step, Strategy):
                number = rungs.index(step) + 1
                yield RungStarted(time=now(), stage=form, rung=step.name, number=number, rungs=len(rungs))
            elif not isinstance(step, Trial):
                yield step
            else:
                tried.append(step)
                if step.evidence:
                    about = rung_in_words(step.figures)
                    yield RungDone(time=now(), stage=form, rung=step.rung.name, holds=step.holds, about=about)
        chosen = search.best_trial(tried)
        if form == "int8" and chosen.evidence:
            int8_coverage.require_int8(chosen.evidence, chosen.rung.least)
        final = msgspec.structs.replace(
            model_file.read_card(chosen.path),
            int8=chosen.evidence if form == "int8" else None,
            rung=chosen.rung.name,
            ladder=tuple(each.figures for each in tried),
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


def holds(card: ModelCard) -> bool:
    """Say whether the rung that a file was made on holds; True for files that were made on none."""
    return not any(row.fails for row in card.ladder if row.name == card.rung)


def proof_in_words(card: ModelCard) -> str:
    """Say what proves that a file is int8, and on which rung it was made."""
    if card.int8 is None:
        return f"{card.precision}, computed in float32"
    evidence = card.int8
    doubt = "" if holds(card) else ", the best of a ladder of which no rung holds"
    rung = f" ({card.rung}{doubt})" if card.rung else ""
    return (
        f"{evidence.int8_nodes} of {evidence.nodes} layers run on integers{rung}, "
        f"{1 / evidence.size_ratio:.1f}× smaller, "
        f"{evidence.agreement:.1%} of {evidence.n} validation verdicts unchanged"
    )


def rung_in_words(row: RungFigures) -> str:
    """Say how a rung did on the validation part."""
    drop = row.difference.value if row.difference and row.difference.value is not None else 0.0
    verdict = f"does not hold ({', '.join(row.fails)})" if row.fails else "holds"
    return f"{drop:+.3f} to float32, {row.agreement:.1%} of verdicts unchanged: {verdict}"


def speed_in_words(float_p50: float, p50: float, precision: str) -> str:
    """Recommend a file by its speed beside the float file's, both medians in ms taken in turns, in one sentence."""
    times = f"{p50:.2f} ms a slice, float32 {float_p50:.2f} ms"
    if precision != "int8":
        return f"{precision} computes in float32 and saves size only ({times})"
    if p50 > float_p50 * (1 + _SAME_SPEED):
        return f"{precision} is slower than float32 on this CPU ({times}): use the float file, unless size counts"
    if p50 >= float_p50 * (1 - _SAME_SPEED):
        return f"{precision} is as fast as float32 on this CPU ({times}): it saves size only"
    return f"{precision} is {float_p50 / p50:.1f}× as fast as float32 on this CPU ({times}): use it"


def _ground(source: Path, draft: ModelCard, found: RunData, tuning: int) -> QuantizationContext:
    target = referral.parse(draft.referral.target) if draft.referral else referral.DEFAULT
    train = np.array(found.split.train)
    stride = max(1, len(train) // CALIBRATION_SLICES)

    def finish(graph: Path, to: Path) -> None:
        model_file.write(graph, draft, to)
        model_file.write(graph, stages.calibrated(model_file.load(to), found, target), to)

    def judge(model: model_file.Model) -> Evaluation:
        return evaluate.evaluate(model, found.pixels, found.split.val, found.manifest, found.split, part="val")

    def tune(to: Path) -> Generator[Event, None, None]:
        from lungcli.training import distributed, loop, qat

        if distributed.process_group().size > 1:
            raise UsageError(
                "fine-tuning in int8 is work for one device, and all that comes before it is kept",
                "`lungcli runs resume RUN` without --devices does the rest",
            )
        recipe = msgspec.structs.replace(draft.recipe, model=draft.model, size=draft.size)
        return qat.tune(recipe, tuning, stages.to_learn_from(found), source.parent / loop.BEST, to)

    return QuantizationContext(
        source=source,
        calibration=found.pixels[train[::stride][:CALIBRATION_SLICES]],
        finish=finish,
        judge=judge,
        tune=tune if tuning else None,
    )
