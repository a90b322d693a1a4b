"""`lungcli calibrate`, and tables of calibration and referral."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options

if TYPE_CHECKING:
    from lungcli.metrics.calibration import CalibrationErrors
    from lungcli.metrics.referral import SelectiveFigures, Target
    from lungcli.modelfile.model_card import ModelCard

_WIDTH = 30

TargetRisk = Annotated[
    float | None,
    typer.Option(
        "--target-risk",
        min=0,
        max=1,
        help="Largest share of wrong predictions among slices that are not referred.",
        rich_help_panel="Referral",
    ),
]
TargetSensitivity = Annotated[
    float | None,
    typer.Option(
        "--target-sensitivity",
        min=0,
        max=1,
        help="Smallest sensitivity among slices that are not referred.",
        rich_help_panel="Referral",
    ),
]

Spec = Annotated[str, options.model_argument("Run, RUN/STAGE or .onnx file.")]
Data = Annotated[str, options.data_option("The model's own data set.")]
Png = Annotated[
    Path | None,
    typer.Option("--png", metavar="FILE", help="Draw the risk–coverage curve.", rich_help_panel="Output"),
]


def calibrate(
    spec: Spec,
    risk: TargetRisk = None,
    sensitivity: TargetSensitivity = None,
    data: Data = "",
    png: Png = None,
    threads: options.Threads = 0,
    json: options.Json = False,
) -> None:
    """Fit temperature and referral threshold of a model.

    Both are fitted on validation slices and stored in the model file. The threshold is the smallest that reaches the
    target and refers at most four fifths of the slices. Without a target, the one in the file is used again (initially
    risk 0.2). The test part is evaluated, never fitted on.

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
        run_data = stages.load_run_data(recipe, advance)
    card = stages.calibrated_card(model, run_data, target or _target_of_card(model.card))
    if target is not None:
        _require_reached(card)
    calibrated_model = dataclasses.replace(model, card=card)
    evaluation = evaluate.evaluate(
        calibrated_model, run_data.pixels, run_data.split.test, run_data.manifest, run_data.split, part="test"
    )
    if card.figures is not None:
        card = msgspec.structs.replace(card, figures=evaluation.figures())
    test_result = referral.measure(evaluation, card.referral.threshold) if card.referral else None
    model_file.recard(model.path, card)
    if png is not None and card.referral:
        title = model_paths.name_of(model.path)
        plots.save(plots.risk_coverage_curve(card.risk_coverage, card.referral, title, card.positive_class), png)
    if json:
        fields = ("temperature", "calibration", "referral", "risk_coverage")
        fitted_fields = {name: getattr(card, name) for name in fields}
        console.print_json({"model": model_paths.name_of(model.path)} | fitted_fields | {"test": test_result})
    else:
        show(card, test_result)
    console.info(
        f"written into {model_paths.name_of(model.path)}: temperature, calibration, referral threshold and curve"
    )


def show(card: "ModelCard", test_result: "SelectiveFigures | None") -> None:
    """Print the result of a calibration, for validation and test."""
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.metrics import referral
    from lungcli.views.bars import bar
    from lungcli.views.figures import with_interval
    from lungcli.views.units import number

    if card.calibration is None or card.referral is None or test_result is None:
        console.warn("the split has no validation slices, so nothing was fitted; train on a split that has some")
        return
    out = console.out()
    out.print(f"temperature {card.temperature:.3f}, fitted on {card.calibration.n} validation slices")
    show_errors(card.calibration.before, card.calibration.after)
    out.print(f"\nrefer below a confidence of {card.referral.threshold:.3f} ({card.referral.target})")
    table = Table(box=None, pad_edge=False)
    for title in ("", "validation\n(fitted)", f"test ({test_result.n} slices,\n{test_result.groups} groups)"):
        table.add_column(title)
    point = referral.point_of(card.risk_coverage, card.referral)
    table.add_row("coverage", number(point.coverage), with_interval(test_result.coverage))
    table.add_row("wrong, of those not referred", number(point.risk), with_interval(test_result.risk))
    if test_result.malignant_sensitivity is not None:
        interval = with_interval(test_result.malignant_sensitivity)
        table.add_row(
            f"{console.plain(card.positive_class)} sensitivity of those", number(point.malignant_sensitivity), interval
        )
    out.print(table)
    curve = Table(title="\nrisk over coverage, validation", title_justify="left", box=None, pad_edge=False)
    for title in ("coverage", "threshold", "risk", f"{console.plain(card.positive_class)} sensitivity".strip(), ""):
        curve.add_column(title, justify="left" if not title else "right")
    for item in card.risk_coverage:
        cells = (item.coverage, item.threshold, item.risk, item.malignant_sensitivity)
        mark = "  ← chosen" if item == point else ""
        curve.add_row(*map(number, cells), bar(item.risk, _WIDTH) + mark)
    out.print(curve)
    if not referral.is_target_reached(card.risk_coverage, card.referral):
        console.warn(f"no threshold reaches {card.referral.target} on validation; this is the closest")


def show_errors(before: "CalibrationErrors", after: "CalibrationErrors") -> None:
    """Print calibration errors without and with the temperature."""
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.views.units import number

    table = Table(box=None, pad_edge=False)
    for title in ("", "ECE", "NLL", "Brier"):
        table.add_column(title, justify="right" if title else "left")
    for name, errors in (("before", before), ("with the temperature", after)):
        table.add_row(name, *map(number, (errors.ece, errors.nll, errors.brier)))
    console.out().print(table)


def show_selective(selective: "SelectiveFigures") -> None:
    """Print coverage and risk at the model's referral threshold, in two lines."""
    from lungcli.cli import console
    from lungcli.views.figures import with_interval

    lines = f"refer below {selective.threshold:.3f}: coverage {with_interval(selective.coverage)}"
    lines += f"\nwrong, of those not referred: {with_interval(selective.risk)}"
    if selective.malignant_sensitivity is not None:
        lines += (
            f", {console.plain(selective.positive_class)} sensitivity {with_interval(selective.malignant_sensitivity)}"
        )
    console.out().print(lines + "\n")


def _target(risk: float | None, sensitivity: float | None) -> "Target | None":
    from lungcli.core.errors import UsageError
    from lungcli.metrics.referral import Target

    if risk is not None and sensitivity is not None:
        raise UsageError("there are two targets, and a threshold is chosen for one", "drop one of them")
    if risk is not None:
        return Target(kind="risk", value=risk)
    return None if sensitivity is None else Target(kind="sensitivity", value=sensitivity)


def _target_of_card(card: "ModelCard") -> "Target":
    from lungcli.metrics import referral

    return referral.parse_target(card.referral.target) if card.referral else referral.DEFAULT


def _require_reached(card: "ModelCard") -> None:
    """Raise UsageError for a target that no threshold reaches, with the closest one that can be reached."""
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
        f"the closest is {value:.3f}, and the model file is unchanged",
        "train a better model first" if useless else f"use a target that can be reached: --target-{option} {within:g}",
    )
