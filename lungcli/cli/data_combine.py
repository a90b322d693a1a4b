"""`lungcli data combine`."""

from typing import Annotated

import typer

from lungcli.cli import console, data, options
from lungcli.core import names
from lungcli.core.errors import UsageError


def combine(
    sources: Annotated[list[str], typer.Argument(metavar="NAME...", help="Data sets to combine, two or more.")],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Name of the combined data set.")],
    class_map: Annotated[
        list[str] | None,
        typer.Option(
            "--map",
            metavar="OLD=NEW",
            help="Rename a class; OLD= leaves its slices out. Repeatable.",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> None:
    """Combine data sets of several institutions into one.

    Patients and near-duplicates are found across them, and each slice keeps its institution: that of its data set's
    label table, else the data set's name. Files are linked, not copied.

    \b
    Example: lungcli data combine iqothnccd ctset luna qin --map tumour-free=normal --name lung4
    """
    from lungcli.cli import progress
    from lungcli.datasets import combine

    with progress.preparing(f"comparing all slices of {', '.join(sources)}") as advance:
        combined = combine.combine(sources, name, _renamings(class_map or []), advance)
    if shared := combine.shared_patients(combined):
        console.warn(
            f"{shared} patients are named in several institutions: slices of one name are taken for one person"
        )
    data.show_created(combined, json=json)


def _renamings(specs: list[str]) -> dict[str, str]:
    """Read each `OLD=NEW`. Raises UsageError for another form, and where one class is renamed to two names."""
    renamed: dict[str, tuple[str, str]] = {}
    for spec in specs:
        old, equals, new = spec.partition("=")
        if not equals or not old.strip():
            raise UsageError(f"--map {spec!r} does not rename a class", "write it as --map tumour-free=normal")
        _, other = renamed.setdefault(names.spelling(old), (old, new))
        if other != new:
            raise UsageError(f"--map renames the class {old!r} to {other!r} and to {new!r}", "name one of the two")
    return dict(renamed.values())
