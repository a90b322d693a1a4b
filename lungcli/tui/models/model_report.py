"""What one model got right, and how sure it was, as things to read: confusion matrix, reliability, model card."""

from collections.abc import Iterator

import msgspec
from rich.table import Table
from rich.text import Text

from lungcli.core.formatting import number, plain
from lungcli.metrics import calibration
from lungcli.metrics.calibration import Bin
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile.model_card import ModelCard
from lungcli.views import comparison_table
from lungcli.views.figures import with_interval

_BAR = 30


def confusion(evaluation: Evaluation) -> Table:
    """Draw the confusion matrix: rows the true classes, each cell its count and its share of the class."""
    head, *lines = comparison_table.by_class(evaluation)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, heading in enumerate(head):
        table.add_column(Text(plain(heading)), justify="right" if index else "left", no_wrap=True)
    count = len(evaluation.classes)
    for index, (name, *cells) in enumerate(lines):
        total = sum(map(int, cells[:count])) or 1
        shown = [_share(int(value), total, right=place == index) for place, value in enumerate(cells[:count])]
        table.add_row(Text(plain(name)), *shown, *map(Text, cells[count:]))
    return table


def _share(count: int, total: int, *, right: bool) -> Text:
    style = "bold green" if right else ("red" if count / total >= 0.1 else "")
    return Text.assemble((str(count), style), (f" {count / total:4.0%}", "dim"))


def reliability(evaluation: Evaluation) -> Text:
    """Draw the reliability diagram on its side: a bar of what was right, a mark where the model said it would be."""
    labels, probabilities, _ = evaluation.arrays()
    text = Text.assemble(("when it said   it was right".ljust(_BAR + 15) + "slices\n", "bold"))
    for found in calibration.reliability_bins(probabilities, labels):
        text.append_text(_bin(found))
    error = calibration.expected_calibration_error(probabilities, labels)
    return text.append(f"┃ marks what was promised; ECE {error:.3f} is the mean gap, weighted by slices", "dim")


def _bin(found: Bin) -> Text:
    gap = found.confidence - found.accuracy
    full, mark = round(found.accuracy * _BAR), min(round(found.confidence * _BAR), _BAR - 1)
    line = Text(f"{found.confidence:6.0%}  ")
    for low, high, marked in ((0, mark, False), (mark, mark + 1, True), (mark + 1, _BAR, False)):
        right = max(low, min(full, high))
        line.append("┃" if marked else "█" * (right - low), "bold yellow" if marked else "blue")
        line.append("" if marked else "·" * (high - right), "dim")
    words = "over-confident" if gap > 0.05 else "under-confident" if gap < -0.05 else "fair"
    line.append(f" {found.accuracy:4.0%} {found.n:5d}  ")
    return line.append(f"{words}\n", "red" if gap > 0.05 else "dim")


def figures(evaluation: Evaluation) -> Table:
    """List every figure with its interval."""
    found = evaluation.figures()
    table = Table(box=None, show_header=False, pad_edge=False)
    for name, estimate in found.estimates.items():
        table.add_row(name.replace("_", " "), with_interval(estimate))
    table.add_row("ECE / NLL / Brier", f"{number(found.ece)} / {number(found.nll)} / {number(found.brier)}")
    about = f"{found.n} slices of {found.groups} look-alike groups, {found.part} part, {found.protocol} split"
    table.add_row("judged on", about)
    return table


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
