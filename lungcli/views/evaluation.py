"""What is said of an evaluation: on what it rests, the confusion matrix, the figures, how reliable confidence is."""

import math
from typing import TYPE_CHECKING

from lungcli.core.formatting import plain
from lungcli.views.bars import coloured_bar
from lungcli.views.figures import with_interval
from lungcli.views.text_table import grid
from lungcli.views.units import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Group
    from rich.table import Table

    from lungcli.metrics.predictions import Evaluation, Figures, Flip

RANDOM_SPLIT = "random split: training has slices of the same bodies, so these figures are too high"
SYNTHETIC = "synthetic data: these figures say nothing about people"

FLIP_HEADINGS = ("", "true class", "before", "after", "slice")

# With what stands beside it, within 80 columns, also in a frame.
_BAR = 26
# With names over their columns more classes than these are no table any more.
_NAMED = 5
# Confidence may be off by so much and still be called fair.
_FAIR = 0.05


def rests_on(slices: int, groups: int, part: str = "", protocol: str = "", of_run: str = "") -> str:
    """`184 slices of 41 near-duplicate groups, test part, grouped split`; of a final fit, the run that was tested."""
    facts = [f"{slices} slices of {groups} near-duplicate groups"]
    if part != "all":
        facts += [f"{part} part"] * bool(part) + [f"{protocol} split"] * bool(protocol)
    facts += [f"measured on {of_run}, of the same recipe without these slices"] * bool(of_run)
    return ", ".join(facts)


def by_class(evaluation: "Evaluation") -> list[list[str]]:
    """Confusion matrix with recall, precision and F1 of each class, a list of cells a line, the heading first."""
    from lungcli.metrics import classification

    matrix = evaluation.matrices().sum(axis=0)
    figures = (classification.recalls(matrix), classification.precisions(matrix), classification.f1_scores(matrix))
    lines = [["true class", *(f"→ {plain(name)}" for name in evaluation.classes), "recall", "precision", "F1"]]
    for index, name in enumerate(evaluation.classes):
        counts = [str(count) for count in matrix[index]]
        # Nothing was predicted to be of a class: it has no precision.
        shown = [None if math.isnan(values[index]) else float(values[index]) for values in figures]
        lines.append([plain(name), *counts, *map(number, shown)])
    return lines


def confusion(evaluation: "Evaluation", title: str | None = None) -> "Table":
    """Draw the confusion matrix: rows the true classes, each cell its count and its share of the class.

    Of many classes the columns are numbered as the rows are, without shares, so that it fits a narrow terminal.
    """
    from rich.table import Table
    from rich.text import Text

    head, *lines = by_class(evaluation)
    classes = len(evaluation.classes)
    if many := classes > _NAMED:
        head[1 : classes + 1] = [f"→{number}" for number in range(1, classes + 1)]
        lines = [[f"{number} {name}", *cells] for number, (name, *cells) in enumerate(lines, 1)]
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 1 if many else 2, 0, 0))
    for index, heading in enumerate(head):
        # Only long names take a second line.
        table.add_column(
            Text(heading), justify="right" if index else "left", no_wrap=not many or index > 0, overflow="fold"
        )
    for row, (name, *cells) in enumerate(lines):
        counts = list(map(int, cells[:classes]))
        total = sum(counts) or 1
        shown = []
        for column, count in enumerate(counts):
            style = "bold green" if column == row else ("red" if count / total >= 0.1 else "")
            shown.append(Text.assemble((str(count), style), ("" if many else f" {count / total:4.0%}", "dim")))
        table.add_row(Text(name), *shown, *map(Text, cells[classes:]))
    return table


def flip_outcome(flip: "Flip") -> str:
    """`corrected` where only our prediction is right, `broken` where only theirs is, else `both wrong`."""
    if flip.ours == flip.label:
        return "corrected"
    return "broken" if flip.theirs == flip.label else "both wrong"


def flip_cells(flip: "Flip") -> tuple[str, ...]:
    """The cells of a table under `FLIP_HEADINGS`."""
    before, after = f"{flip.theirs} {flip.their_confidence:.0%}", f"{flip.ours} {flip.our_confidence:.0%}"
    return tuple(map(plain, (flip_outcome(flip), flip.label, before, after, flip.slice.removeprefix("slices/"))))


def flips_headline(flips: "Sequence[Flip]", slices: int) -> str:
    """Count the predictions that differ between two models by which of the two is right."""
    outcomes = [flip_outcome(flip) for flip in flips]
    counts = ", ".join(f"{outcomes.count(kind)} {kind}" for kind in ("corrected", "broken", "both wrong"))
    return f"{len(flips)} of {slices} predictions flipped: {counts}"


def figures_table(figures: "Figures") -> "Table":
    """List every figure with its interval, and what they rest on."""
    table = grid(())
    for name, estimate in figures.estimates.items():
        table.add_row(name.replace("_", " "), with_interval(estimate))
    table.add_row("ECE / NLL / Brier", f"{figures.ece:.3f} / {figures.nll:.3f} / {figures.brier:.3f}")
    table.add_row("evaluated on", rests_on(*figures.basis))
    return table


def reliability(evaluation: "Evaluation") -> "Group":
    """Draw the reliability diagram on its side: a bar of the accuracy of each bin, ┃ where its confidence is."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from lungcli.metrics import calibration

    labels, probabilities, _ = evaluation.arrays()
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for title in ("confidence", "accuracy", "slices", "accuracy, ┃ confidence", ""):
        table.add_column(title, justify="right" if title in ("confidence", "accuracy", "slices") else "left")
    for item in calibration.reliability_bins(probabilities, labels):
        gap = item.confidence - item.accuracy
        words = "over-confident" if gap > _FAIR else "under-confident" if gap < -_FAIR else "fair"
        drawn = coloured_bar(item.accuracy, _BAR, "blue", mark=item.confidence)
        cells = (f"{item.confidence:.0%}", f"{item.accuracy:.0%}", str(item.n))
        table.add_row(*cells, drawn, Text(words, "red" if gap > _FAIR else "dim"))
    error = calibration.expected_calibration_error(probabilities, labels)
    return Group(table, Text(f"ECE {error:.3f}: the mean gap of confidence and accuracy, weighted by slices", "dim"))
