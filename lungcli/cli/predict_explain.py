"""Pictures of `lungcli predict`: heat-maps drawn in the terminal or written as PNG overlays, and prepared slices."""

import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from lungcli.modelfile.model_file import Model
    from lungcli.predict.explain import Explained
    from lungcli.predict.predict import Prediction, SliceImage

Explain = Annotated[bool, typer.Option("--explain", help="Draw where the model sees what speaks for its verdict.")]
ExplainTo = Annotated[
    Path | None,
    typer.Option("--explain-to", metavar="DIR", help="Write each picture with its heat-map to DIR, as PNG."),
]

# Cells of a drawing at most; where there is no terminal to ask, exactly these.
COLUMNS, ROWS = 64, 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What to show of each slice beside its prediction: its heat, drawn or in a folder, and itself as prepared.

    `taken` holds the names of files written so far.
    """

    draws: bool
    heat: Path | None
    prepared: Path | None
    taken: set[str] = field(default_factory=set)

    @property
    def wanted(self) -> bool:
        """Whether anything is to be shown."""
        return self.draws or self.heat is not None or self.prepared is not None


def show(found: "Prediction", image: "SliceImage", model: "Model", pictures: Pictures) -> None:
    """Show what one prediction rests on. Raises LungcliError when a folder cannot be written to."""
    from lungcli.cli import console
    from lungcli.core import paths
    from lungcli.export import formats
    from lungcli.predict import explain

    if pictures.draws or pictures.heat:
        explained = explain.explained(model, image, found.label)
        if pictures.draws:
            draw(explained)
        if pictures.heat:
            path = pictures.heat / named(found.source, "heat", pictures.taken)
            paths.atomic_write(path, explain.png(explained))
            console.info(f"heat-map: {path}")
    if pictures.prepared:
        name = named(found.source, "prepared", pictures.taken)
        paths.atomic_write(pictures.prepared / name, formats.png(image.prepared))


def draw(found: "Explained") -> None:
    """Draw what the net saw, with its heat; without colours in ASCII, the heat beside the slice."""
    from rich.segment import Segment, Segments

    from lungcli.cli import console
    from lungcli.views import terminal_image
    from lungcli.views.prediction import heat_map

    out = console.out()
    columns, rows = _room(out)
    if _in_colour(out):
        for line in terminal_image.lines(found.overlay, columns, rows):
            out.print(Segments([*line, Segment.line()]), end="")
    else:
        half = (columns - 2) // 2
        beside = zip(*(terminal_image.shades(grey, half, rows) for grey in (found.slice, found.strength)), strict=True)
        for left, right in beside:
            out.print(f"{left}  {right}".rstrip(), soft_wrap=True)
    out.print(heat_map(found.label, peak=found.peak, coloured=_in_colour(out)), style="dim", soft_wrap=True)


def named(source: str, what: str, taken: set[str]) -> str:
    """Return `NAME.what.png` for a picture called `source`, with a number if it is in `taken`, and add it there."""
    from lungcli.core.formatting import CONTROL

    stem = CONTROL.sub("_", Path(source).stem) or "picture"
    tries = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    name = next(name for each in tries if (name := f"{each}.{what}.png") not in taken)
    taken.add(name)
    return name


def _room(out: "Console") -> tuple[int, int]:
    if not out.is_terminal:
        return COLUMNS, ROWS
    # The verdict, its bars and the prompt want to stay in sight.
    return max(16, min(COLUMNS, out.width - 1)), max(8, min(ROWS, out.height - 10))


def _in_colour(out: "Console") -> bool:
    encodes = out.encoding.lower().startswith("utf")
    return encodes and out.color_system is not None and not out.no_color and "NO_COLOR" not in os.environ
