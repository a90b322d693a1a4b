"""`lungcli models`."""

import typer

from lungcli.cli import options as opt

app = typer.Typer(help="Nets that can be trained, and model files that have been made.", no_args_is_help=True)


@app.command("list")
def list_(json: opt.Json = False) -> None:
    """Nets by name with what can be done with them, and the model files on this machine.

    ImageNet: there are weights to start from. int8: loses where it is known to cost more than usual. CAM: heat-maps
    are class activation maps; others are found by covering parts of a slice.
    """
    from rich.table import Table

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
    table = Table(box=None, pad_edge=False)
    table.add_column("net", min_width=max(map(len, registry.NETS)))
    for title in ("parameters", "ImageNet", "int8", "CAM", "prune", "about"):
        table.add_column(title)
    for net in registry.NETS.values():
        able = ("yes" if each else "–" for each in (net.evidence, net.prunable))
        start = "yes" if net.pretrained else "–"
        table.add_row(net.name, f"{net.millions:.1f} M", start, net.quantizable, *able, net.about)
    console.out().print(table)
    console.out().print()
    if not files:
        console.info("no model files yet; make one: lungcli compress --student mobilenetv2")
        return
    made = Table(box=None, pad_edge=False)
    for title in ("model file", "size", "path"):
        made.add_column(title, overflow="fold")
    for name, path in files.items():
        made.add_row(console.plain(name), size(path.stat().st_size), console.plain(path))
    console.out().print(made)


@app.command()
def card(spec: str) -> None:
    """Print the card of a model file as JSON."""
    from lungcli.cli import console
    from lungcli.modelfile import model_file, model_paths

    console.print_json(model_file.read_card(model_paths.resolve(spec)))
