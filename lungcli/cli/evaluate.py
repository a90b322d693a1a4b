"""`lungcli evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lungcli.cli import calibrate, console, options
from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.recipe import Drawn

if TYPE_CHECKING:
    from PIL.Image import Image

    from lungcli.evaluation.external_validation import ExternalResult
    from lungcli.metrics.calibration import CalibrationErrors
    from lungcli.metrics.predictions import Evaluation
    from lungcli.modelfile.model_card import RobustnessFigures
    from lungcli.modelfile.model_file import Model

    Titled = tuple[str, str, Evaluation]


Tta = Annotated[
    bool, options.in_panel("Net", "Average ten views of each slice, as `lungcli predict --tta` does.", "--tta")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Results:
    """The results of one call; `evaluations` as `_judge` returns them."""

    model: "Model"
    evaluations: "list[Titled]"
    stress_figures: "tuple[RobustnessFigures, ...]"
    folder_results: "list[ExternalResult]"


Stress = Annotated[
    bool,
    options.in_panel(
        "Data", "Also evaluate under other windows, kernels, doses and crops, at three strengths.", "--stress"
    ),
]
Reliability = Annotated[
    Path | None, options.in_panel("Output", "Draw the reliability diagram.", "--reliability", metavar="FILE")
]

Spec = Annotated[str, options.model_argument("Run, RUN/STAGE, .onnx file; NAME of NAME-fold1, …")]
Data = Annotated[str, options.data_option("The model's own data set if left out.")]
Split = Annotated[
    Drawn, options.in_panel("Data", "random: also evaluate on a random split, as in the literature.", "--split")
]
FolderAs = Annotated[
    list[str] | None,
    options.in_panel(
        "Data", "Evaluate on your own slices of a known class; repeatable.", "--folder-as", metavar="CLASS=DIR"
    ),
]
Save = Annotated[
    bool,
    options.in_panel("Output", "Store the figures of --stress and --folder-as in the model file.", "--save/--no-save"),
]
Png = Annotated[Path | None, options.in_panel("Output", "Draw the figures of --stress.", "--png", metavar="FILE")]


def evaluate(
    spec: Spec,
    data: Data = "",
    split: Split = "grouped",
    stress: Stress = False,
    folder_as: FolderAs = None,
    tta: Tta = False,
    save: Save = True,
    png: Png = None,
    reliability: Reliability = None,
    threads: options.Threads = 0,
    json: options.Json = False,
) -> None:
    """Evaluate a model: figures with intervals, calibration.

    On the model's own data set only its test part is used; on another data set, all slices that it was not trained on.
    --folder-as alone needs no data set. The folds of a cross-validation are pooled, as when they were trained.

    \b
    Examples:
      lungcli evaluate compress-mobilenetv2-phantom --stress --png stress.png
      lungcli evaluate compress-mobilenetv2-phantom --folder-as normal=~/healthy
    """
    from lungcli.pipeline import stages

    _check_pictures(png, reliability, stress=stress)
    if _showed_folds(spec, alone=not (data or stress or folder_as or tta or png or reliability), json=json):
        return
    # With --stress and --folder-as many slices are predicted at once: one thread each is the fastest.
    model, folders = _open(spec, folder_as or [], threads or (1 if stress or folder_as else 0), averages=tta)
    console.disclaim()
    wanted = not folders or bool(data or stress or reliability or split == "random")
    name = stages.recipe_on(model.card, data).data if wanted else ""
    evaluations = _judge(model, name, random=split == "random") if wanted else []
    stress_figures = _stress(model, name, evaluations[0][2]) if stress else ()
    scored = [_score(model, *folder) for folder in folders]
    results = _Results(model=model, evaluations=evaluations, stress_figures=stress_figures, folder_results=scored)
    if json:
        _print_json(results, name)
    else:
        _show(results)
    _draw(results, reliability, png)
    if save or tta:
        _save(results)


def _showed_folds(spec: str, *, alone: bool, json: bool) -> bool:
    """Show the pooled results of a cross-validation; return whether `spec` names one."""
    from lungcli.cli import cross_validation
    from lungcli.pipeline.pooling import folds_of, pool

    folds = folds_of(spec)
    if not folds:
        return False
    if not alone:
        raise UsageError(
            f"{spec} has {len(folds)} folds, each with models of its own", f"name one of them: {folds[0].name}"
        )
    console.disclaim()
    pooled = pool(folds)
    if json:
        console.print_json(pooled)
    else:
        cross_validation.show(pooled)
    return True


def _draw(results: _Results, reliability: Path | None, png: Path | None) -> None:
    from lungcli.evaluation import plots

    if reliability:
        plots.save(_reliability(results), reliability)
    if png:
        plots.save(_under_stress(results), png)


def _check_pictures(png: Path | None, reliability: Path | None, *, stress: bool) -> None:
    from lungcli.evaluation import plots

    plots.require_png(png)
    plots.require_png(reliability)
    if png and not stress:
        raise UsageError(
            "--png draws the figures of --stress, which is not given", "add --stress, or use --reliability FILE"
        )


def _open(spec: str, folder_as: list[str], threads: int, *, averages: bool) -> "tuple[Model, list[tuple[str, Path]]]":
    import dataclasses

    from lungcli.evaluation import external_validation
    from lungcli.modelfile import model_file, model_paths

    model = dataclasses.replace(model_file.load(model_paths.resolve(spec), threads), averages=averages)
    return model, [external_validation.parse_label_and_folder(item, model.card.classes) for item in folder_as]


def _judge(model: "Model", name: str, *, random: bool) -> "list[Titled]":
    from lungcli.cli import progress
    from lungcli.pipeline import evaluate

    with progress.preparing(f"reading {name}") as advance:
        return evaluate.evaluate_on(model, name, random=random, advance=advance)


def _stress(model: "Model", name: str, evaluation: "Evaluation") -> "tuple[RobustnessFigures, ...]":
    from lungcli.cli import progress
    from lungcli.datasets import manifest
    from lungcli.evaluation import robustness

    with progress.preparing("evaluating under other acquisitions") as advance:
        return robustness.evaluate_robustness(model, evaluation, manifest.folder(manifest.load(name).name), advance)


def _score(model: "Model", label: str, folder: Path) -> "ExternalResult":
    from lungcli.cli import progress
    from lungcli.pipeline import external_validation

    with progress.preparing(f"evaluating {folder}") as advance:
        return external_validation.evaluate_folder(model, label, folder, advance)


def _print_json(results: _Results, name: str) -> None:
    from lungcli.metrics import calibration, institutions, operating_point, referral
    from lungcli.modelfile import model_paths, tta

    reports = []
    for title, warning, evaluation in results.evaluations:
        labels, probabilities, _ = evaluation.arrays()
        reports.append(
            {
                "title": title,
                "figures": evaluation.figures(),
                "operating_point": operating_point.measure(evaluation),
                "institutions": institutions.by_institution(evaluation),
                "classes": evaluation.classes,
                "confusion": evaluation.matrices().sum(axis=0).tolist(),
                "before_temperature": _calibration_errors(results, evaluation)[0],
                "reliability": calibration.reliability_bins(probabilities, labels),
                "selective": referral.measure(
                    evaluation, results.model.card.referral.threshold, results.model.card.rule
                )
                if results.model.card.referral
                else None,
                "warning": warning,
            }
        )
    folders = [
        {
            "folder": str(item.folder),
            "verdicts": item.predictions,
            "left_out": item.unreadable,
            "seen": item.seen,
            "figures": item.figures,
        }
        for item in results.folder_results
    ]
    console.print_json(
        {
            "model": model_paths.name_of(results.model.path),
            "data": name if results.evaluations else None,
            "views": tta.COUNT if results.model.averages else 1,
            "evaluations": reports,
            "stress": results.stress_figures,
            "folders": folders,
        }
    )


def _show(results: _Results) -> None:
    from lungcli.cli import robustness
    from lungcli.metrics import institutions, operating_point, referral
    from lungcli.views.evaluation import SYNTHETIC, confusion, figures_table, reliability
    from lungcli.views.institutions import table as institutions_table

    for title, warning, evaluation in results.evaluations:
        console.out().print(confusion(evaluation, title), figures_table(evaluation.figures()), "", sep="\n")
        calibrate.show_errors(*_calibration_errors(results, evaluation))
        console.out().print(reliability(evaluation))
        if (point := results.model.card.operating_point) and (findings := operating_point.measure(evaluation)):
            calibrate.show_operating_point(point, results.model.card.chosen_on, findings)
        if figures := institutions.by_institution(evaluation):
            console.out().print(institutions_table(figures, title), "", sep="\n")
        if results.model.card.referral:
            calibrate.show_selective(
                referral.measure(evaluation, results.model.card.referral.threshold, results.model.card.rule)
            )
        if len(classes := set(evaluation.arrays()[1].argmax(axis=1).tolist())) == 1:
            console.warn(
                f"every slice is predicted {evaluation.classes[classes.pop()]}: the model cannot tell classes apart"
            )
        if warning:
            console.warn(warning)
    if results.stress_figures:
        robustness.show(results.stress_figures, results.model.card.positive_class)
    for item in results.folder_results:
        robustness.show_folder(item, results.model.card.positive_class)
    if results.model.card.data.synthetic:
        console.warn(SYNTHETIC)


def _reliability(results: _Results) -> "Image":
    from lungcli.evaluation import plots
    from lungcli.metrics import calibration
    from lungcli.modelfile import model_paths

    evaluation = results.evaluations[0][2]
    labels, probabilities, _ = evaluation.arrays()
    title = f"{model_paths.name_of(results.model.path)}, {len(labels)} slices ({evaluation.part})"
    bins = calibration.reliability_bins(probabilities, labels)
    return plots.reliability_diagram(bins, title, *_calibration_errors(results, evaluation))


def _calibration_errors(results: _Results, evaluation: "Evaluation") -> "tuple[CalibrationErrors, CalibrationErrors]":
    """Return the calibration errors without the model's temperature, and with it."""
    from lungcli.metrics import calibration

    labels, probabilities, _ = evaluation.arrays()
    before = calibration.undo_temperature(probabilities, results.model.card.temperature)
    return calibration.calibration_errors(before, labels), calibration.calibration_errors(probabilities, labels)


