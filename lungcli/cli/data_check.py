"""`lungcli data check`: show the audit of a data set."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import console, options
from lungcli.core import paths
from lungcli.core.recipe import OPTIONS
from lungcli.views.figures import with_interval

if TYPE_CHECKING:
    from lungcli.datasets.audit.audit import Audit
    from lungcli.datasets.audit.shortcuts import Shortcut, ShortcutTest
    from lungcli.datasets.manifest import Manifest


def check(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with pictures.")] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="DIR", help="Write contact sheets.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 when there are errors.")] = False,
    split_seed: options.SplitSeed = 0,
    json: options.Json = False,
) -> None:
    """Audit a data set for what would mislead a classifier.

    It looks for leakage, copies, label conflicts, shortcuts and damaged files.

    \b
    Example: lungcli data check iqothnccd --html audit.html
    """
    from lungcli.cli import progress
    from lungcli.datasets import manifest
    from lungcli.datasets.audit import audit, features

    dataset = manifest.load(name)
    with progress.preparing(f"reading {dataset.name}") as advance:
        looks = features.dataset_features(dataset, manifest.folder(dataset.name), OPTIONS["size"].default, advance)
    with progress.preparing("looking for shortcuts") as advance:
        result = audit.audit(dataset, looks, split_seed, advance)
    if json:
        console.print_json(result)
    else:
        _show(result)
        if html is None and png is None:
            console.info(f"to see the slices: lungcli data check '{dataset.name}' --html audit.html", style="dim")
    if html is not None:
        _write_page(html, result, dataset)
    if png is not None:
        _write_sheets(png, result, dataset)
    errors = [item.id for item in result.findings if item.severity == "error"]
    if strict and errors:
        console.error(f"{dataset.name} has {len(errors)} error{'' if len(errors) == 1 else 's'}: {', '.join(errors)}")
        raise typer.Exit(1)


def _show(audit: "Audit") -> None:
    from lungcli.views.audit import leakage

    if audit.nearest_neighbour is not None:
        out = console.out()
        out.print(leakage(audit.nearest_neighbour, out.width), soft_wrap=True)
    _show_tables(audit)
    _show_findings(audit)


def _show_tables(audit: "Audit") -> None:
    out = console.out()
    out.print()
    _print_table(*audit.class_table())
    out.print(
        "\ngroupings, and the share of test slices with a near-duplicate in training or validation, by correlation:",
        soft_wrap=True,
    )
    _print_table(*audit.grouping_table())
    out.print(
        "\nshortcuts: balanced accuracy of predicting the class of held-out near-duplicate groups from features that "
        "say nothing about disease; chance: mean and 95th percentile with shuffled classes (!: p at most 1 %):",
        soft_wrap=True,
    )
    _print_table(
        ("predicted from", "balanced accuracy", "chance", "p"),
        [row for item in audit.shortcuts for row in _trials(item)],
    )


def _print_table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from lungcli.views import text_table

    console.out().print(text_table.grid(heads, [[console.plain(cell) for cell in row] for row in rows], 1))


def _trials(item: "Shortcut") -> list[tuple[str, ...]]:
    """A line for the slices as read, and one for them as prepared unless the shortcut is of the file."""
    stages = [(item.about, item.before)]
    if not item.of_file:
        stages.append(("  as prepared", item.after))
    return [(title, *_trial(trial)) for title, trial in stages]


def _trial(trial: "ShortcutTest | None") -> tuple[str, str, str]:
    if trial is None:
        return ("all the same", "", "")
    return (
        f"{'! ' if trial.is_significant() else ''}{with_interval(trial.balanced_accuracy)}",
        f"{trial.chance:.3f} to {trial.chance_high:.3f}",
        f"{trial.p:.3f}",
    )


def _show_findings(result: "Audit") -> None:
    from lungcli.views import audit

    out = console.out()
    out.print("\n", audit.counts(result), sep="")
    for item in result.findings:
        out.print(audit.finding(item), end="", soft_wrap=True)


def _write_page(path: Path, audit: "Audit", dataset: "Manifest") -> None:
    from lungcli.datasets import manifest
    from lungcli.datasets.audit import html_report

    page = html_report.render_html(audit, dataset, manifest.folder(dataset.name)).encode()
    write_file(path, page, "--html FILE")


def _write_sheets(into: Path, audit: "Audit", dataset: "Manifest") -> None:
    from lungcli.datasets import manifest
    from lungcli.datasets.audit import contact_sheets
    from lungcli.imaging.picture import encoded

    folder = manifest.folder(dataset.name)
    kinds = {
        "conflicts": ("near-duplicates with different labels", contact_sheets.conflict_rows(audit)),
        "look-alikes": ("near-duplicate groups", contact_sheets.near_duplicate_rows(dataset)),
    }
    # All are drawn before the first is written, so that an interrupted call leaves no part of a series.
    files = {
        into / f"{kind}-{number:02d}.png": encoded(sheet)
        for kind, (title, rows) in kinds.items()
        for number, sheet in enumerate(contact_sheets.sheets(rows, folder, f"{dataset.name}: {title}"), start=1)
    }
    for path, content in files.items():
        write_file(path, content, "--png DIR")
    if not files:
        console.info("there are no near-duplicates to draw")


def write_file(path: Path, content: bytes, option: str) -> None:
    """Write a file that the user named with `option`, whole or not at all, and report its path."""
    from lungcli.core import errors

    try:
        paths.atomic_write(path, content)
    except errors.LungcliError as error:
        raise errors.LungcliError(error.message, f"choose another path with {option}") from error
    console.info(f"written: {path}")
