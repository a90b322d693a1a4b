"""`lungcli data split`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lungcli.cli import console, options

if TYPE_CHECKING:
    from lungcli.datasets.manifest import Manifest
    from lungcli.datasets.splits import Split


def split(
    name: Annotated[str, typer.Argument(metavar="DATASET")],
    protocol: Annotated[
        Literal["grouped", "institution", "random"],
        typer.Option(
            "--protocol",
            help="grouped keeps near-duplicates in one part, institution leaves one out in each fold; random leaks.",
        ),
    ] = "grouped",
    folds: Annotated[int, typer.Option("--folds", help="Folds of a cross-validation; 0: a single split.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Random seed.")] = 0,
    called: Annotated[
        str,
        typer.Option("--name", metavar="SPLIT", help="Name of the split; derived from the other options if left out."),
    ] = "",
    check: Annotated[
        str, typer.Option("--check", metavar="SPLIT|FILE", help="Check and show an existing split; write nothing.")
    ] = "",
    json: options.Json = False,
) -> None:
    """Write a split to a file, or check one.

    A file holds one split, or the folds of a cross-validation. Splits are stratified by class and keep near-duplicate
    groups whole. The same data, seed and protocol give the same file on any machine.

    \b
    Examples: lungcli data split iqothnccd --folds 5
              lungcli data split iqothnccd --check grouped-5folds-seed0
    """
    from lungcli.datasets import manifest, split_files

    dataset = manifest.load(name)
    if check:
        path = split_files.find(dataset, check)
    else:
        contents = split_files.build(dataset, protocol, folds, seed)
        path = split_files.save(dataset, contents, called or split_files.default_name(contents))
    # Read back even when just written, so that what is shown is what training will read.
    splits_in_file = split_files.splits_of(dataset, path)
    if json:
        console.print_json(_summary(dataset, path, splits_in_file))
        return
    _show(dataset, splits_in_file)
    _report_leaks(dataset, splits_in_file[0])
    console.out().print(console.plain(path), soft_wrap=True)
    split_name = path.stem if split_files.saved(dataset).get(path.stem) == path else path
    console.info(f"next: lungcli train --model resnet18 --data '{dataset.name}' --split '{split_name}'")


def _report_leaks(manifest: "Manifest", first: "Split") -> None:
    from lungcli.datasets import splits

    if first.protocol in splits.LEAKLESS:
        institution = ", and no tested institution in another" if first.protocol == "institution" else ""
        console.info(
            f"checked: no near-duplicate group, exact copy or known patient is in more than one part{institution}"
        )
        return
    if warning := splits.leak_warning(manifest, first):
        console.warn(warning)


def _summary(manifest: "Manifest", path: "Path", splits_in_file: "Sequence[Split]") -> dict[str, object]:
    from lungcli.datasets import split_files, splits

    file = split_files.read(path)
    return {
        "name": path.stem,
        "path": str(path),
        "data": manifest.name,
        "digest": file.digest,
        "manifest": file.manifest,
        "protocol": file.protocol,
        "seed": file.seed,
        "folds": file.folds,
        "splits": [
            {
                "fold": split_.fold,
                "digest": split_.digest,
                "parts": _counts(manifest, split_),
                "leak": splits.count_leaks(manifest, split_),
            }
            for split_ in splits_in_file
        ],
    }


def _show(manifest: "Manifest", splits_in_file: "Sequence[Split]") -> None:
    from rich.table import Table

    from lungcli.datasets import source_splits, splits

    console.out().print(console.plain(f"{manifest.name}: {_title(splits_in_file)}"), style="bold", soft_wrap=True)
    names = source_splits.institutions(manifest) if splits_in_file[0].protocol == "institution" else ()
    table = Table(box=None, pad_edge=False)
    for title in (*(["fold"] if splits_in_file[0].folds else []), "part", "slices", "groups", *manifest.classes):
        table.add_column(console.plain(title), justify="left" if title == "part" else "right")
    for split_ in splits_in_file:
        for part, counts in zip(splits.PARTS, _counts(manifest, split_).values(), strict=True):
            cells = [str(counts["slices"]), str(counts["groups"]), *(str(counts[label]) for label in manifest.classes)]
            left_out = f" ({names[split_.fold - 1]})" if names and part == "test" else ""
            table.add_row(*([str(split_.fold)] if split_.folds else []), console.plain(f"{part}{left_out}"), *cells)
    console.out().print(table)


def _title(splits_in_file: "Sequence[Split]") -> str:
    first = splits_in_file[0]
    what = f"{first.folds} folds of the {first.protocol} split" if first.folds else f"{first.protocol} split"
    return f"{what} with seed {first.seed}"


def _counts(manifest: "Manifest", split_: "Split") -> dict[str, dict[str, int]]:
    """Count slices, near-duplicate groups, and slices of each class in every part."""
    counts = {}
    for name, part in (("train", split_.train), ("val", split_.val), ("test", split_.test)):
        items = [manifest.slices[i] for i in part]
        labels = Counter(item.label for item in items)
        counts[name] = {"slices": len(items), "groups": len({item.group for item in items})}
        counts[name] |= {label: labels[label] for label in manifest.classes}
    return counts
