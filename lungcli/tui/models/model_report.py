"""A model card as a table to read."""

from collections.abc import Iterator

import msgspec
from rich.table import Table
from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.modelfile.model_card import ModelCard
from lungcli.views.figures import with_interval


def card(found: ModelCard, path: str) -> Table:
    """List everything a model card says."""
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row(Text("file"), Text(plain(path)))
    for name, value in _flat(msgspec.to_builtins(msgspec.structs.replace(found, figures=None)), ""):
        table.add_row(Text(plain(name)), Text(plain(value)))
    if found.figures is not None:
        for name, estimate in found.figures.estimates.items():
            table.add_row(Text(name.replace("_", " ")), Text(with_interval(estimate)))
    return table


def _flat(value: object, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{name} · {key}" if name else str(key))
    elif isinstance(value, list | tuple):
        yield name, ", ".join(map(str, value))
    elif value not in (None, ""):
        yield name, str(value)
