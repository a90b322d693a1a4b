"""`lungcli calibrate`, and how probabilities and referral are shown."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lungcli.metrics.calibration import Bin, CalibrationErrors
    from lungcli.metrics.referral import SelectiveFigures, Target
    from lungcli.modelfile.model_card import ModelCard

_WIDTH = 30


def calibrate(
    spec: Annotated[str, typer.Argument(metavar="MODEL", help="Run, RUN/STAGE or .onnx file.")],
    risk: Annotated[
        float | None,
        typer.Option("--target-risk", min=0, max=1, help="Most wrong verdicts among slices that are not referred."),
    ] = None,
    sensitivity: Annotated[
        float | None,
        typer.Option("--target-sensitivity", min=0, max=1, help="Least malignant sensitivity among those."),
    ] = None,
    data: Annotated[str, typer.Option("--data", "-d", metavar="NAME", help="The model's own data set.")] = "",
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw the risk–coverage curve.")] = None,
    threads: opt.Threads = 0,
    json: opt.Json = False,
) -> None:
    """Fit temperature and referral threshold on validation slices, and keep both in the model file.

    The threshold is the smallest that reaches the target and keeps a fifth of the slices. Without a target, the one
    in the file is used again (risk 0.2 at first). The test part is only measured, never chosen on.

    \b
    Example: lungcli calibrate compress-mobilenetv2-phantom --target-sensitivity 0.95
    """
    import dataclasses

    import msgspec

    from lungcli.cli import console, progress
    from lungcli.evaluation import evaluate, plots
    from lungcli.metrics import referral
    from lungcli.modelfile import model_file, model_paths
    from lungcli.pipeline import stages

    plots.require_png(png)
    model = model_file.load(model_paths.resolve(spec), threads)
    target = _target(risk, sensitivity)
    console.disclaim()
    recipe = msgspec.structs.replace(model.card.recipe, data=data or model.card.data.name, size=model.card.size)
    with progress.preparing(f"reading {recipe.data}") as advance:
        found = stages.load_run_data(recipe, advance)
    card = stages.calibrated_card(model, found, target or _kept(model.card))
    if target is not None:
        _require_reached(card)
    fitted = dataclasses.replace(model, card=card)
    verdicts = evaluate.evaluate(fitted, found.pixels, found.split.test, found.manifest, found.split, part="test")
    if card.figures is not None:
        card = msgspec.structs.replace(card, figures=verdicts.figures())
    tested = referral.measure(verdicts, card.referral.threshold) if card.referral else None
    model_file.recard(model.path, card)
    if png is not None and card.referral:
        plots.save(plots.risk_coverage_curve(card.risk_coverage, card.referral, model_paths.name_of(model.path)), png)
    if json:
        fields = ("temperature", "calibration", "referral", "risk_coverage")
        kept = {name: getattr(card, name) for name in fields}
        console.print_json({"model": model_paths.name_of(model.path)} | kept | {"test": tested})
    else:
        show(card, tested)
    console.info(
        f"written into {model_paths.name_of(model.path)}: temperature, calibration, referral threshold, its curve"
    )


def show(card: "ModelCard", tested: "SelectiveFigures | None") -> None:
    """Print what a calibration has found, validation and test apart."""
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.core.formatting import number
    from lungcli.metrics import referral
    from lungcli.views.figures import with_interval

    if card.calibration is None or card.referral is None or tested is None:
        console.warn("the split has no validation slices, so nothing could be fitted")
        return
    out = console.out()
    out.print(f"temperature {card.temperature:.3f}, fitted on {card.calibration.n} validation slices")
    show_errors(card.calibration.before, card.calibration.after)
    out.print(f"\nrefer when the largest probability is below {card.referral.threshold:.3f} ({card.referral.target})")
    table = Table(box=None, pad_edge=False)
    for title in ("", "validation\n(chosen on)", f"test ({tested.n} slices,\n{tested.groups} groups)"):
        table.add_column(title)
    point = referral.point_of(card.risk_coverage, card.referral)
    table.add_row("coverage", number(point.coverage), with_interval(tested.coverage))
    table.add_row("wrong of those not referred", number(point.risk), with_interval(tested.risk))
    if tested.malignant_sensitivity is not None:
        found = with_interval(tested.malignant_sensitivity)
        table.add_row("malignant sensitivity of those", number(point.malignant_sensitivity), found)
    out.print(table)
    curve = Table(title="\nrisk over coverage, validation", title_justify="left", box=None, pad_edge=False)
    for title in ("coverage", "threshold", "risk", "malignant sensitivity", ""):
        curve.add_column(title, justify="left" if not title else "right")
    for item in card.risk_coverage:
        cells = (item.coverage, item.threshold, item.risk, item.malignant_sensitivity)
        mark = "  ← chosen" if item == point else ""
        curve.add_row(*map(number, cells), "█" * round(_WIDTH * item.risk) + mark)
    out.print(curve)
    if not referral.is_target_reached(card.risk_coverage, card.referral):
        console.warn(f"no threshold reaches {card.referral.target} on validation; this is the nearest")


def show_errors(before: "CalibrationErrors", after: "CalibrationErrors") -> None:
    """Print calibration errors without and with the temperature."""
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.core.formatting import number

    table = Table(box=None, pad_edge=False)
    for title in ("", "ECE", "NLL", "Brier"):
        table.add_column(title, justify="right" if title else "left")
    for name, errors in (("before", before), ("with the temperature", after)):
        table.add_row(name, *map(number, (errors.ece, errors.nll, errors.brier)))
    console.out().print(table)


def show_reliability(bins: "Sequence[Bin]") -> None:
    """Print the reliability diagram: a bar of the share judged right, and a mark where its confidence would end it."""
    from rich.table import Table

    from lungcli.cli import console

    table = Table(box=None, pad_edge=False)
    for title in ("confidence", "slices", "right", "│ where it should end"):
        table.add_column(title, justify="right" if title in ("slices", "right") else "left")
    for item in bins:
        bar = list(("█" * round(_WIDTH * item.accuracy)).ljust(_WIDTH + 1))
        bar[round(_WIDTH * item.confidence)] = "│"
        table.add_row(f"{item.low:.2f}–{item.high:.2f}", str(item.n), f"{item.accuracy:.3f}", "".join(bar).rstrip())
    console.out().print(table)


def show_selective(found: "SelectiveFigures") -> None:
    """Print what the model's threshold of referral is worth on some slices, in two lines."""
    from lungcli.cli import console
    from lungcli.views.figures import with_interval

    lines = f"refer below {found.threshold:.3f}: coverage {with_interval(found.coverage)}"
    lines += f"\nof those not referred: wrong {with_interval(found.risk)}"
    if found.malignant_sensitivity is not None:
        lines += f", malignant sensitivity {with_interval(found.malignant_sensitivity)}"
    console.out().print(lines + "\n")


