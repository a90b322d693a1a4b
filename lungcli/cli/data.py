"""`lungcli data`."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from lungcli.cli import data_groups, data_split
from lungcli.cli import options as opt
from lungcli.cli.data_check import check, write_file
from lungcli.core.recipe import OPTIONS

if TYPE_CHECKING:
    from lungcli.datasets.manifest import Manifest
    from lungcli.datasets.verify import Verification

app = typer.Typer(help="Data sets: download, import, draw, list, check, split, verify, remove.", no_args_is_help=True)

DataName = Annotated[str, typer.Argument(metavar="NAME")]
NewName = Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the data set; made up if left out.")]

# Beyond these a list of files is for --json, not for reading.
_SHOWN_FILES = 20


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or .zip with one folder a class.")],
    name: NewName = "",
    labels: Annotated[
        Path | None, typer.Option("--labels", metavar="CSV", help="Table with the columns path,label,patient.")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Take in a folder or zip of slices, keeping look-alikes together.

    With --labels, a table says the class and patient of each file instead of its folder, and slices of one patient
    are kept together.

    \b
    Example: lungcli data import ~/Downloads/iqothnccd.zip
             lungcli data import ~/lidc --labels slices.csv
    """
    from lungcli.cli import progress
    from lungcli.datasets.ingest import importer

    with progress.preparing(f"reading {source.name}") as advance:
        if labels is None:
            made = importer.import_dataset(source, name or None, advance)
        else:
            made = importer.import_labelled(source, labels, name or None, advance)
    tell(made, json=json)


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
    from lungcli.datasets.phantom import dataset as drawing

    with progress.preparing("drawing") as advance:
        made = drawing.make_dataset(slices=slices, seed=seed, name=name, advance=advance)
    tell(made, json=json)


@app.command("list")
def list_(json: opt.Json = False) -> None:
    """Every data set on this machine."""
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.datasets import manifest, summary

    found = [manifest.read(folder / "manifest.json") for folder in manifest.existing().values()]
    if json:
        console.print_json({"data": [summary.summarize(item) for item in found]})
        return
    if not found:
        console.info("no data sets yet; make one: lungcli data phantom, or lungcli data import PATH")
        return
    table = Table(box=None, pad_edge=False)
    for title in ("data set", "slices", "look-alike groups", "classes", "source"):
        table.add_column(title, overflow="fold")
    for item in found:
        groups = len({entry.group for entry in item.slices})
        about = f"{item.source.about}{' (synthetic)' if item.source.synthetic else ''}"
        cells = (str(len(item.slices)), str(groups), ", ".join(item.classes), about)
        table.add_row(console.plain(item.name), *(console.plain(cell) for cell in cells))
    console.out().print(table)


@app.command()
def show(
    name: DataName,
    sheet: Annotated[
        Path | None, typer.Option("--sheet", metavar="FILE", help="Draw slices as read and as prepared (PNG).")
    ] = None,
    json: opt.Json = False,
) -> None:
    """Counts by class, look-alike groups, copies, and files left out."""
    from lungcli.cli import console
    from lungcli.datasets import manifest, summary

    found = manifest.load(name)
    if json:
        console.print_json(summary.summarize(found))
    else:
        _print(found)
    if sheet is not None:
        from lungcli.datasets.audit import contact_sheets

        drawn = contact_sheets.prepared_sheet(found, manifest.folder(found.name), OPTIONS["size"].default)
        write_file(sheet, contact_sheets.png(drawn), "--sheet FILE")


app.command()(check)


@app.command()
def verify(name: DataName, json: opt.Json = False) -> None:
    """Hash every file again: is the data set still what it was when it was made?

    \b
    Example: lungcli data verify iqothnccd
    """
    from lungcli.datasets import manifest

    report(manifest.load(name), json=json)


@app.command()
def path(name: DataName) -> None:
    """Print the folder of a data set."""
    from lungcli.cli import console
    from lungcli.datasets import manifest

    console.print_text(str(manifest.find(name)))


