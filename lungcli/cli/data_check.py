"""`lungcli data check`: the audit of a data set, shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt
from lungcli.core.recipe import OPTIONS

if TYPE_CHECKING:
    from lungcli.datasets.audit.audit import Audit
    from lungcli.datasets.audit.knn_baseline import NearestNeighbour
    from lungcli.datasets.audit.shortcuts import Shortcut, ShortcutTest
    from lungcli.datasets.manifest import Manifest

# Beyond these a list of files is for --json, not for reading.
_EXAMPLES = 5

_STYLES = {"error": "bold red", "warning": "yellow", "note": "cyan"}


def check(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures.")] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="DIR", help="Write contact sheets.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when there are errors.")] = False,
    split_seed: opt.SplitSeed = 0,
    json: opt.Json = False,
) -> None:
    """Find what would flatter or mislead a classifier: memory, copies, conflicts, shortcuts, damage.

    \b
    Example: lungcli data check iqothnccd --html audit.html
    """
    from lungcli.cli import console, progress
    from lungcli.datasets import manifest
    from lungcli.datasets.audit import audit, features

    whole = manifest.load(name)
    with progress.preparing(f"reading {whole.name}") as advance:
        seen = features.dataset_features(whole, manifest.folder(whole.name), OPTIONS["size"].default, advance)
    with progress.preparing("looking for shortcuts") as advance:
        found = audit.audit(whole, seen, split_seed, advance)
    if json:
        console.print_json(found)
    else:
        _show(found)
        if html is None and png is None:
            console.info(f"to look at the slices: lungcli data check '{whole.name}' --html audit.html", style="dim")
    if html is not None:
        _write_page(html, found, whole)
    if png is not None:
        _write_sheets(png, found, whole)
    errors = [item.id for item in found.findings if item.severity == "error"]
    if strict and errors:
        console.error(f"{whole.name} has {len(errors)} error{'' if len(errors) == 1 else 's'}: {', '.join(errors)}")
        raise typer.Exit(1)


def _show(found: "Audit") -> None:
    if found.nearest_neighbour is not None:
        _show_memory(found.nearest_neighbour)
    _show_tables(found)
    _show_findings(found)


def _show_memory(leak: "NearestNeighbour") -> None:
    from lungcli.cli import console

    out = console.out()
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


def _show_tables(found: "Audit") -> None:
    from lungcli.cli import console
    from lungcli.datasets.audit.audit import LEVELS

    out = console.out()
    out.print()
    _print_table(
        ("class", "slices", "share", "look-alike groups"),
        [(i.label, str(i.slices), f"{i.slices / found.slices:.1%}", str(i.groups)) for i in found.classes],
    )
    out.print(
        "\ngroupings, and the share of test slices with a slice so much alike in training or validation:",
        soft_wrap=True,
    )
    _print_table(
        ("grouped by", "groups", "largest", *(f"≥ {level:.2f}" for level in LEVELS)),
        [
            (
                item.name,
                str(item.groups),
                str(item.largest),
                *([f"{i.slices / i.n:.0%}" for i in item.crossing] or ["–"] * len(LEVELS)),
            )
            for item in found.groupings
        ],
    )
    out.print(
        "\nshortcuts: guessing the class of look-alike groups that were left out; chance is what shuffled classes "
        "reach on average, and what one in twenty shuffles exceeds (!: p is 1 % or less):",
        soft_wrap=True,
    )
    _print_table(
        ("guessed from", "balanced accuracy", "chance", "p"),
        [row for item in found.shortcuts for row in _trials(item)],
    )


def _print_table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    from lungcli.cli import console

    table = Table(box=None, pad_edge=False)
    for place, head in enumerate(heads):
        table.add_column(head, justify="right" if place else "left", overflow="fold")
    for row in rows:
        table.add_row(*(console.plain(cell) for cell in row))
    console.out().print(table)


def _trials(item: "Shortcut") -> list[tuple[str, ...]]:
    """A line for the slices as read, and one as prepared where that makes a difference."""
    stages = [(item.about, item.before)]
    if not item.of_file:
        stages.append(("  as prepared", item.after))
    return [(title, *_trial(trial)) for title, trial in stages]


def _trial(trial: "ShortcutTest | None") -> tuple[str, str, str]:
    from lungcli.views.figures import with_interval

    if trial is None:
        return ("all alike", "", "")
    return (
        f"{'! ' if trial.is_significant() else ''}{with_interval(trial.balanced_accuracy)}",
        f"{trial.chance:.3f} to {trial.chance_high:.3f}",
        f"{trial.p:.3f}",
    )


def _show_findings(found: "Audit") -> None:
    from lungcli.cli import console
    from lungcli.datasets.audit.findings import SEVERITIES

    out = console.out()
    numbers = [(found.count(severity), severity) for severity in SEVERITIES]
    counts = ", ".join(f"{number} {severity}{'' if number == 1 else 's'}" for number, severity in numbers)
    out.print(f"\nfindings: {counts}", style="bold")
    for item in found.findings:
        line = f"{item.severity:<8} {console.plain(item.title)}  [{item.id}]"
        out.print(line, style=_STYLES[item.severity], soft_wrap=True)
        out.print(f"  {console.plain(item.detail)}", soft_wrap=True)
        for example in item.examples[:_EXAMPLES]:
            out.print(f"    {console.plain(example)}", soft_wrap=True)
        if len(item.examples) > _EXAMPLES:
            out.print(f"    and {len(item.examples) - _EXAMPLES} more; all with --json")


def _write_page(path: Path, found: "Audit", whole: "Manifest") -> None:
    from lungcli.datasets import manifest
    from lungcli.datasets.audit import html_report

    page = html_report.render_html(found, whole, manifest.folder(whole.name)).encode()
    write_file(path, page, "--html FILE")


def _write_sheets(into: Path, found: "Audit", whole: "Manifest") -> None:
    from lungcli.cli import console
    from lungcli.datasets import manifest
    from lungcli.datasets.audit import contact_sheets

    folder = manifest.folder(whole.name)
    kinds = {
        "conflicts": ("look-alikes with different labels", contact_sheets.conflict_rows(found)),
        "look-alikes": ("look-alike groups", contact_sheets.near_duplicate_rows(whole)),
    }
    # All are drawn before the first is written, so that an interrupted call leaves no part of a series.
    files = {
        into / f"{kind}-{number:02d}.png": contact_sheets.png(sheet)
        for kind, (title, rows) in kinds.items()
        for number, sheet in enumerate(contact_sheets.sheets(rows, folder, f"{whole.name}: {title}"), start=1)
    }
    for path, content in files.items():
        write_file(path, content, "--png DIR")
    if not files:
        console.info("there are no look-alikes to draw")


def write_file(path: Path, content: bytes, option: str) -> None:
    """Write a file that the user asked for with `option`, whole or not at all, and say so."""
    from lungcli.cli import console
    from lungcli.core import errors, paths

    try:
        paths.atomic_write(path, content)
    except errors.LungcliError as error:
        raise errors.LungcliError(error.message, f"choose another place with {option}") from error
    console.info(f"written: {path}")
