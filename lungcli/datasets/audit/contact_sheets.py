"""Contact sheets: slices side by side with their class and name."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets import groups
from lungcli.datasets.audit.audit import Audit
from lungcli.datasets.manifest import Manifest
from lungcli.imaging.image_io import read
from lungcli.imaging.preprocessing import prepare_file

# Few enough that a page of them opens quickly.
MOST_ROWS = 40
MOST_IN_A_ROW = 8

TILE = 128
_ROWS_A_SHEET = 10
_MARGIN = 8
_LINE = 15
_LETTERS = 21
_GROUND, _INK, _FAINT = (24, 24, 27), (240, 240, 240), (170, 170, 175)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tile:
    """One picture on a sheet: the slice at `path` with its class."""

    path: str
    label: str

    @property
    def name(self) -> str:
        """The name of its file."""
        return PurePosixPath(self.path).name


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRow:
    """Slices that are shown side by side."""

    title: str
    tiles: tuple[Tile, ...]


def near_duplicate_rows(of: Manifest) -> tuple[TileRow, ...]:
    """The near-duplicate groups of more than one slice: those of several classes first, then the largest."""
    held = [
        slices for slices in groups.members_by_group([item.group for item in of.slices]).values() if len(slices) > 1
    ]
    labels = {slices: Counter(of.slices[i].label for i in slices) for slices in held}
    held.sort(key=lambda slices: (-len(labels[slices]), -len(slices)))
    return tuple(
        TileRow(
            title=f"group {of.slices[slices[0]].group}: "
            + ", ".join(f"{count} {label}" for label, count in labels[slices].most_common()),
            tiles=tuple(Tile(path=of.slices[i].path, label=of.slices[i].label) for i in _spread(of, slices)),
        )
        for slices in held
    )


def conflict_rows(audit: Audit) -> tuple[TileRow, ...]:
    """The pairs of near-duplicates with different labels, most similar first."""
    return tuple(
        TileRow(
            title=f"correlation {pair.correlation:.3f}",
            tiles=tuple(Tile(path=path, label=label) for path, label in zip(pair.paths, pair.labels, strict=True)),
        )
        for pair in audit.conflicts
    )


def tile(path: Path) -> Image.Image:
    """Draw one slice as a grey square of TILE pixels; a crossed one where the file can't be read."""
    try:
        return _fitted(np.rint(read(path).grey * 255).astype(np.uint8))
    except UnreadableInputError:
        return _crossed()


def sheets(rows: Sequence[TileRow], folder: Path, title: str) -> Iterator[Image.Image]:
    """Draw the first MOST_ROWS rows of slices, whose paths are relative to `folder`, a few rows a sheet."""
    for start in range(0, min(len(rows), MOST_ROWS), _ROWS_A_SHEET):
        shown = rows[start : min(start + _ROWS_A_SHEET, MOST_ROWS)]
        page = f"{title} ({start + 1} to {start + len(shown)} of {len(rows)})"
        pictures = [[(tile(folder / item.path), item.label, item.name) for item in row.tiles] for row in shown]
        yield _drawn(page, [row.title for row in shown], pictures)


def prepared_sheet(of: Manifest, folder: Path, size: int, groups_per_class: int = 6) -> Image.Image:
    """Draw slices of some near-duplicate groups of every class: as read, and below as prepared at `size` pixels."""
    titles, rows = [], []
    for label in of.classes:
        firsts = {item.group: item for item in reversed(of.slices) if item.label == label}
        chosen = [firsts[group] for group in sorted(firsts)]
        chosen = [chosen[i] for i in _even(len(chosen), groups_per_class)]
        as_read, prepared = [], []
        for item in chosen:
            name = PurePosixPath(item.path).name
            as_read.append((tile(folder / item.path), f"{item.size[0]} x {item.size[1]}", name))
            prepared.append((_prepared_tile(folder / item.path, size), f"{size} x {size}", ""))
        titles += [f"{label}, as read", f"{label}, as prepared"]
        rows += [as_read, prepared]
    return _drawn(f"{of.name}: slices as read, and as a net sees them", titles, rows)


def _prepared_tile(path: Path, size: int) -> Image.Image:
    try:
        return _fitted(prepare_file(path, size))
    except UnreadableInputError:
        return _crossed()


def _fitted(pixels: NDArray[np.uint8]) -> Image.Image:
    """Fit a picture into a square tile; its aspect is kept."""
    return ImageOps.pad(Image.fromarray(pixels), (TILE, TILE))


def _crossed() -> Image.Image:
    image = Image.new("L", (TILE, TILE), 60)
    draw = ImageDraw.Draw(image)
    draw.line((0, 0, TILE, TILE), fill=200)
    draw.line((0, TILE, TILE, 0), fill=200)
    return image


def _spread(of: Manifest, slices: Sequence[int]) -> list[int]:
    """Return evenly spaced slices of a group, with at least one of each of its classes while there is room."""
    some = dict.fromkeys({of.slices[i].label: i for i in reversed(slices)}.values())
    some |= dict.fromkeys(slices[i] for i in _even(len(slices), MOST_IN_A_ROW))
    return sorted(list(some)[:MOST_IN_A_ROW])


def _even(count: int, wanted: int) -> list[int]:
    if count <= wanted:
        return list(range(count))
    return [i * (count - 1) // (wanted - 1) for i in range(wanted)]


def _drawn(title: str, titles: Sequence[str], rows: Sequence[Sequence[tuple[Image.Image, str, str]]]) -> Image.Image:
    """Draw a sheet: a title, and below it for each row its own title and pictures with two lines of text each."""
    large, small = ImageFont.load_default(14), ImageFont.load_default(11)
    high = _LINE + TILE + 2 * _LINE + _MARGIN
    wide = max([4, *(len(row) for row in rows)]) * (TILE + _MARGIN) + _MARGIN
    sheet = Image.new("RGB", (wide, 3 * _MARGIN + _LINE + len(rows) * high), _GROUND)
    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, _MARGIN), title, font=large, fill=_INK)
    for number, (name, row) in enumerate(zip(titles, rows, strict=True)):
        top = 3 * _MARGIN + _LINE + number * high
        draw.text((_MARGIN, top), name, font=small, fill=_INK)
        for place, (picture, first, second) in enumerate(row):
            left = _MARGIN + place * (TILE + _MARGIN)
            sheet.paste(picture.convert("RGB"), (left, top + _LINE))
            below = top + _LINE + TILE
            draw.text((left, below), _short(first), font=small, fill=_INK)
            draw.text((left, below + _LINE - 2), _short(second), font=small, fill=_FAINT)
    return sheet


def _short(text: str) -> str:
    """Shorten a text to the width of a tile; the end of a file name says more than its start."""
    return text if len(text) <= _LETTERS else "…" + text[1 - _LETTERS :]
