"""What there is to say of the data sets, apart from any widget: counts, look-alike groups, the leak, sheets."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.text import Text

from lungcli.core.errors import LungcliError, UnreadableInputError
from lungcli.core.formatting import plain
from lungcli.datasets import groups, manifest, summary
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.datasets.manifest import Manifest, Slice
from lungcli.datasets.summary import DatasetSummary
from lungcli.imaging.image_io import read
from lungcli.tui.widgets.image_ops import on_screen
from lungcli.views.terminal_image import Pixels

# Red for malignant, as everywhere; other classes take turns.
_CLASS_COLOURS = ((94, 169, 255), (255, 204, 77), (120, 220, 120), (200, 140, 255))
_MALIGNANT = (255, 80, 80)
_FRAME = 3
_TILE = 96
_SHOWN_FILES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One data set on this machine with its counts, or the `problem` for which it cannot be read."""

    name: str
    folder: Path
    manifest: Manifest | None = None
    summary: DatasetSummary | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One look-alike group: its number, its slices, and how many of them each class has."""

    number: int
    slices: tuple[Slice, ...]
    classes: dict[str, int]

    @property
    def mixed(self) -> bool:
        """Say whether it holds several classes, which look-alikes should not."""
        return len(self.classes) > 1


def read_all() -> tuple[Holding, ...]:
    """Read every data set on this machine; one that cannot be read is a holding with a problem."""
    return tuple(_holding(name, folder) for name, folder in manifest.existing().items())


def _holding(name: str, folder: Path) -> Holding:
    try:
        found = manifest.read(folder / "manifest.json")
    except LungcliError as error:
        return Holding(name=name, folder=folder, problem=error.message)
    return Holding(name=name, folder=folder, manifest=found, summary=summary.summarize(found))


def groups_of(found: Manifest) -> list[Group]:
    """Return the look-alike groups: those that hold several classes first, then the largest."""
    members = groups.members_by_group([item.group for item in found.slices])
    made = []
    for number, indices in members.items():
        slices = tuple(found.slices[index] for index in indices)
        labels = [item.label for item in slices]
        counts = {label: labels.count(label) for label in found.classes if label in labels}
        made.append(Group(number=number, slices=slices, classes=counts))
    return sorted(made, key=lambda group: (not group.mixed, -len(group.slices), group.number))


def facts(holding: Holding, leak: NearestNeighbour | None, width: int) -> Text:
    """Say in `width` cells what a data set holds, where it comes from, and how far memory alone gets on it."""
    if holding.summary is None or holding.manifest is None:
        return Text.assemble(("cannot be read\n", "bold red"), plain(holding.problem))
    counted, in_groups = holding.summary, summary.groups_by_class(holding.manifest)
    text = Text()
    if counted.source.synthetic:
        text.append("! synthetic: drawn by the program, teaches nothing about people\n", "bold yellow")
    most = max(counted.classes.values(), default=1)
    text.append(f"{'class':<10} slices groups\n", "bold")
    for label, count in counted.classes.items():
        full = max(1, round(max(4, min(30, width - 26)) * count / most))
        text.append(f"{plain(label):<10} {count:6d} {in_groups[label]:6d} ").append(
            "█" * full + "\n", _hex(label, counted)
        )
    text.append(f"{'all':<10} {counted.slices:6d} {counted.groups:6d}\n", "bold")
    text.append(
        f"{counted.exact_copies} exact copies · largest group {counted.largest_group} slices · "
        f"{counted.mixed_groups} groups hold several classes\n"
    )
    text.append_text(_leak(leak, max(6, min(40, width - 21))))
    text.append(f"{plain(counted.source.about)}; licence {plain(counted.source.licence)}\n", "dim")
    if counted.rejected:
        text.append(f"{len(counted.rejected)} files left out:\n", "yellow")
        for item in counted.rejected[:_SHOWN_FILES]:
            text.append(f"  {plain(item.path)}: {plain(item.reason)}\n", "dim")
    return text


def _leak(leak: NearestNeighbour | None, bar: int) -> Text:
    if leak is None:
        return Text.assemble(("n tells how far memory alone gets\n", "cyan"))
    text = Text.assemble(("copying the most alike slice (balanced):\n", "bold"))
    for words, value, style in (
        ("any neighbour", leak.random_balanced, "yellow"),
        ("other groups", leak.grouped_balanced, "green"),
    ):
        full = round(bar * value)
        text.append(f"{words:<14}").append("█" * full, style).append("░" * (bar - full), "dim").append(
            f" {value:.1%}\n"
        )
    gap = (leak.random_balanced - leak.grouped_balanced) * 100
    return text.append(f"{gap:.0f} points are memory of the same bodies: a random split pays them out\n", "bold")


def sheet(group: Group, folder: Path, classes: Sequence[str], first: int, most: int) -> tuple[list[Pixels], int]:
    """Read up to `most` slices of a group from the `first` on, each framed in the colour of its class.

    Returns the tiles, and how many of them could not be read (they are dark).
    """
    tiles, failed = [], 0
    for item in group.slices[first : first + most]:
        try:
            pixels = on_screen(read(folder / item.path).grey)
        except UnreadableInputError:
            pixels, failed = np.full((_TILE, _TILE), 24, dtype=np.uint8), failed + 1
        tiles.append(_framed(pixels, colour_of(item.label, classes)))
    return tiles, failed


def colour_of(label: str, classes: Sequence[str]) -> tuple[int, int, int]:
    """Return the colour of a class."""
    if label == "malignant":
        return _MALIGNANT
    others = [name for name in classes if name != "malignant"]
    return _CLASS_COLOURS[others.index(label) % len(_CLASS_COLOURS)]


def caption(group: Group, first: int, shown: int, failed: int) -> str:
    """Say which slices of a group are on the sheet, in words for those who see no colours."""
    runs, number = [], first + 1
    for label, same in itertools.groupby(group.slices[first : first + shown], lambda item: item.label):
        count = len(list(same))
        runs.append(f"{number}{f'–{number + count - 1}' if count > 1 else ''} {plain(label)}")
        number += count
    unread = f" · {failed} cannot be read" if failed else ""
    return f"{', '.join(runs)} of {len(group.slices)}{unread}"


def legend(classes: Sequence[str]) -> Text:
    """Name the colours of the frames."""
    text = Text()
    for label in classes:
        red, green, blue = colour_of(label, classes)
        text.append("■ ", f"rgb({red},{green},{blue})").append(f"{plain(label)}  ")
    return text


def worst(found: Mapping[str, int]) -> str:
    """Show the classes of a group in a table: `benign 3, normal 1`."""
    return ", ".join(f"{plain(label)} {count}" for label, count in found.items())


def _framed(pixels: Pixels, colour: tuple[int, int, int]) -> Pixels:
    from PIL import Image

    canvas = np.empty((_TILE, _TILE, 3), dtype=np.uint8)
    canvas[:] = colour
    inner = _TILE - 2 * _FRAME
    image = Image.fromarray(pixels).convert("RGB")
    image.thumbnail((inner, inner), Image.Resampling.BILINEAR)
    canvas[_FRAME:-_FRAME, _FRAME:-_FRAME] = 0
    top, left = (_TILE - image.height) // 2, (_TILE - image.width) // 2
    canvas[top : top + image.height, left : left + image.width] = np.asarray(image)
    return canvas


def _hex(label: str, counted: DatasetSummary) -> str:
    red, green, blue = colour_of(label, list(counted.classes))
    return f"rgb({red},{green},{blue})"
