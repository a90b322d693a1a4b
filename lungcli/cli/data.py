"""`lungcli data`."""

import contextlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from lungcli.cli import complete, console, data_groups, data_split, help_pages, options
from lungcli.cli.data_check import check, write_file
from lungcli.core import registry
from lungcli.core.errors import LungcliError, UnreadableInputError
from lungcli.core.recipe import OPTIONS

if TYPE_CHECKING:
    from lungcli.datasets.manifest import Manifest, Rejected
    from lungcli.datasets.summary import DatasetSummary
    from lungcli.datasets.verify import Verification

app = help_pages.App(name="data", help="Data sets: download, import, draw, check, split.")

DataName = Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete.data_sets)]
NewName = Annotated[
    str, typer.Option("--name", metavar="NAME", help="Name of the data set; derived from PATH if left out.")
]

# Beyond these a list of files is for --json, not for reading.
_SHOWN_FILES = 20


@app.command("import")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="PATH", help="Folder or .zip file with one folder per class, or labels.csv.")
    ],
    name: NewName = "",
    labels: Annotated[
        Path | None,
        typer.Option("--labels", metavar="CSV", help="Table: path,label, if known patient,institution,mask,split."),
    ] = None,
    any_picture: Annotated[
        bool,
        typer.Option(
            "--any-picture", help="Not lung CT: do not warn; models of it predict any picture, without guard."
        ),
    ] = False,
    json: options.Json = False,
) -> None:
    """Import a folder or .zip file of slices or volumes.

    Near-duplicates are grouped, so that a split keeps them together; so are the axial slices of a volume (NIfTI).

    A table, by --labels or as labels.csv in PATH, gives the class of each file, instead of its folder, and where known
    its patient, institution, lesion mask and split; so do folders train/, val/ and test/, and headers of DICOM files.
    The slices of a patient stay in one group; names of patients are not kept.

    \b
    Example: lungcli data import ~/Downloads/iqothnccd.zip
             lungcli data import ~/lidc --labels slices.csv
    """
    from lungcli.cli import progress
    from lungcli.datasets.ingest import importer

    with progress.preparing(f"reading {source.name}") as advance:
        manifest = importer.import_dataset(source, name or None, advance, table=labels, any_picture=any_picture)
    show_created(manifest, json=json)


@app.command()
def phantom(
    slices: Annotated[int, typer.Option("--slices", help="Number of slices.")] = 240,
    seed: Annotated[int, typer.Option("--seed", help="Random seed; another seed draws other bodies.")] = 0,
    name: NewName = "phantom",
    json: options.Json = False,
) -> None:
    """Draw a synthetic data set, to try everything offline.

    \b
    Example: lungcli data phantom --slices 240
    """
    from lungcli.cli import progress
    from lungcli.datasets.phantom import dataset

    with progress.preparing("drawing") as advance:
        drawn = dataset.make_dataset(slices=slices, seed=seed, name=name, advance=advance)
    show_created(drawn, json=json)


@app.command("list")
def list_(
    published: Annotated[
        bool, typer.Option("--published", help="List published data sets instead, and how to get them.")
    ] = False,
    json: options.Json = False,
) -> None:
    """List the data sets on this machine."""
    if published:
        _show_published(as_json=json)
        return
    from lungcli.datasets import manifest, summary
    from lungcli.views import text_table

    manifests, problems = manifest.readable()
    for problem in problems:
        console.warn(problem.message)
    if json:
        console.print_json({"data": [summary.summarize(item) for item in manifests]})
        return
    if not manifests:
        console.info("there are no data sets yet; make one with lungcli data phantom or lungcli data import PATH")
        return
    headings = ("data set", "slices", "near-duplicate groups", "classes", "source")
    table = text_table.grid(headings)
    for item in manifests:
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
    json: options.Json = False,
) -> None:
    """Show what a data set contains: classes, groups, copies."""
    from lungcli.datasets import manifest, summary

    dataset = manifest.load(name)
    if json:
        console.print_json(summary.summarize(dataset))
    else:
        _show_summary(dataset)
    if sheet is not None:
        from lungcli.datasets.audit import contact_sheets
        from lungcli.imaging.picture import encoded

        drawn = contact_sheets.prepared_sheet(dataset, manifest.folder(dataset.name), OPTIONS["size"].default)
        write_file(sheet, encoded(drawn), "--sheet FILE")


