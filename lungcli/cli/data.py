"""`lungcli data`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt

if TYPE_CHECKING:
    from lungcli.data.manifest import Manifest

app = typer.Typer(help="Data sets: import, draw, list, check, remove.", no_args_is_help=True)

DataName = Annotated[str, typer.Argument(metavar="NAME")]
NewName = Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the data set; made up if left out.")]

# Beyond these a list of files is for --json, not for reading.
_SHOWN_FILES = 20


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or .zip with one folder a class.")],
    name: NewName = "",
    json: opt.Json = False,
) -> None:
    """Take in a folder or zip of slices, keeping look-alikes together.

    \b
    Example: lungcli data import ~/Downloads/iqothnccd.zip
    """
    from lungcli.cli import progress
    from lungcli.data import importer

    with progress.preparing(f"reading {source.name}") as advance:
        made = importer.import_dataset(source, name or None, advance)
    _tell(made, json=json)


@app.command()
def phantom(
    slices: Annotated[int, typer.Option("--slices", help="Slices to draw.")] = 240,
    seed: Annotated[int, typer.Option("--seed", help="Another seed draws other bodies.")] = 0,
    name: NewName = "phantom",
    json: opt.Json = False,
) -> None:
    """Draw a synthetic data set, so that everything runs with no download.

    \b
    Example: lungcli data phantom --slices 240
    """
    from lungcli.cli import progress
    from lungcli.data import phantom as drawing

    with progress.preparing("drawing") as advance:
        made = drawing.make(slices=slices, seed=seed, name=name, advance=advance)
    _tell(made, json=json)


@app.command("list")
def list_(json: opt.Json = False) -> None:
    """Every data set on this machine."""
    from rich.table import Table

    from lungcli.cli import speak
    from lungcli.data import manifest, summary

    found = [manifest.read(folder / "manifest.json") for folder in manifest.known().values()]
    if json:
        speak.print_json({"data": [summary.of(item) for item in found]})
        return
    if not found:
        speak.say("no data sets yet; make one: lungcli data phantom, or lungcli data import PATH")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("data set", "slices", "look-alike groups", "classes", "source"):
        table.add_column(title, overflow="fold")
    for item in found:
        groups = len({entry.group for entry in item.slices})
        about = f"{item.source.about}{' (synthetic)' if item.source.synthetic else ''}"
        cells = (str(len(item.slices)), str(groups), ", ".join(item.classes), about)
        table.add_row(speak.plain(item.name), *(speak.plain(cell) for cell in cells))
    speak.out().print(table)


@app.command()
def show(name: DataName, json: opt.Json = False) -> None:
    """Counts by class, look-alike groups, copies, and files left out."""
    from lungcli.cli import speak
    from lungcli.data import manifest, summary

    found = manifest.load(name)
    if json:
        speak.print_json(summary.of(found))
        return
    _print(found)


@app.command()
def check(name: DataName, json: opt.Json = False) -> None:
    """Show how far memory alone gets: 1-nearest-neighbour on thumbnails, with and without look-alikes.

    \b
    Example: lungcli data check iqothnccd
    """
    from lungcli.cli import progress, speak
    from lungcli.data import manifest, neighbours

    found = manifest.load(name)
    with progress.preparing(f"comparing all slices of {found.name}") as advance:
        leak = neighbours.of(found, advance)
    if json:
        speak.print_json({"name": found.name, "nearest_neighbour": leak})
        return
    out = speak.out()
    out.print("1-nearest-neighbour on 64×64 grey thumbnails, nothing learned:", soft_wrap=True)
    out.print(
        f"  any other slice may be the neighbour    accuracy {leak.random_accuracy:6.1%}   "
        f"balanced {leak.random_balanced:6.1%}"
    )
    out.print(
        f"  only slices of other look-alike groups  accuracy {leak.grouped_accuracy:6.1%}   "
        f"balanced {leak.grouped_balanced:6.1%}"
    )
    out.print(
        f"\n{leak.n} slices, {leak.groups} look-alike groups. What the first line has over the second is memory of the "
        "same bodies, not knowledge of lungs: a random split pays it out as accuracy.",
        soft_wrap=True,
    )


@app.command()
def remove(name: DataName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a data set from this machine."""
    from lungcli.cli import speak
    from lungcli.data import manifest

    found = manifest.load(name)
    if not yes:
        typer.confirm(f"delete the data set {found.name!r} ({len(found.slices)} slices)?", abort=True, err=True)
    manifest.remove(found.name)
    speak.say(f"removed the data set {found.name!r}")


def _tell(made: "Manifest", *, json: bool) -> None:
    from lungcli.cli import speak
    from lungcli.data import summary

    if json:
        speak.print_json(summary.of(made))
        return
    _print(made)
    speak.say(f"next: lungcli compress --student mobilenetv2 --data '{made.name}'")


def _print(found: "Manifest") -> None:
    from rich.table import Table

    from lungcli.cli import speak
    from lungcli.data import manifest, summary

    out = speak.out()
    facts = summary.of(found)
    synthetic = "  SYNTHETIC: drawn by the program, teaches nothing about people" if found.source.synthetic else ""
    out.print(speak.plain(found.name) + synthetic, style="bold", soft_wrap=True)
    out.print(f"{speak.plain(found.source.about)}; licence {speak.plain(found.source.licence)}", soft_wrap=True)
    if found.source.citation:
        out.print(speak.plain(found.source.citation), soft_wrap=True)
    out.print(speak.plain(manifest.folder(found.name)), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for title in ("class", "slices", "look-alike groups"):
        table.add_column(title, justify="left" if title == "class" else "right")
    in_groups = summary.groups_by_class(found)
    for label, count in facts.classes.items():
        table.add_row(speak.plain(label), str(count), str(in_groups[label]))
    table.add_row("all", str(facts.slices), str(facts.groups))
    out.print(table)
    out.print(
        f"{facts.exact_copies} exact copies; the largest look-alike group has {facts.largest_group} slices; "
        f"{facts.mixed_groups} groups hold several classes",
        soft_wrap=True,
    )
    if found.rejected:
        out.print(f"{len(found.rejected)} files left out:", style="yellow")
        for item in found.rejected[:_SHOWN_FILES]:
            out.print(f"  {speak.plain(item.path)}: {speak.plain(item.reason)}", soft_wrap=True)
        if len(found.rejected) > _SHOWN_FILES:
            out.print(f"  and {len(found.rejected) - _SHOWN_FILES} more; all with --json")
