"""`lungcli evaluate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt
from lungcli.core.recipe import Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

    from lungcli.evaluation.external_validation import ExternalResult
    from lungcli.metrics.predictions import Evaluation
    from lungcli.modelfile.model_card import RobustnessFigures
    from lungcli.modelfile.model_file import Model

    Judged = tuple[str, str, Evaluation]


Tta = Annotated[
    bool, typer.Option("--tta", help="Average over ten views of each slice, as `lungcli predict --tta` does.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """All that one call has found; `judged` as `judging.judge` returns it."""

    model: "Model"
    judged: "list[Judged]"
    stressed: "tuple[RobustnessFigures, ...]"
    scored: "list[ExternalResult]"


def evaluate(
    spec: Annotated[str, typer.Argument(metavar="MODEL", help="Run, RUN/STAGE or .onnx file.")],
    data: Annotated[
        str, typer.Option("--data", "-d", metavar="NAME", help="The model's own data set if left out.")
    ] = "",
    split: Annotated[
        Protocol, typer.Option("--split", help="random adds the literature's protocol beside the grouped one.")
    ] = "grouped",
    stress: Annotated[
        bool, typer.Option("--stress", help="Also under other windows, kernels, doses, crops … at three strengths.")
    ] = False,
    folder_as: Annotated[
        list[str] | None,
        typer.Option("--folder-as", metavar="CLASS=DIR", help="Judge your own slices of a known class; repeatable."),
    ] = None,
    tta: Tta = False,
    save: Annotated[
        bool,
        typer.Option("--save/--no-save", help="Keep the figures of --stress and --folder-as in the model file."),
    ] = True,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw the figures of --stress.")] = None,
    reliability: Annotated[
        Path | None, typer.Option("--reliability", metavar="FILE", help="Draw the reliability diagram.")
    ] = None,
    threads: opt.Threads = 0,
    json: opt.Json = False,
) -> None:
    """Judge a model: confusion matrix, figures by class, intervals over look-alike groups, calibration.

    On the model's own data only the slices it never met count; on other data, all. --folder-as alone needs no data
    set: it judges your folders.

    \b
    Examples:
      lungcli evaluate compress-mobilenetv2-phantom --stress --png stress.png
      lungcli evaluate compress-mobilenetv2-phantom --folder-as normal=~/healthy
    """
    from lungcli.cli import console
    from lungcli.evaluation import plots

    _check_pictures(png, reliability, stress=stress)
    # Under stress and for folders many slices are under way at once: one thread each is the fastest.
    model, folders = _open(spec, folder_as or [], threads or (1 if stress or folder_as else 0), averages=tta)
    console.disclaim()
    name = data or model.card.data.name
    wanted = not folders or bool(data or stress or reliability or split == "random")
    judged = _judge(model, name, random=split == "random") if wanted else []
    stressed = _stress(model, name, judged[0][2]) if stress else ()
    found = _Found(model=model, judged=judged, stressed=stressed, scored=[_score(model, *folder) for folder in folders])
    if json:
        _print_json(found, name)
    else:
        _show(found)
    if reliability:
        plots.save(_reliability(found), reliability)
    if png:
        plots.save(_under_stress(found), png)
    if save or tta:
        _save(found)


def _check_pictures(png: Path | None, reliability: Path | None, *, stress: bool) -> None:
    from lungcli.core.errors import UsageError
    from lungcli.evaluation import plots

    plots.require_png(png)
    plots.require_png(reliability)
    if png and not stress:
        raise UsageError("--png draws the figures of --stress", "add --stress, or use --reliability FILE")


def _open(spec: str, folder_as: list[str], threads: int, *, averages: bool) -> "tuple[Model, list[tuple[str, Path]]]":
    import dataclasses

    from lungcli.evaluation import external_validation
    from lungcli.modelfile import model_file, model_paths

    model = dataclasses.replace(model_file.load(model_paths.resolve(spec), threads), averages=averages)
    return model, [external_validation.parse_label_and_folder(item, model.card.classes) for item in folder_as]


def _judge(model: "Model", name: str, *, random: bool) -> "list[Judged]":
    from lungcli.cli import progress
    from lungcli.pipeline import evaluate as judging

    with progress.preparing(f"reading {name}") as advance:
        return judging.evaluate_on(model, name, random=random, advance=advance)


def _stress(model: "Model", name: str, judged: "Evaluation") -> "tuple[RobustnessFigures, ...]":
    from lungcli.cli import progress
    from lungcli.datasets import manifest
    from lungcli.evaluation import robustness

    with progress.preparing("judging under other acquisitions") as advance:
        return robustness.evaluate_robustness(model, judged, manifest.folder(manifest.load(name).name), advance)


def _score(model: "Model", label: str, folder: Path) -> "ExternalResult":
    from lungcli.cli import progress
    from lungcli.evaluation import external_validation

    with progress.preparing(f"judging {folder}") as advance:
        return external_validation.evaluate_folder(model, label, folder, advance)


def _print_json(found: _Found, name: str) -> None:
    from lungcli.cli import console
    from lungcli.metrics import calibration, referral
    from lungcli.modelfile import model_paths
    from lungcli.modelfile import tta as views

    evaluations = []
    for title, warning, verdicts in found.judged:
        labels, probabilities, _ = verdicts.arrays()
        before = calibration.undo_temperature(probabilities, found.model.card.temperature)
        evaluations.append(
            {
                "title": title,
                "figures": verdicts.figures(),
                "classes": verdicts.classes,
                "confusion": verdicts.matrices().sum(axis=0).tolist(),
                "before_temperature": calibration.calibration_errors(before, labels),
                "reliability": calibration.reliability_bins(probabilities, labels),
                "selective": referral.measure(verdicts, found.model.card.referral.threshold)
                if found.model.card.referral
                else None,
                "warning": warning,
            }
        )
    folders = [
        {"folder": str(item.folder), "verdicts": item.predictions, "left_out": item.unreadable, "figures": item.figures}
        for item in found.scored
    ]
    console.print_json(
        {
            "model": model_paths.name_of(found.model.path),
            "data": name if found.judged else None,
            "views": views.COUNT if found.model.averages else 1,
            "evaluations": evaluations,
            "stress": found.stressed,
            "folders": folders,
        }
    )


def _show(found: _Found) -> None:
    from lungcli.cli import calibrate, console, robustness, tables
    from lungcli.metrics import calibration, referral

    for title, warning, verdicts in found.judged:
        tables.show_evaluation(verdicts, verdicts.figures(), title)
        labels, probabilities, _ = verdicts.arrays()
        before = calibration.undo_temperature(probabilities, found.model.card.temperature)
        calibrate.show_errors(
            calibration.calibration_errors(before, labels), calibration.calibration_errors(probabilities, labels)
        )
        calibrate.show_reliability(calibration.reliability_bins(probabilities, labels))
        if found.model.card.referral:
            calibrate.show_selective(referral.measure(verdicts, found.model.card.referral.threshold))
        if len(given := set(probabilities.argmax(axis=1).tolist())) == 1:
            console.warn(f"every slice is called {verdicts.classes[given.pop()]}: the model tells nothing apart")
        if warning:
            console.warn(warning)
    if found.stressed:
        robustness.show(found.stressed)
    for item in found.scored:
        robustness.show_folder(item)
    if found.model.card.data.synthetic:
        console.warn("the model learned from drawn phantoms: these figures say nothing about people")


def _reliability(found: _Found) -> "Image":
    from lungcli.evaluation import plots
    from lungcli.metrics import calibration
    from lungcli.modelfile import model_paths

    verdicts = found.judged[0][2]
    labels, probabilities, _ = verdicts.arrays()
    before = calibration.calibration_errors(
        calibration.undo_temperature(probabilities, found.model.card.temperature), labels
    )
    title = f"{model_paths.name_of(found.model.path)}, {len(labels)} slices ({verdicts.part})"
    bins, after = (
        calibration.reliability_bins(probabilities, labels),
        calibration.calibration_errors(probabilities, labels),
    )
    return plots.reliability_diagram(bins, title, before, after)


def _under_stress(found: _Found) -> "Image":
    from lungcli.evaluation import plots
    from lungcli.modelfile import model_paths

    verdicts = found.judged[0][2]
    rested = f"{len(verdicts.slices)} slices of {len(set(verdicts.groups))} look-alike groups ({verdicts.part})"
    return plots.robustness(found.stressed, f"{model_paths.name_of(found.model.path)}, {rested}")


def _save(found: _Found) -> None:
    """Keep what was asked for in the model file, and say what was written and what was not."""
    from lungcli.cli import console
    from lungcli.core.errors import LungcliError
    from lungcli.modelfile import model_paths
    from lungcli.modelfile import tta as views
    from lungcli.pipeline import evaluate as judging

    if found.model.averages:
        console.info(f"probabilities are {views.RULE}; nothing of it is written into the model file")
        console.info("`before` is that mean with the temperature undone, which is nearly the mean without it")
        return

    path = found.model.path
    name = model_paths.name_of(path)
    if name == model_paths.BUNDLED:
        console.info("the bundled model's file is left as it came; to keep figures, copy it and name the copy")
        return
    try:
        if found.judged and judging.save_figures(path, found.judged[0][2]):
            console.info(f"written into {name}: the figures of its test part, which it had none of (--no-save: not)")
        if found.stressed and judging.save_robustness(path, found.judged[0][2], found.stressed):
            console.info(f"written into {name}: the figures under stress (--no-save leaves the file alone)")
        elif found.stressed:
            console.info(f"not written into {name}: the figures under stress, which are not of its own test part")
        if found.scored:
            judging.save_external(path, [item.figures for item in found.scored])
            console.info(f"written into {name}: the figures of your folders, without their names (--no-save: not)")
    except LungcliError as error:
        # The figures stand on the screen; a model file that others own is no reason to fail.
        console.warn(f"the figures are not kept in the model file: {error.message}")
