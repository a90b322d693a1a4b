"""`lungcli quantize`."""

from pathlib import Path
from typing import Annotated

import typer


def quantize(
    spec: Annotated[str, typer.Argument(metavar="RUN|FILE", help="A float model.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write.")] = None,
    data: Annotated[str, typer.Option("--data", "-d", metavar="NAME", help="The model's own data set.")] = "",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing file.")] = False,
) -> None:
    """Make an int8 file of a float model, calibrated on training slices, and prove that it is int8.

    \b
    Example: lungcli quantize train-resnet18-phantom
    """
    import msgspec

    from lungcli import stages
    from lungcli.cli import progress, speak
    from lungcli.core import models, words
    from lungcli.core.errors import UsageError
    from lungcli.inference import modelfile

    source = models.resolve(spec)
    card = modelfile.read_card(source)
    if card.precision == "int8":
        raise UsageError(f"{spec} is int8 already", "name a float model, as in RUN/student")
    to = output or source.with_name(f"{source.stem}.int8.onnx")
    if to.exists() and not overwrite:
        raise UsageError(f"{to} is there already", "add --overwrite, or choose another --output")
    speak.disclaim()
    recipe = msgspec.structs.replace(card.recipe, data=data or card.data.name, size=card.size)
    with progress.preparing(f"reading {recipe.data}") as advance:
        found = stages.material(recipe, advance)
    made = stages.to_int8(source, to, found)
    speak.say(stages.proof_in_words(made))
    speak.say(f"{words.size(source.stat().st_size)} → {words.size(to.stat().st_size)}")
    speak.out().print(speak.plain(to), soft_wrap=True)
    speak.say(f"next: lungcli benchmark '{spec}' '{to}'")
