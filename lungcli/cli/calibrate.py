"""`lungcli calibrate`, and tables of calibration and referral."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lungcli.cli import console, options
from lungcli.core import package_data
from lungcli.core.errors import UsageError
from lungcli.views.figures import with_interval
from lungcli.views.units import number

if TYPE_CHECKING:
    from lungcli.metrics.calibration import CalibrationErrors
    from lungcli.metrics.operating_point import OperatingFigures, OperatingPoint, OperatingTarget
    from lungcli.metrics.referral import SelectiveFigures, Target
    from lungcli.modelfile.model_card import ModelCard
    from lungcli.modelfile.model_file import Model
    from lungcli.pipeline.stages import RunData

_WIDTH = 20
_SHARE = {"min": 0, "max": 1}
_FITTED = (
    "temperature",
    "calibration",
    "operating_point",
    "reliability",
    "separability",
    "referral",
    "risk_coverage",
    "chosen_on",
)


TargetSpecificity = Annotated[
    float | None,
    options.in_panel(
        "Operating point",
        "Least specificity of findings; the most sensitive point that has it.",
        "--target-specificity",
        **_SHARE,
    ),
]
TargetSensitivity = Annotated[
    float | None,
    options.in_panel(
        "Operating point",
        "Least sensitivity of findings; the most specific point that has it.",
        "--target-sensitivity",
        **_SHARE,
    ),
]
TargetRisk = Annotated[
    float | None,
    options.in_panel(
        "Referral", "Largest share of wrong findings among slices that are not referred.", "--target-risk", **_SHARE
    ),
]
Output = Annotated[
    Path | None,
    options.in_panel(
        "Output", "Write a calibrated copy; the model file stays as it is.", "--output", "-o", metavar="FILE"
    ),
]

Spec = Annotated[str, options.model_argument("Run, RUN/STAGE or .onnx file.")]
Data = Annotated[str, options.data_option("The model's own data set.")]
Png = Annotated[Path | None, options.in_panel("Output", "Draw the risk–coverage curve.", "--png", metavar="FILE")]


def calibrate(
    spec: Spec,
    specificity: TargetSpecificity = None,
    sensitivity: TargetSensitivity = None,
    risk: TargetRisk = None,
    data: Data = "",
    output: Output = None,
    png: Png = None,
    threads: options.Threads = 0,
    json: options.Json = False,
) -> None:
    """Fit temperature, operating point and referral threshold.

    All are fitted on validation slices and stored in the model file. Without a target, a final fit keeps what was
    chosen on institutions left out. The operating point is the least probability that makes a slice suspicious;
    without a target it keeps a specificity of 0.95 with data of several institutions, else of 0.9. The referral
    threshold is the smallest that halves the errors, and refers at most two fifths of the slices.
    The test part, where there is one, is evaluated, never fitted on.

    \b
    Example: lungcli calibrate compress-mobilenetv2-phantom --target-sensitivity 0.95
    """
    import dataclasses

    from lungcli.cli import progress
    from lungcli.evaluation import plots
    from lungcli.modelfile import model_file, model_paths
    from lungcli.pipeline import stages

    plots.require_png(png)
    path = model_paths.resolve(spec)
    _require_writable(path, output)
    model = model_file.load(path, threads)
    referral_target, operating_target = _targets(risk, specificity, sensitivity)
    console.disclaim()
    recipe = stages.recipe_on(model.card, data)
    with progress.preparing(f"reading {recipe.data}") as advance:
        run_data = stages.load_run_data(recipe, advance)
    card = stages.calibrated_card(model, run_data, referral_target=referral_target, operating_target=operating_target)
    _require_reached(card, referral_target, operating_target)
    card, test_result, findings = _on_test_part(dataclasses.replace(model, card=card), run_data)
    model_file.write(path, card, output or path)
    if png is not None and card.referral:
        title = model_paths.name_of(path)
        curve = plots.risk_coverage_curve(card.risk_coverage, card.referral, title, card.positive_class, card.chosen_on)
        plots.save(curve, png)
    if json:
        fitted = {"model": model_paths.name_of(path)} | {name: getattr(card, name) for name in _FITTED}
        console.print_json(fitted | {"test": test_result, "test_operating_point": findings})
    else:
        show(card, test_result)
        if card.operating_point:
            show_operating_point(card.operating_point, card.chosen_on, findings)
    if card.chosen_on != "validation slices":
        console.info("kept as institutions left out decided; with a target, it is fitted on validation slices")
    console.info(f"written into {output or model_paths.name_of(path)}: temperature, operating point and referral")


def _on_test_part(
    model: "Model", run_data: "RunData"
) -> "tuple[ModelCard, SelectiveFigures | None, OperatingFigures | None]":
    """Return the card with its figures on the test part, and what referral and operating point give there.

    Both are None for a final fit, which has no test part.
    """
    from lungcli.evaluation import evaluate
    from lungcli.metrics import operating_point, referral

    card = model.card
    if not run_data.split.test:
        return card, None, None
    evaluation = run_data.evaluate(model, "test")
    if card.figures is not None:
        card = evaluate.with_figures(card, evaluation)
    test_result = referral.measure(evaluation, card.referral.threshold, card.rule) if card.referral else None
    return card, test_result, operating_point.measure(evaluation)


def show_operating_point(point: "OperatingPoint", chosen_on: str, findings: "OperatingFigures | None") -> None:
    """Print an operating point with what it gave on the slices `chosen_on`, and gives on those evaluated, if any."""
    lines = [
        f"suspicious from a probability of {point.threshold:.3f} ({point.target} on {chosen_on}: "
        f"sensitivity {number(point.sensitivity)}, specificity {number(point.specificity)})"
    ]
    if findings:
        lines.append(
            f"sensitivity {with_interval(findings.sensitivity)}, specificity {with_interval(findings.specificity)}"
        )
    console.out().print("\n".join([*lines, ""]))


def show(card: "ModelCard", test_result: "SelectiveFigures | None") -> None:
    """Print the result of a calibration, for validation and, where there is a test part, for that."""
    from lungcli.metrics import referral
    from lungcli.views import text_table
    from lungcli.views.bars import bar

    if card.calibration is None or card.referral is None:
        console.warn("the split has no validation slices, so nothing was fitted; train on a split that has some")
        return
    out = console.out()
    out.print(f"temperature {card.temperature:.3f}, fitted on {card.calibration.n} {card.chosen_on}")
    show_errors(card.calibration.before, card.calibration.after)
    out.print(f"\nrefer below a confidence of {card.referral.threshold:.3f} ({card.referral.target})")
    point, positive = referral.point_of(card.risk_coverage, card.referral), console.plain(card.positive_class)
    headings = ["", f"{card.chosen_on}\n(fitted)"]
    if test_result:
        headings.append(f"test ({test_result.n} slices,\n{test_result.groups} groups)")
    rows = [
        (name, number(fitted), *([with_interval(tested)] if tested else []))
        for name, fitted, tested in (
            ("coverage", point.coverage, test_result and test_result.coverage),
            ("wrong, of those not referred", point.risk, test_result and test_result.risk),
            (f"{positive} sensitivity of those", point.sensitivity, test_result and test_result.sensitivity),
        )
        if fitted is not None
    ]
    out.print(text_table.grid(headings, rows))
    columns = ("coverage", "threshold", "risk", f"{positive} sensitivity".strip())
    curve = text_table.grid(columns, (), 0, f"\nrisk over coverage, {card.chosen_on}")
    curve.add_column("")
    for item in card.risk_coverage:
        cells = (item.coverage, item.threshold, item.risk, item.sensitivity)
        mark = "  ← chosen" if item == point else ""
        curve.add_row(*map(number, cells), bar(item.risk, _WIDTH) + mark)
    out.print(curve)
    if not referral.is_target_reached(card.risk_coverage, card.referral):
        console.warn(f"no threshold reaches {card.referral.target} on {card.chosen_on}; this is the closest")


def show_errors(before: "CalibrationErrors", after: "CalibrationErrors") -> None:
    """Print calibration errors without and with the temperature."""
    from lungcli.views import text_table

    rows = [
        (name, *map(number, (errors.ece, errors.nll, errors.brier)))
        for name, errors in (("before", before), ("with the temperature", after))
    ]
    console.out().print(text_table.grid(("", "ECE", "NLL", "Brier"), rows, 1))


def show_selective(selective: "SelectiveFigures") -> None:
    """Print coverage and risk at the model's referral threshold, in two lines."""
    lines = f"refer below {selective.threshold:.3f}: coverage {with_interval(selective.coverage)}"
    lines += f"\nwrong, of those not referred: {with_interval(selective.risk)}"
    if selective.sensitivity is not None:
        lines += f", {console.plain(selective.positive_class)} sensitivity {with_interval(selective.sensitivity)}"
    console.out().print(lines + "\n")


