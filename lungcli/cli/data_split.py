"""`lungcli data split`."""

from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt
from lungcli.core.recipe import Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from lungcli.datasets.manifest import Manifest
    from lungcli.datasets.splits import Split


def split(
    name: Annotated[str, typer.Argument(metavar="DATASET")],
    protocol: Annotated[
        Protocol, typer.Option("--protocol", help="Look-alikes on one side, or (flattering) slices at random.")
    ] = "grouped",
    folds: Annotated[int, typer.Option("--folds", help="Folds of a cross-validation; 0: one split.")] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives another split.")] = 0,
    called: Annotated[
        str, typer.Option("--name", metavar="SPLIT", help="Name of the split; made up if left out.")
    ] = "",
    check: Annotated[
        str, typer.Option("--check", metavar="SPLIT|FILE", help="Check and show a split that is there; write nothing.")
    ] = "",
    json: opt.Json = False,
) -> None:
    """Write a split, or folds, as a file; or check one.

    Stratified by class, look-alike groups whole; the same data, seed and protocol give the same file on any machine.

    \b
    Examples: lungcli data split iqothnccd --folds 5
              lungcli data split iqothnccd --check grouped-5folds-seed0
    """
    from lungcli.cli import console
    from lungcli.datasets import manifest, split_files

    found = manifest.load(name)
    if check:
        path = split_files.find(found, check)
    else:
        made = split_files.build(found, protocol, folds, seed)
        path = split_files.save(found, made, called or split_files.default_name(protocol, folds, seed))
    # Read back even when just written: what a training will read is what is shown.
    divided = split_files.splits_of(found, path)
    if json:
        console.print_json(_summary(found, path, divided))
        return
    _show(found, divided)
    _tell_leaks(found, divided[0])
    console.out().print(console.plain(path), soft_wrap=True)
    named = path.stem if split_files.saved(found).get(path.stem) == path else path
    console.info(f"next: lungcli train --model resnet18 --data '{found.name}' --split '{named}'")


def _tell_leaks(found: "Manifest", first: "Split") -> None:
    from lungcli.cli import console
    from lungcli.datasets import splits

    if first.protocol == "grouped":
        console.info("checked: no look-alike group, exact copy or known patient lies on two sides")
        return
    leak = splits.count_leaks(found, first)
    console.warn(
        f"a random split leaks: {leak.groups} look-alike groups and {leak.contents} pictures with exact copies lie on "
        f"several sides{' of fold 1' if first.folds else ''}; its figures flatter"
    )


def _summary(found: "Manifest", path: "Path", divided: "Sequence[Split]") -> dict[str, object]:
    from lungcli.datasets import split_files, splits

    file = split_files.read(path)
    return {
        "name": path.stem,
        "path": str(path),
        "data": found.name,
        "digest": file.digest,
        "manifest": file.manifest,
        "protocol": file.protocol,
        "seed": file.seed,
        "folds": file.folds,
        "splits": [
            {
                "fold": one.fold,
                "digest": one.digest,
                "parts": _counts(found, one),
                "leak": splits.count_leaks(found, one),
            }
            for one in divided
        ],
    }


def _show(found: "Manifest", divided: "Sequence[Split]") -> None:
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.datasets import splits

    console.out().print(console.plain(f"{found.name}: {_title(divided)}"), style="bold", soft_wrap=True)
    table = Table(box=None, pad_edge=False)
    for title in (*(["fold"] if divided[0].folds else []), "part", "slices", "groups", *found.classes):
        table.add_column(console.plain(title), justify="left" if title == "part" else "right")
    for one in divided:
        for part, counts in zip(splits.PARTS, _counts(found, one).values(), strict=True):
            cells = [str(counts["slices"]), str(counts["groups"]), *(str(counts[label]) for label in found.classes)]
            table.add_row(*([str(one.fold)] if one.folds else []), part, *cells)
    console.out().print(table)


def _title(divided: "Sequence[Split]") -> str:
    first = divided[0]
    what = f"{first.folds} folds of the {first.protocol} split" if first.folds else f"{first.protocol} split"
    return f"{what} with seed {first.seed}"


def _counts(found: "Manifest", one: "Split") -> dict[str, dict[str, int]]:
    """Slices, look-alike groups, and slices of each class in every part."""
    from collections import Counter

    counts = {}
    for name, part in (("train", one.train), ("val", one.val), ("test", one.test)):
        items = [found.slices[i] for i in part]
        labels = Counter(item.label for item in items)
        counts[name] = {"slices": len(items), "groups": len({item.group for item in items})}
        counts[name] |= {label: labels[label] for label in found.classes}
    return counts
