"""Pictures from `lungcli predict`: heat-maps, drawn in the terminal or written as PNG, and prepared slices."""

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lungcli.cli import console, options
from lungcli.core import paths
from lungcli.core.formatting import CONTROL

if TYPE_CHECKING:
    from rich.console import Console

    from lungcli.modelfile.model_file import Model
    from lungcli.predict.explain import Explained
    from lungcli.predict.predict import Prediction, SliceImage

Explain = Annotated[bool, options.in_panel("Pictures", "Draw a heat-map of what supports the prediction.", "--explain")]
ExplainTo = Annotated[
    Path | None,
    options.in_panel("Pictures", "Write each picture with its heat-map to DIR, as PNG.", "--explain-to", metavar="DIR"),
]

# Largest drawing in cells, and its size where there is no terminal.
COLUMNS, ROWS = 64, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Pictures to show with each prediction: its heat-map, drawn or in a folder, and the prepared slice in a folder.

    `used_names` are the names of the files written so far.
    """

    draws: bool
    heat: Path | None
    prepared: Path | None
    used_names: set[str] = field(default_factory=set)

    @property
    def wanted(self) -> bool:
        """Whether any picture is to be shown."""
        return self.draws or self.heat is not None or self.prepared is not None


def show(prediction: "Prediction", image: "SliceImage", model: "Model", pictures: Pictures) -> None:
    """Show the requested pictures of one prediction. Raises LungcliError when a folder cannot be written to."""
    from lungcli.export import formats
    from lungcli.predict import explain

    if pictures.draws or pictures.heat:
        explained = explain.explained(model, image, prediction.label)
        if pictures.draws:
            draw(explained)
        if pictures.heat:
            path = pictures.heat / unique_name(prediction.source, "heat", pictures.used_names)
            paths.atomic_write(path, explain.png(explained))
            console.info(f"heat-map: {path}")
    if pictures.prepared:
        name = unique_name(prediction.source, "prepared", pictures.used_names)
        paths.atomic_write(pictures.prepared / name, formats.png(image.prepared))


def draw(explained: "Explained") -> None:
    """Draw the prepared slice under its heat-map; without colours, in ASCII and beside each other."""
    from rich.segment import Segment, Segments

    from lungcli.views import terminal_image
    from lungcli.views.prediction import heat_map

    out = console.out()
    columns, rows = _room(out)
    if _in_colour(out):
        for line in terminal_image.lines(explained.overlay, columns, rows):
            out.print(Segments([*line, Segment.line()]), end="")
    else:
        half = (columns - 2) // 2
        pairs_of_rows = zip(
            *(terminal_image.shades(grey, half, rows) for grey in (explained.slice, explained.strength)), strict=True
        )
        for slice_row, heat_row in pairs_of_rows:
            out.print(f"{slice_row}  {heat_row}".rstrip(), soft_wrap=True)
    out.print(heat_map(explained.label, peak=explained.peak, coloured=_in_colour(out)), style="dim", soft_wrap=True)


def unique_name(source: str, kind: str, used_names: set[str]) -> str:
    """Return `NAME.what.png` for a picture called `source`, with a number if it is in `taken`, and add it there."""
    stem = CONTROL.sub("_", Path(source).stem) or "picture"
    stems = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    name = next(name for candidate in stems if (name := f"{candidate}.{kind}.png") not in used_names)
    used_names.add(name)
    return name


def _room(out: "Console") -> tuple[int, int]:
    if not out.is_terminal:
        return COLUMNS, ROWS
    # The prediction, its bars and the prompt stay in sight.
    return max(16, min(COLUMNS, out.width - 1)), max(8, min(ROWS, out.height - 10))


def _in_colour(out: "Console") -> bool:
    encodes = out.encoding.lower().startswith("utf")
    return encodes and out.color_system is not None and not out.no_color and "NO_COLOR" not in os.environ
