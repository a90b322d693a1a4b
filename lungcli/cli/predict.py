"""`lungcli predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt

if TYPE_CHECKING:
    from lungcli.inference.predict import Outcome, Prediction, Refusal

UNJUDGED, REFERRED = 4, 6


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PICTURE…", help="PNG, JPEG, TIFF, BMP or DICOM; folders too.")
    ],
    model: opt.Model = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit code 6 when a verdict is referred.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Judge what is no axial lung slice too, marked.")] = False,
    threads: opt.Threads = 0,
    json: opt.Json = False,
) -> None:
    """Judge pictures: verdict, calibrated probabilities, model, time.

    What is no axial lung CT slice is refused. What the model is not sure of, or what was acquired unlike the slices
    it learned from, is referred to a radiologist. Exit code 4 if a picture could not be read or was refused.

    \b
    Example: lungcli predict scan.png
    """
    from lungcli.cli import speak
    from lungcli.core import models
    from lungcli.inference import modelfile
    from lungcli.inference import predict as predicting

    loaded = modelfile.load(models.resolve(model) if model else models.default(), threads)
    name = models.name_of(loaded.path)
    speak.disclaim()
    if loaded.card.data.synthetic:
        speak.warn(f"{name} learned from drawn phantoms: its verdicts say nothing about people")
    codes, done = set(), []
    single = len(paths) == 1 and not paths[0].is_dir()
    for found in predicting.predict(paths, loaded, force=force):
        codes.add(_tell(found, name, single=single, json=json))
        if json:
            done.append(found)
    if json:
        _print_json(done, name, synthetic=loaded.card.data.synthetic)
    if UNJUDGED in codes:
        raise typer.Exit(UNJUDGED)
    if strict and REFERRED in codes:
        raise typer.Exit(REFERRED)


def _tell(found: "Outcome", model: str, *, single: bool, json: bool) -> int:
    """Show one outcome; return its exit code."""
    from lungcli.cli import speak
    from lungcli.inference.predict import Failure, Refusal

    if isinstance(found, Failure):
        speak.fail(found.reason, found.hint)
        return UNJUDGED
    if isinstance(found, Refusal):
        _tell_refusal(found)
        return UNJUDGED
    if not json and single:
        _show_one(found, model)
    elif not json:
        chosen = found.probabilities[found.label]
        note = f"  ({_note(found)})" if found.referred else ""
        speak.out().print(f"{found.label:<10} {chosen:6.1%}  {speak.plain(found.source)}{note}", soft_wrap=True)
    return REFERRED if found.referred else 0


def _tell_refusal(found: "Refusal") -> None:
    from lungcli.cli import speak

    speak.fail(
        f"no verdict on {found.source}: not an axial lung CT slice ({found.reason}; score {found.score:.2f}, limit 1)",
        "judge it all the same, marked: --force",
    )


def _note(found: "Prediction") -> str:
    forced = "forced, not an axial lung CT slice; " if found.forced else ""
    return f"{forced}referred to a radiologist: {found.reason}"


def _show_one(found: "Prediction", model: str) -> None:
    from lungcli.cli import speak

    out = speak.out()
    out.print(f"{found.label}  {found.probabilities[found.label]:.1%}", style="bold")
    for label, probability in sorted(found.probabilities.items(), key=lambda item: -item[1]):
        bar = "█" * round(30 * probability)
        out.print(f"  {label:<10} {probability:6.1%}  {bar}")
    if found.referred:
        out.print(_note(found), style="bold yellow", soft_wrap=True)
    out.print(
        f"{speak.plain(found.source)} · {speak.plain(model)} ({found.model}) · {found.seconds * 1000:.0f} ms",
        style="dim",
        soft_wrap=True,
    )


def _print_json(done: "list[Outcome]", model: str, *, synthetic: bool) -> None:
    from lungcli.cli import speak
    from lungcli.inference.predict import Failure, Prediction, Refusal

    speak.print_json(
        {
            "model": model,
            "synthetic": synthetic,
            "predictions": [found for found in done if isinstance(found, Prediction)],
            "refusals": [found for found in done if isinstance(found, Refusal)],
            "failures": [found for found in done if isinstance(found, Failure)],
        }
    )
