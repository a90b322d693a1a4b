"""`lungcli evaluate`."""

from typing import Annotated

import typer

from lungcli.cli import options as opt
from lungcli.core.recipe import Protocol


def evaluate(
    spec: Annotated[str, typer.Argument(metavar="MODEL", help="Run, RUN/STAGE or .onnx file.")],
    data: Annotated[
        str, typer.Option("--data", "-d", metavar="NAME", help="The model's own data set if left out.")
    ] = "",
    split: Annotated[
        Protocol, typer.Option("--split", help="random adds the literature's protocol beside the grouped one.")
    ] = "grouped",
    threads: opt.Threads = 0,
    json: opt.Json = False,
) -> None:
    """Judge a model: confusion matrix, figures by class, intervals over look-alike groups.

    On the model's own data only the slices it never met count; on other data, all.

    \b
    Example: lungcli evaluate compress-mobilenetv2-phantom --data phantom
    """
    from lungcli import stages
    from lungcli.cli import progress, speak, tables
    from lungcli.core import models
    from lungcli.inference import modelfile

    model = modelfile.load(models.resolve(spec), threads)
    name = data or model.card.data.name
    speak.disclaim()
    with progress.preparing(f"reading {name}") as advance:
        judged = stages.judge(model, name, random=split == "random", advance=advance)
    if json:
        speak.print_json(
            {
                "model": models.name_of(model.path),
                "data": name,
                "evaluations": [
                    {
                        "title": title,
                        "figures": found.figures(),
                        "classes": found.classes,
                        "confusion": found.matrices().sum(axis=0).tolist(),
                        "warning": warning,
                    }
                    for title, warning, found in judged
                ],
            }
        )
        return
    for title, warning, found in judged:
        tables.show_evaluation(found, found.figures(), title)
        if warning:
            speak.warn(warning)
    if model.card.data.synthetic:
        speak.warn("the model learned from drawn phantoms: these figures say nothing about people")
