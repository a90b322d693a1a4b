"""`lungcli models`."""

from typing import Annotated

import typer

from lungcli.cli import complete, help_pages, options

app = help_pages.App(name="models", help="Nets to train, and model files on this machine.")


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List the nets, and the model files on this machine.

    ImageNet: pretrained weights exist. int8: `loses` where quantization costs more than usual. CAM: heat-maps are class
    activation maps; for other nets they come from occlusion.
    """
    from lungcli.cli import console
    from lungcli.core import registry
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
def card(spec: Annotated[str, typer.Argument(metavar="MODEL", autocompletion=complete.models)]) -> None:
    """Print the card of a model file as JSON."""
    from lungcli.cli import console
    from lungcli.modelfile import model_file, model_paths

    console.print_json(model_file.read_card(model_paths.resolve(spec)))
