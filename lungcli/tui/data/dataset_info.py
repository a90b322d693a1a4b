"""Data sets apart from any widget: counts, near-duplicate groups, leakage, findings, contact sheets."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.text import Text

from lungcli.core.errors import LungcliError, UnreadableInputError
from lungcli.core.formatting import plain
from lungcli.datasets import groups, manifest, summary
from lungcli.datasets.audit.audit import Audit
from lungcli.datasets.audit.knn_baseline import NearestNeighbour
from lungcli.datasets.manifest import Manifest, Slice
from lungcli.datasets.summary import DatasetSummary
from lungcli.imaging.image_io import read
from lungcli.tui.widgets.image_ops import on_screen
from lungcli.views import audit, colours
from lungcli.views.bars import coloured_bar
from lungcli.views.terminal_image import Pixels

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
    """One near-duplicate group: its number, its slices, and how many of them each class has."""

    number: int
    slices: tuple[Slice, ...]
    classes: dict[str, int]

    @property
    def mixed(self) -> bool:
        """Whether it holds several classes, which near-duplicates should not."""
        return len(self.classes) > 1


def read_all() -> tuple[Holding, ...]:
    """Read every data set on this machine; one that cannot be read is a holding with a problem."""
    return tuple(_read(name, folder) for name, folder in manifest.existing().items())


def _read(name: str, folder: Path) -> Holding:
    try:
        data = manifest.read(folder / "manifest.json")
    except LungcliError as error:
        return Holding(name=name, folder=folder, problem=error.message)
    return Holding(name=name, folder=folder, manifest=data, summary=summary.summarize(data))


def groups_of(data: Manifest) -> list[Group]:
    """Return the near-duplicate groups: those that hold several classes first, then the largest."""
    listed = []
    for number, indices in groups.members_by_group([item.group for item in data.slices]).items():
        slices = tuple(data.slices[index] for index in indices)
        labels = [item.label for item in slices]
        counts = {label: labels.count(label) for label in data.classes if label in labels}
        listed.append(Group(number=number, slices=slices, classes=counts))
    return sorted(listed, key=lambda group: (not group.mixed, -len(group.slices), group.number))


def facts(holding: Holding, leak: NearestNeighbour | None, width: int) -> Text:
    """Say in `width` cells what a data set holds, where it comes from, and how far memory alone gets on it."""
    if holding.summary is None or holding.manifest is None:
        return Text.assemble(("cannot be read\n", "bold red"), plain(holding.problem))
    counted, in_groups = holding.summary, summary.groups_by_class(holding.manifest)
    text = Text()
    if counted.source.synthetic:
        text.append("! synthetic: drawn by the program, says nothing about people\n", "bold yellow")
    most = max(counted.classes.values(), default=1)
    text.append(f"{'class':<10} slices groups\n", "bold")
    for label, count in counted.classes.items():
        bar = coloured_bar(count / most, max(4, min(30, width - 26)), colours.of_class(label, list(counted.classes)))
        text.append(f"{plain(label):<10} {count:6d} {in_groups[label]:6d} ").append_text(bar).append("\n")
    text.append(f"{'all':<10} {counted.slices:6d} {counted.groups:6d}\n", "bold")
    text.append(
        f"{counted.exact_copies} exact copies · largest group {counted.largest_group} slices · "
        f"{counted.mixed_groups} groups hold several classes\n"
    )
    for place in counted.institutions if len(counted.institutions) > 1 else ():
        classes = ", ".join(f"{count} {label}" for label, count in place.classes.items())
        text.append(f"{plain(place.name)}: {plain(classes)}\n", "yellow" if len(place.classes) == 1 else "")
    if one_class := summary.one_class(counted.institutions):
        names = plain(", ".join(item.name for item in one_class))
        text.append(f"! one class only, so that a model may learn the scanner: {names}\n", "bold yellow")
    if leak is None:
        text.append("n measures what a random split pays for memory alone\n", "cyan")
    else:
        text.append_text(audit.leakage(leak, width))
    text.append(f"{plain(counted.source.about)}; licence {plain(counted.source.licence)}\n", "dim")
    if counted.source.any_picture:
        text.append("any picture is welcome: models trained on it have no guard\n", "yellow")
    unlike = f"unlike axial lung CT: {len(counted.doubtful)} of {counted.slices} slices\n"
    for title, files in ((f"{len(counted.rejected)} files left out:\n", counted.rejected), (unlike, counted.doubtful)):
        text.append(title if files else "", "yellow")
        for item in files[:_SHOWN_FILES]:
            text.append(f"  {plain(item.path)}: {plain(item.reason)}\n", "dim")
    return text


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
        tiles.append(_framed(pixels, colours.of_class(item.label, classes)))
    return tiles, failed


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
        text.append("■ ", colours.of_class(label, classes)).append(f"{plain(label)}  ")
    return text


def class_counts(classes: Mapping[str, int]) -> str:
    """The classes of a group in a table: `benign 3, normal 1`."""
    return ", ".join(f"{plain(label)} {count}" for label, count in classes.items())


def findings_sheet(findings: Audit) -> tuple[Text, ...]:
    """Every finding, the worst first, and how to see the slices they are about."""
    if not findings.findings:
        return (Text(audit.CLEAN),)
    more = f"with pictures: lungcli data check {plain(findings.name)} --html audit.html"
    return (*(audit.finding(item) for item in findings.findings), Text(more, "dim"))


def _framed(pixels: Pixels, colour: str) -> Pixels:
    from PIL import Image, ImageColor

    canvas = np.empty((_TILE, _TILE, 3), dtype=np.uint8)
    canvas[:] = ImageColor.getrgb(colour)[:3]
    inner = _TILE - 2 * _FRAME
    image = Image.fromarray(pixels).convert("RGB")
    image.thumbnail((inner, inner), Image.Resampling.BILINEAR)
    canvas[_FRAME:-_FRAME, _FRAME:-_FRAME] = 0
    top, left = (_TILE - image.height) // 2, (_TILE - image.width) // 2
    canvas[top : top + image.height, left : left + image.width] = np.asarray(image)
    return canvas