def _under_stress(results: _Results) -> "Image":
    from lungcli.evaluation import plots
    from lungcli.modelfile import model_paths
    from lungcli.views.evaluation import rests_on

    evaluation = results.evaluations[0][2]
    about = rests_on(len(evaluation.slices), len(set(evaluation.groups)), evaluation.part)
    title = f"{model_paths.name_of(results.model.path)}, {about}"
    return plots.robustness(results.stress_figures, title, results.model.card.positive_class)


def _save(results: _Results) -> None:
    """Store the figures in the model file, and report what was written and what was not."""
    from lungcli.modelfile import model_paths, tta
    from lungcli.pipeline import evaluate

    if results.model.averages:
        console.info(f"probabilities are {tta.RULE}; these figures are not written into the model file")
        console.info("`before` is that mean with the temperature undone, close to the mean without temperature")
        return

    path = results.model.path
    name = model_paths.name_of(path)
    if name == model_paths.BUNDLED:
        console.info("the bundled model file is not changed; to store figures, copy it and evaluate the copy")
        return
    try:
        if results.evaluations and evaluate.save_figures(path, results.evaluations[0][2]):
            console.info(f"written into {name}: the figures of its test part (--no-save leaves the file alone)")
        if results.stress_figures and evaluate.save_robustness(path, results.evaluations[0][2], results.stress_figures):
            console.info(f"written into {name}: the figures under stress (--no-save leaves the file alone)")
        elif results.stress_figures:
            console.info(f"not written into {name}: the figures under stress, as they are not of its own test part")
        if results.folder_results:
            evaluate.save_external(path, [item.figures for item in results.folder_results])
            console.info(f"written into {name}: the figures of your folders, without their names (--no-save to skip)")
    except LungcliError as error:
        # The figures are shown; a model file that cannot be written to is no reason to fail.
        console.warn(f"the figures are not stored in the model file: {error.message}")
