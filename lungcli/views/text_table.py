"""Tables of text, a line for each row. No cell is cut, and none but those of the last column is ever wrapped."""

import textwrap
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from lungcli.core.formatting import plain_lines

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

# The first cell of the gap holds the mark of the best.
_GAP = 2
BEST = "*"
# A narrower last column is left to the terminal.
_LEAST_WRAPPED = 20


def lines(
    headings: Sequence[str],
    rows: Sequence[Sequence[str]],
    best: Collection[tuple[int, int]] = (),
    width: int | None = None,
) -> "list[Text]":
    """Draw headings, of one or two lines, and rows; cells at `best`, as (row, column), are bold and have a `*`.

    With a `width` the last column is wrapped at spaces to fit into so many cells, if that is sensible.
    """
    from rich.cells import cell_len
    from rich.text import Text

    widths = _widths(headings, rows)
    heads = [heading.split("\n") for heading in headings]
    height = max(map(len, heads))
    drawn = []
    for number in range(height):
        cells = (head[number - height + len(head)] if number >= height - len(head) else "" for head in heads)
        padded = (cell + " " * (least + _GAP - cell_len(cell)) for cell, least in zip(cells, widths, strict=True))
        line = "".join(padded)
        drawn.append(Text(line.rstrip(), "bold"))
    indent = sum(widths[:-1]) + _GAP * (len(widths) - 1)
    for row, row_cells in enumerate(rows):
        text = Text()
        last, *further = [row_cells[-1]]
        if width is not None and indent + _LEAST_WRAPPED <= width < indent + widths[-1]:
            last, *further = textwrap.wrap(last, width - indent, break_long_words=False, break_on_hyphens=False) or [""]
        for column, (cell, column_width) in enumerate(zip((*row_cells[:-1], last), widths, strict=True)):
            mark = BEST if (row, column) in best else ""
            text.append(cell + mark, "bold" if mark else "")
            text.append(" " * (column_width + _GAP - cell_len(cell) - len(mark)))
        text.rstrip()
        drawn.append(text)
        drawn += [Text(" " * indent + rest) for rest in further]
    return drawn


def grid(
    headings: Sequence[str],
    rows: "Iterable[Sequence[str | Text]]" = (),
    texts: int | None = None,
    title: str | None = None,
) -> "Table":
    """Make a table without lines, whose cells are folded where there is no room for them.

    The first `texts` columns begin at the left, the others end at the right; all are texts where it is None. Without
    headings there is no line for them.
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, show_header=bool(headings))
    for place, heading in enumerate(headings):
        table.add_column(
            Text(plain_lines(heading)), justify="left" if texts is None or place < texts else "right", overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    return table


def fitting(headings: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> int:
    """Return how many of the columns, at least one, `width` cells have room for."""
    ends = [-_GAP]
    for column in _widths(headings, rows):
        ends.append(ends[-1] + _GAP + column)
    return max(1, sum(end <= width for end in ends[1:]))


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    from rich.cells import cell_len

    heads = (max(map(cell_len, heading.split("\n"))) for heading in headings)
    return [max(head, *(cell_len(row[column]) for row in rows), 0) for column, head in enumerate(heads)]