app.command()(check)


@app.command()
def verify(name: DataName, json: options.Json = False) -> None:
    """Hash every file again and compare with the manifest.

    \b
    Example: lungcli data verify iqothnccd
    """
    from lungcli.datasets import manifest

    report(manifest.load(name), json=json)


@app.command()
def path(name: DataName) -> None:
    """Print the folder of a data set."""
    from lungcli.datasets import manifest

    console.print_text(str(manifest.find(name)))


@app.command()
def remove(name: DataName, yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False) -> None:
    """Delete a data set, or an unfinished download of it."""
    from lungcli.datasets import cache, manifest
    from lungcli.datasets.download import published

    row = registry.DATA_SETS.get(name)
    if row and published.partial_folder(row).is_dir():
        published.remove_partial(row)
        console.info(f"removed the unfinished download of {name!r}")
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


def report(dataset: "Manifest", *, json: bool) -> "Verification":
    """Hash a data set again, show and return the result. Raises LungcliError where a file differs from the manifest."""
    from lungcli.cli import progress
    from lungcli.datasets import verify

    with progress.preparing(f"hashing {dataset.name}") as advance:
        checked = verify.verify(dataset, advance)
    if json:
        console.print_json({"whole": checked.whole} | msgspec.to_builtins(checked))
    else:
        out = console.out()
        for what, files in (("damaged", checked.damaged), ("missing", checked.missing), ("extra", checked.extra)):
            for file in files:
                out.print(f"{what}: {console.plain(file)}", soft_wrap=True)
        if checked.whole:
            out.print(
                f"{console.plain(dataset.name)}: {checked.slices:,} slices are unchanged since the import",
                soft_wrap=True,
            )
        if checked.published:
            out.print(_of_published(checked.known, checked.published), soft_wrap=True)
    if checked.whole:
        return checked
    row = dataset.source.data_set
    again = f"lungcli data download {row}" if row else "lungcli data import PATH"
    counts = ((len(checked.damaged), "damaged"), (len(checked.missing), "missing"), (len(checked.extra), "extra"))
    parts = [f"{count} {what}" for count, what in counts if count]
    raise LungcliError(
        f"the data set {dataset.name!r} has changed since it was created: "
        f"{', '.join([*parts, *(['its manifest was edited'] if checked.altered else [])])}",
        f"create it again: lungcli data remove '{dataset.name}' && {again}",
    )


def _of_published(present: int, published: int) -> str:
    if present == published:
        return f"complete: all {published:,} published files"
    return f"incomplete: {present:,} of the {published:,} published files"


app.command("groups")(data_groups.groups)
app.command("split")(data_split.split)


def show_created(manifest: "Manifest", *, json: bool) -> None:
    """Show a data set that has just been created."""
    from lungcli.datasets import summary
    from lungcli.metrics.predictions import positive_class

    if json:
        console.print_json(summary.summarize(manifest))
        return
    _show_summary(manifest)
    _show_given_split(manifest)
    if len(manifest.classes) < 2:
        console.info(
            f"a classifier needs two classes; combine it with others: lungcli data combine '{manifest.name}' OTHER "
            "--name BOTH"
        )
        return
    other = "" if positive_class(manifest.classes) else " --positive-class CLASS   (the class that sensitivity is of)"
    console.info(f"next: lungcli compress --student mobilenetv2 --data '{manifest.name}'{other}")


def _show_given_split(dataset: "Manifest") -> None:
    """Name the split that a data set came with, and what it leaks."""
    from lungcli.datasets import split_files, splits

    if split_files.GIVEN not in split_files.saved(dataset):
        return
    (split,) = split_files.splits_of(dataset, split_files.find(dataset, split_files.GIVEN))
    console.info(
        f"its own split is kept: {len(split.train)} training, {len(split.val)} validation and {len(split.test)} test "
        "slices; to use it: --split given"
    )
    if warning := splits.leak_warning(dataset, split):
        console.warn(warning)


