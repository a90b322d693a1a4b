"""`lungcli models`."""

from lungcli.cli import help_pages, options

app = help_pages.App(name="models", help="Nets to train, and model files on this machine.")


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List the nets, and the model files on this machine.

    ImageNet: pretrained weights exist. int8: `loses` where quantization costs more than usual. CAM: heat-maps are class
    activation maps; for other nets they come from occlusion.
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
        able = ("yes" if supported else "–" for supported in (net.evidence, net.prunable))
        start = "yes" if net.pretrained else "–"
        table.add_row(net.name, f"{net.millions:.1f} M", start, net.quantizable, *able, net.about)
    console.out().print(table)
    console.out().print()
    if not files:
        console.info("there are no model files yet; train one: lungcli compress --student mobilenetv2")
        return
    files_table = Table(box=None, pad_edge=False)
    for title in ("model file", "size", "path"):
        files_table.add_column(title, overflow="fold")
    for name, path in files.items():
        files_table.add_row(console.plain(name), size(path.stat().st_size), console.plain(path))
    console.out().print(files_table)


@app.command()
def card(spec: str) -> None:
    """Print the card of a model file as JSON."""
    from lungcli.cli import console
    from lungcli.modelfile import model_file, model_paths

    console.print_json(model_file.read_card(model_paths.resolve(spec)))