def _target(risk: float | None, sensitivity: float | None) -> "Target | None":
    from lungcli.core.errors import UsageError
    from lungcli.metrics.referral import Target

    if risk is not None and sensitivity is not None:
        raise UsageError("there are two targets, and a threshold is chosen for one", "drop one of them")
    if risk is not None:
        return Target(kind="risk", value=risk)
    return None if sensitivity is None else Target(kind="malignant sensitivity", value=sensitivity)


def _kept(card: "ModelCard") -> "Target":
    from lungcli.metrics import referral

    return referral.parse_target(card.referral.target) if card.referral else referral.DEFAULT


def _require_reached(card: "ModelCard") -> None:
    """Refuse a target the user named that no threshold reaches, and say what is within reach."""
    from lungcli.core.errors import UsageError
    from lungcli.metrics import referral

    if card.referral is None or referral.is_target_reached(card.risk_coverage, card.referral):
        return
    nearest = referral.point_of(card.risk_coverage, card.referral)
    by_risk = referral.parse_target(card.referral.target).kind == "risk"
    option, value = ("risk", nearest.risk) if by_risk else ("sensitivity", nearest.malignant_sensitivity or 0.0)
    within = math.ceil(value * 1000) / 1000 if by_risk else math.floor(value * 1000) / 1000
    useless = within >= 1 if by_risk else within <= 0
    raise UsageError(
        f"no threshold that keeps a fifth of the validation slices reaches {card.referral.target}; "
        f"the nearest is {value:.3f}, and the model file is as it was",
        "train a better model first" if useless else f"ask for what is within reach: --target-{option} {within:g}",
    )