def _show_institutions(facts: "DatasetSummary") -> None:
    """Print the slices of each institution by class, and name those where there is but one."""
    from lungcli.datasets import summary
    from lungcli.views import text_table

    table = text_table.grid(("institution", "slices", "groups", "patients"), texts=1)
    table.add_column("classes", overflow="fold")
    for item in facts.institutions:
        numbers = (str(sum(item.classes.values())), str(item.groups), str(item.patients or "unknown"))
        classes = ", ".join(f"{count} {label}" for label, count in item.classes.items())
        table.add_row(console.plain(item.name), *numbers, console.plain(classes))
    out = console.out()
    out.print("", table, "", sep="\n")
    if facts.masks:
        out.print(f"{facts.masks} slices have a mask of their lesion")
    if one_class := summary.one_class(facts.institutions):
        described = ", ".join(f"{item.name} ({next(iter(item.classes))})" for item in one_class)
        console.warn(
            f"institutions with one class only: {described}. A model may learn the scanner in place of the disease; "
            "test it on institutions left out: --protocol institution"
        )


def _show_summary(dataset: "Manifest") -> None:
    from lungcli.datasets import manifest, summary
    from lungcli.views import text_table

    out = console.out()
    facts = summary.summarize(dataset)
    synthetic = "  SYNTHETIC: drawn by the program, says nothing about people" if dataset.source.synthetic else ""
    out.print(console.plain(dataset.name) + synthetic, style="bold", soft_wrap=True)
    out.print(f"{console.plain(dataset.source.about)}; licence {console.plain(dataset.source.licence)}", soft_wrap=True)
    if dataset.source.citation:
        out.print(console.plain(dataset.source.citation), soft_wrap=True)
    out.print(console.plain(manifest.folder(dataset.name)), soft_wrap=True)
    if facts.published:
        out.print(_of_published(facts.known, facts.published), soft_wrap=True)
    in_groups = summary.groups_by_class(dataset)
    rows = [(console.plain(label), str(count), str(in_groups[label])) for label, count in facts.classes.items()]
    rows.append(("all", str(facts.slices), str(facts.groups)))
    out.print(text_table.grid(("class", "slices", "near-duplicate groups"), rows, 1))
    if len(facts.institutions) > 1 or any(item.institution for item in dataset.slices):
        _show_institutions(facts)
    out.print(
        f"exact copies: {facts.exact_copies}; slices of the largest near-duplicate group: {facts.largest_group}; "
        f"groups of several classes: {facts.mixed_groups}",
        soft_wrap=True,
    )
    _show_files(f"{len(dataset.rejected)} files rejected", dataset.rejected)
    _show_files(
        f"{len(dataset.doubtful)} of {len(dataset.slices)} slices do not look like axial lung CT, and `predict` would "
        "refuse them (where they are to be something else: --any-picture)",
        dataset.doubtful,
    )
    if dataset.source.any_picture:
        out.print("any picture is welcome: models trained on it have no guard", style="yellow")


def _show_published(*, as_json: bool) -> None:
    if as_json:
        console.print_json({"published": list(map(_facts, registry.DATA_SETS.values()))})
        return
    out = console.out()
    for row in registry.DATA_SETS.values():
        out.print(row.name, style="bold")
        for name, value in _facts(row).items():
            if value and name != "name":
                out.print(f"  {name:<12} {console.plain(str(value))}", soft_wrap=True)


def _facts(row: registry.DataSet) -> dict[str, object]:
    return {
        "name": row.name,
        "about": row.about,
        "classes": ", ".join(f"{count:,} {label}" for label, count in row.counts) or ", ".join(row.classes),
        "institutions": row.institutions,
        "licence": row.licence,
        "citation": row.citation,
        "page": row.page,
        "get": row.by_hand or f"lungcli data download {row.name}",
    }


def _show_files(title: str, files: "Sequence[Rejected]") -> None:
    if not files:
        return
    out = console.out()
    counts = Counter(item.reason for item in files).most_common(_SHOWN_FILES)
    by_reason = f" ({'; '.join(f'{count} {reason}' for reason, count in counts)})" if len(files) > _SHOWN_FILES else ""
    out.print(console.plain(f"{title}{by_reason}:"), style="yellow", soft_wrap=True)
    for item in files[:_SHOWN_FILES]:
        out.print(f"  {console.plain(item.path)}: {console.plain(item.reason)}", soft_wrap=True)
    if len(files) > _SHOWN_FILES:
        out.print(f"  and {len(files) - _SHOWN_FILES} more; all with --json")