@app.command()
def remove(name: DataName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a data set, or what a download of it has left, from this machine."""
    from lungcli.cli import console
    from lungcli.core import registry
    from lungcli.core.errors import UnreadableInputError
    from lungcli.datasets import cache, manifest
    from lungcli.datasets.download import published as download

    row = registry.DATA_SETS.get(name)
    if row and download.partial_folder(row).is_dir():
        download.remove_partial(row)
        console.info(f"removed what had arrived of {name!r}")
        if name not in manifest.existing():
            return
    folder = manifest.find(name)
    about = "damaged"
    with contextlib.suppress(UnreadableInputError):
        about = f"{len(manifest.read(folder / manifest.FILE).slices)} slices"
    if not yes:
        typer.confirm(f"delete the data set {folder.name!r} ({about})?", abort=True, err=True)
    with contextlib.suppress(UnreadableInputError):
        cache.remove(manifest.read(folder / manifest.FILE))
    manifest.remove(folder.name)
    console.info(f"removed the data set {folder.name!r}")


def report(found: "Manifest", *, json: bool) -> "Verification":
    """Hash a data set again, show what came out and return it. Raises LungcliError when it is not as it was made."""
    from lungcli.cli import console, progress
    from lungcli.core.errors import LungcliError
    from lungcli.datasets import verify as verifying

    with progress.preparing(f"hashing {found.name}") as advance:
        checked = verifying.verify(found, advance)
    if json:
        console.print_json({"whole": checked.whole} | msgspec.to_builtins(checked))
    else:
        out = console.out()
        for what, files in (("damaged", checked.damaged), ("missing", checked.missing), ("extra", checked.extra)):
            for file in files:
                out.print(f"{what}: {console.plain(file)}", soft_wrap=True)
        if checked.whole:
            out.print(
                f"{console.plain(found.name)}: {checked.slices:,} slices are as they were taken in", soft_wrap=True
            )
        if checked.published:
            out.print(_of_published(checked.known, checked.published), soft_wrap=True)
    if checked.whole:
        return checked
    row = found.source.data_set
    again = f"lungcli data download {row}" if row else "lungcli data import PATH"
    counts = ((len(checked.damaged), "damaged"), (len(checked.missing), "missing"), (len(checked.extra), "extra"))
    parts = [f"{count} {what}" for count, what in counts if count]
    raise LungcliError(
        f"the data set {found.name!r} is not as it was made: "
        f"{', '.join([*parts, *(['its manifest was altered'] if checked.altered else [])])}",
        f"make it anew: lungcli data remove '{found.name}' && {again}",
    )


def _of_published(known: int, published: int) -> str:
    if known == published:
        return f"complete: all {published:,} published files"
    return f"PARTIAL: {known:,} of the {published:,} published files"


app.command("groups")(data_groups.groups)
app.command("split")(data_split.split)


def tell(made: "Manifest", *, json: bool) -> None:
    """Show a data set that has just been made."""
    from lungcli.cli import console
    from lungcli.datasets import summary

    if json:
        console.print_json(summary.summarize(made))
        return
    _print(made)
    console.info(f"next: lungcli compress --student mobilenetv2 --data '{made.name}'")


def _print(found: "Manifest") -> None:
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.datasets import manifest, summary

    out = console.out()
    facts = summary.summarize(found)
    synthetic = "  SYNTHETIC: drawn by the program, teaches nothing about people" if found.source.synthetic else ""
    out.print(console.plain(found.name) + synthetic, style="bold", soft_wrap=True)
    out.print(f"{console.plain(found.source.about)}; licence {console.plain(found.source.licence)}", soft_wrap=True)
    if found.source.citation:
        out.print(console.plain(found.source.citation), soft_wrap=True)
    out.print(console.plain(manifest.folder(found.name)), soft_wrap=True)
    if facts.published:
        out.print(_of_published(facts.known, facts.published), soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for title in ("class", "slices", "look-alike groups"):
        table.add_column(title, justify="left" if title == "class" else "right")
    in_groups = summary.groups_by_class(found)
    for label, count in facts.classes.items():
        table.add_row(console.plain(label), str(count), str(in_groups[label]))
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
            out.print(f"  {console.plain(item.path)}: {console.plain(item.reason)}", soft_wrap=True)
        if len(found.rejected) > _SHOWN_FILES:
            out.print(f"  and {len(found.rejected) - _SHOWN_FILES} more; all with --json")
