"""Shares as bars of block characters."""

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

_EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
_REST, _MARK = "░", "┃"


def bar(share: float, width: int, mark: float | None = None) -> str:
    """Draw a share, cut to 0..1, in exactly `width` cells, to an eighth of a cell; ┃ stands at the share `mark`."""
    full, eighth = divmod(round(min(1.0, max(0.0, share)) * width * 8), 8)
    cells = ("█" * full + _EIGHTHS[eighth]).ljust(width, _REST)
    if mark is None:
        return cells
    at = min(int(min(1.0, max(0.0, mark)) * width), width - 1)
    return cells[:at] + _MARK + cells[at + 1 :]


def coloured_bar(share: float, width: int, style: str = "green", mark: float | None = None) -> "Text":
    """Draw the same bar with its filled part in `style`."""
    from rich.text import Text

    styles = {_REST: "dim", _MARK: "bold yellow"}
    runs = itertools.groupby(bar(share, width, mark), lambda cell: styles.get(cell, style))
    return Text.assemble(*(("".join(cells), run_style) for run_style, cells in runs))


def meter(share: float, width: int, style: str = "green") -> "Text":
    """Draw a bar of `width` cells with its percentage behind it."""
    return coloured_bar(share, width, style).append(f" {share:4.0%}", "default not dim")