def _targets(
    risk: float | None, specificity: float | None, sensitivity: float | None
) -> "tuple[Target | None, OperatingTarget | None]":
    from lungcli.metrics.operating_point import OperatingTarget
    from lungcli.metrics.referral import Target

    if specificity is not None and sensitivity is not None:
        raise UsageError("there are two targets, and an operating point keeps one", "drop one of them")
    referral_target = None if risk is None else Target(kind="risk", value=risk)
    if specificity is not None:
        return referral_target, OperatingTarget(kind="specificity", value=specificity)
    return referral_target, None if sensitivity is None else OperatingTarget(kind="sensitivity", value=sensitivity)


def _require_writable(path: Path, output: Path | None) -> None:
    """Raise UsageError where the model file belongs to the installed package, or `output` is there already."""
    if output is None and path == package_data.MODEL:
        raise UsageError("the bundled model is part of the installation", "write a copy: --output FILE")
    if output is not None and output.exists():
        raise UsageError(f"{output} is there already", "choose another name, or remove it first")


def _require_reached(card: "ModelCard", risk: "Target | None", operating: "OperatingTarget | None") -> None:
    """Raise UsageError for a target that no threshold reaches; of a risk, with the closest one that can be reached."""
    from lungcli.metrics import referral

    if operating and card.operating_point is None:
        raise UsageError(
            f"no operating point with {operating} is better than chance; the model file is unchanged",
            "ask for less, or train a better model first",
        )
    if risk is None or card.referral is None or referral.is_target_reached(card.risk_coverage, card.referral):
        return
    nearest = referral.point_of(card.risk_coverage, card.referral).risk
    within = math.ceil(nearest * 1000) / 1000
    raise UsageError(
        f"no threshold that keeps three fifths of the {card.chosen_on} reaches {card.referral.target}; "
        f"the closest is {nearest:.3f}, and the model file is unchanged",
        "train a better model first" if within >= 1 else f"use a target that can be reached: --target-risk {within:g}",
    )
