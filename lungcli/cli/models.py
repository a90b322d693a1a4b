"""`lungcli models`."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lungcli.cli import complete, console, help_pages, options
from lungcli.core import names, paths, registry
from lungcli.core.errors import UsageError

if TYPE_CHECKING:
    from lungcli.modelfile.adopt import Adopted

# As `modelfile.foreign_net` and the recipe have them: neither is loaded for help.
Resize = Literal["lungs", "stretch", "crop"]
Scale = Literal["0..1", "0..255", "imagenet"]
Layout = Literal["NCHW", "NHWC"]
Activation = Literal["logits", "softmax", "sigmoid"]

# What an adopted net takes or gives.
_of_net = functools.partial(options.in_panel, "Net")

app = help_pages.App(name="models", help="Nets to train, and model files on this machine.")


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List the nets, and the model files on this machine.

    ImageNet: pretrained weights exist. int8: `loses` where quantization costs more than usual. CAM: the model file also
    gives class activation maps.
    """
    from lungcli.modelfile import model_paths
    from lungcli.views.units import size

    files = model_paths.files()
    if json:
        nets = [
            {
                "name": net.name,
                "about": net.about,
                "millions": net.millions,
                "pretrained": net.pretrained,
                "int8": net.quantizable,
                "class_activation_map": net.evidence,
                "prunable": net.prunable,
            }
            for net in registry.NETS.values()
        ]
        console.print_json({"nets": nets, "files": {name: str(path) for name, path in files.items()}})
        return
    console.print_table(
        ("net", "parameters", "ImageNet", "int8", "CAM", "prune", "about"),
        [
            (
                net.name,
                f"{net.millions:.1f} M",
                *("yes" if net.pretrained else "–", net.quantizable),
                *("yes" if supported else "–" for supported in (net.evidence, net.prunable)),
                net.about,
            )
            for net in registry.NETS.values()
        ],
    )
    console.out().print()
    if not files:
        console.info("there are no model files yet; train one: lungcli compress --student mobilenetv2")
        return
    rows = [(console.plain(name), size(path.stat().st_size), console.plain(path)) for name, path in files.items()]
    console.print_table(("model file", "size", "path"), rows)


@app.command()
def card(
    spec: Annotated[str, typer.Argument(metavar="MODEL", autocompletion=complete.models)],
    form: Annotated[
        Literal["json", "hf"], typer.Option("--format", help="hf: README.md for the Hugging Face Hub.")
    ] = "json",
) -> None:
    """Print the card of a model file.

    \b
    Example:
      lungcli models card bundled --format hf > README.md
    """
    from lungcli.export import hugging_face
    from lungcli.modelfile import model_file, model_paths

    path = model_paths.resolve(spec)
    card = model_file.read_card(path)
    if form == "hf":
        console.print_text(hugging_face.readme(card, model_paths.name_of(path).replace("/", "-")))
    else:
        console.print_json(card)


def _floats(text: str) -> tuple[float, ...] | None:
    """Read `0.5` or `0.485,0.456,0.406`; None for nothing. Raises UsageError."""
    try:
        return tuple(float(part) for part in text.split(",")) if text else None
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of numbers", "for example: --mean 0.485,0.456,0.406") from error


@app.command()
def adopt(
    source: Annotated[Path, typer.Argument(metavar="FILE", help="ONNX classifier, or weights (.safetensors, .pt).")],
    name: Annotated[str, options.in_panel("Output", "What to call it here.", "--name", metavar="NAME")],
    classes: Annotated[str, _of_net("Class names in the order of its output.", "--classes", metavar="A,B,C")] = "",
    resize: Annotated[
        Resize | None, _of_net("What of a slice it sees: all, the middle, the lungs.", "--resize")
    ] = None,
    scale: Annotated[Scale | None, _of_net("Greys it takes; imagenet: less mean, by deviation.", "--scale")] = None,
    mean: Annotated[str, _of_net("Or: subtracted from greys in 0..1.", "--mean", metavar="X[,X,X]")] = "",
    std: Annotated[str, _of_net("And what they are divided by then.", "--std", metavar="X[,X,X]")] = "",
    size: Annotated[int | None, _of_net("Side of its input.", "--size", metavar="PIXELS")] = None,
    channels: Annotated[int | None, _of_net("Channels of its input.", "--channels", metavar="1|3")] = None,
    layout: Annotated[Layout | None, _of_net("Order of its input.", "--layout")] = None,
    activation: Annotated[Activation | None, _of_net("What it gives.", "--activation")] = None,
    output: Annotated[str, _of_net("Which of several outputs.", "--output", metavar="TENSOR")] = "",
    net: Annotated[str, _of_net("Net of timm that weights are of (extra `timm`).", "--net", metavar="NAME")] = "",
    overwrite: Annotated[bool, options.in_panel("Output", "Replace the model of that name.", "--overwrite")] = False,
    json: options.Json = False,
) -> None:
    """Adopt a classifier from elsewhere.

    Makes a model file of it that all commands take, and checks that both predict the same. What neither the file nor a
    config.json of the Hugging Face Hub beside it says, and running it does not show, must be said. Weights are those of
    a net of `models list` or of timm. Its training data is unknown: it may have seen any slice.

    \b
    Examples:
      lungcli models adopt net.onnx --name mine --classes benign,malignant,normal \\
        --scale imagenet --resize stretch
      lungcli predict scan.png --model mine
      lungcli quantize mine --data iqothnccd
    """
    from lungcli.modelfile import adopt, foreign_net
    from lungcli.pipeline import adopt_weights

    typed = foreign_net.Conventions(
        layout=layout,
        channels=channels,
        size=size,
        mean=_floats(mean),
        std=_floats(std),
        resize=resize,
        classes=tuple(part.strip() for part in classes.split(",")) if classes else None,
        activation=activation,
    )
    if scale:
        typed = foreign_net.with_scale(typed, scale)
    to = adopt.free_name(name, overwrite=overwrite)
    if source.suffix in adopt_weights.SUFFIXES:
        adopted = adopt_weights.adopt_weights(source, to, typed, net)
    else:
        adopted = adopt.adopt(source, to, typed, output)
    _show_adopted(adopted, source, name, json=json)


def _show_adopted(adopted: "Adopted", source: Path, name: str, *, json: bool) -> None:
    if json:
        console.print_json({"name": name, "card": adopted.card, "said_by": adopted.reasons})
        return
    rows = [(field, console.plain(value), who) for field, (value, who) in adopted.in_words().items()]
    console.print_table(("", "value", "by"), rows)
    if adopted.card.model != name:
        console.info(f"the weights are those of {adopted.card.model}")
    console.info(
        f"predicts as {console.plain(source.name)} does: probabilities of {adopted.slices} real slices differ by "
        f"at most {adopted.largest_change:.1e}",
        style="green",
    )
    console.info(f"next: lungcli predict scan.png --model '{name}'")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.models)],
) -> None:
    """Delete an adopted model."""
    from lungcli.modelfile import model_paths

    path = names.find(name, model_paths.adopted(), "adopted model")
    with paths.os_errors_as(path):
        path.unlink()
        model_paths.weights_beside(path).unlink(missing_ok=True)
    console.info(f"deleted {path.stem}")
