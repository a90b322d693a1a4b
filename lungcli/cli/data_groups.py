"""`lungcli data groups`."""

from typing import Annotated

import typer

from lungcli.cli import console, options


def groups(name: Annotated[str, typer.Argument(metavar="NAME")], json: options.Json = False) -> None:
    """Show the near-duplicate groups at several thresholds.

    For each threshold: the number of groups, the largest, and the share of near-duplicates in different groups.

    \b
    Example: lungcli data groups iqothnccd
    """
    from lungcli.cli import progress
    from lungcli.datasets import group_thresholds, manifest
    from lungcli.datasets.groups import NEAR, NEIGHBOUR
    from lungcli.views import text_table

    dataset = manifest.load(name)
    with progress.preparing(f"comparing all slices of {dataset.name}") as advance:
        effects = group_thresholds.evaluate_thresholds(dataset, advance)
    group_count = len({item.group for item in dataset.slices})
    if json:
        console.print_json({"name": dataset.name, "near": NEAR, "groups": group_count, "thresholds": effects})
        return
    patients_known = any(effect.pairs for effect in effects)
    headings = ["similarity", "groups", "largest", f"apart ≥ {NEAR:.2f}", f"apart ≥ {NEIGHBOUR:.2f}"]
    table = text_table.grid(headings + ["precision", "recall"] * patients_known, (), 0)
    for effect in effects:
        cells = [f"{'* ' if effect.near == NEAR else ''}{effect.near:.2f}"]
        cells += [str(effect.groups), str(effect.largest), _share(effect.copies_apart), _share(effect.alike_apart)]
        if effect.pairs:
            cells += [_share(effect.pairs.precision), _share(effect.pairs.recall)]
        table.add_row(*cells)
    out = console.out()
    out.print(table)
    out.print(
        f"\nsimilarity: correlation of 64×64 thumbnails above which two slices are grouped (* in use); apart: share of "
        f"slices that have a slice this similar ({NEAR:.2f}, {NEIGHBOUR:.2f}) in another group, and so possibly in "
        "another part of a split.",
        soft_wrap=True,
    )
    if patients_known:
        out.print(
            f"precision, recall: of pairs of slices, similarity alone against the known patients. The data set's own "
            f"{group_count} groups also join the slices of a patient.",
            soft_wrap=True,
        )
    else:
        out.print("Near-duplicate groups are not patients: a patient may be in several groups.", soft_wrap=True)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"
