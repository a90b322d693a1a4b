"""`lungcli data groups`."""

from typing import Annotated

import typer

from lungcli.cli import options as opt


def groups(name: Annotated[str, typer.Argument(metavar="NAME")], json: opt.Json = False) -> None:
    """What the likeness threshold does to the groups.

    Number of groups, the largest, and the share of near copies that stay in different groups.

    \b
    Example: lungcli data groups iqothnccd
    """
    from rich.table import Table

    from lungcli.cli import console, progress
    from lungcli.datasets import group_thresholds, manifest
    from lungcli.datasets import groups as grouping

    found = manifest.load(name)
    with progress.preparing(f"comparing all slices of {found.name}") as advance:
        effects = group_thresholds.evaluate_thresholds(found, advance)
    used = len({item.group for item in found.slices})
    if json:
        console.print_json({"name": found.name, "near": grouping.NEAR, "groups": used, "thresholds": effects})
        return
    known = any(effect.pairs for effect in effects)
    table = Table(box=None, pad_edge=False)
    for title in ("likeness", "groups", "largest", f"apart ≥ {grouping.NEAR:.2f}", f"apart ≥ {grouping.NEIGHBOUR:.2f}"):
        table.add_column(title, justify="right")
    for title in ("precision", "recall") if known else ():
        table.add_column(title, justify="right")
    for effect in effects:
        cells = [f"{'* ' if effect.near == grouping.NEAR else ''}{effect.near:.2f}"]
        cells += [str(effect.groups), str(effect.largest), _share(effect.copies_apart), _share(effect.alike_apart)]
        if effect.pairs:
            cells += [_share(effect.pairs.precision), _share(effect.pairs.recall)]
        table.add_row(*cells)
    out = console.out()
    out.print(table)
    out.print(
        f"\nlikeness: correlation of 64×64 thumbnails from which two slices are near copies (* in use); apart: of the "
        f"slices with another one that alike ({grouping.NEAR:.2f}, {grouping.NEIGHBOUR:.2f}), the share with such a "
        "one in another group, which a split may put on the other side.",
        soft_wrap=True,
    )
    if known:
        out.print(
            f"precision, recall: of pairs of slices, likeness alone against the known patients. The data set's own "
            f"{used} groups also join what is of one patient.",
            soft_wrap=True,
        )
    else:
        out.print("Look-alike groups are not patients: one patient may be in several groups.", soft_wrap=True)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
