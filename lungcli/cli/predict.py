"""`lungcli predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt

if TYPE_CHECKING:
    from lungcli.inference.predict import Failure, Prediction


def predict(
    paths: Annotated[
        list[Path], typer.Argument(metavar="PICTURE…", help="PNG, JPEG, TIFF, BMP or DICOM; folders too.")
    ],
    model: opt.Model = "",
    threads: opt.Threads = 0,
    json: opt.Json = False,
) -> None:
    """Judge pictures: verdict, calibrated probabilities, model, time. Exit code 4 if one could not be read.

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
    failed, done = False, []
    single = len(paths) == 1 and not paths[0].is_dir()
    for found in predicting.predict(paths, loaded):
        failed |= _tell(found, name, single=single, json=json)
        if json:
            done.append(found)
    if json:
        _print_json(done, name, synthetic=loaded.card.data.synthetic)
    if failed:
        raise typer.Exit(4)


def _tell(found: "Prediction | Failure", model: str, *, single: bool, json: bool) -> bool:
    """Show one outcome; return whether it is a failure."""
    from lungcli.cli import speak
    from lungcli.inference.predict import Failure

    if isinstance(found, Failure):
        speak.fail(found.reason, found.hint)
        return True
    if json:
        return False
    out = speak.out()
    chosen = found.probabilities[found.label]
    if not single:
        out.print(f"{found.label:<10} {chosen:6.1%}  {speak.plain(found.source)}", soft_wrap=True)
        return False
    out.print(f"{found.label}  {chosen:.1%}", style="bold")
    for label, probability in sorted(found.probabilities.items(), key=lambda item: -item[1]):
        bar = "█" * round(30 * probability)
        out.print(f"  {label:<10} {probability:6.1%}  {bar}")
    out.print(
        f"{speak.plain(found.source)} · {speak.plain(model)} ({found.model}) · {found.seconds * 1000:.0f} ms",
        style="dim",
        soft_wrap=True,
    )
    return False


def _print_json(done: "list[Prediction | Failure]", model: str, *, synthetic: bool) -> None:
    from lungcli.cli import speak
    from lungcli.inference.predict import Failure

    speak.print_json(
        {
            "model": model,
            "synthetic": synthetic,
            "predictions": [found for found in done if not isinstance(found, Failure)],
            "failures": [found for found in done if isinstance(found, Failure)],
        }
    )
