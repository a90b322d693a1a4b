"""Scales of charts: where a value lies among the dots of an axis, and round ticks that lie on the dots they name.

Ticks are 1, 2 or 5 times a power of ten, after Heckbert (1990, "Nice numbers for graph labels", Graphics Gems).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

DOTS = 4
"""Dots of braille above each other in a cell."""

# The widest logarithmic scale: what is smaller still lies on its edge.
_LOG_SPAN, _LEAST = 1e9, 1e-9
# A chart is not flattened for the sake of values that lie so many times further out than most others.
_FAR_IN_LINE, _FAR_OF_LINES = 5.0, 10.0
_MOST_OF_LINE = 0.9
# Below so many points, none is an outlier; of about so many, most of a line is known: sorting all would cost too much.
_FEW, _SAMPLE = 5, 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """Values from `low` at dot 0 to `high` at the last of `dots`; `log`: both are logarithms to the base of ten."""

    low: float
    high: float
    dots: int
    ticks: tuple[float, ...] = ()
    log: bool = False

    def dot(self, value: float) -> int:
        """The dot nearest to a value, counted from the low end; outside of 0 to `dots` - 1 for values beyond the ends.

        On a logarithmic scale `value` must be above 0.
        """
        share = ((math.log10(value) if self.log else value) - self.low) / (self.high - self.low)
        return round(max(-1.0, min(2.0, share)) * (self.dots - 1))


def upright(low: float, high: float, cells: int, *, log: bool = False) -> Scale:
    """The scale of an upright axis of `cells`, on which ticks are a whole number of cells apart (if not `log`)."""
    return _logarithmic(low, high, cells) if log else _even(low, high, cells)


def across(low: float, high: float, dots: int, count: int, *, log: bool = False) -> Scale:
    """The scale of an axis from left to right, from `low` to `high`, with about `count` ticks."""
    if not log:
        return Scale(low=low, high=high, dots=dots, ticks=tuple(ticks(low, high, count)))
    return Scale(low=math.log10(low), high=math.log10(high), dots=dots, ticks=_log_ticks(low, high, count), log=True)


def _even(low: float, high: float, cells: int) -> Scale:
    """The finest scale whose lowest tick lies in the lowest cell and whose ticks are `pitch` cells apart."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        margin = abs(high) * 0.1 or 1.0
        low, high = low - margin, high + margin
    power = math.floor(math.log10((high - low) / cells))
    most = max(2, min(cells // 2, max(4, cells // 4)))
    fits = [
        (step / pitch, pitch, step)
        for step in (factor * 10.0**exponent for exponent in range(power, power + 4) for factor in (1, 2, 5))
        for pitch in range(max(min(2, cells // 2), cells // 8), most + 1)
        if math.floor(low / step + 1e-9) * step + (DOTS * cells - 2) * step / (DOTS * pitch) >= high
    ]
    _, pitch, step = min(fits)
    first, dot = math.floor(low / step + 1e-9), step / (DOTS * pitch)
    start = first * step - dot
    last = first + (cells - 1) // pitch
    return Scale(
        low=start,
        high=start + (DOTS * cells - 1) * dot,
        dots=DOTS * cells,
        ticks=tuple(round(number * step, 12 - power) for number in range(first, last + 1)),
    )


def _logarithmic(low: float, high: float, cells: int) -> Scale:
    high = max(high, _LEAST)
    low = max(low, high / _LOG_SPAN)
    margin = math.log10(high / low) * 0.04 or 0.1
    bottom, top = math.log10(low) - margin, math.log10(high) + margin
    return Scale(low=bottom, high=top, dots=DOTS * cells, ticks=_log_ticks(10**bottom, 10**top, cells // 2), log=True)


def _log_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    """At most about `count` ticks: 1, 2 and 5 of every decade, else decades, else every second one, and so on."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1,)):
        marks = [factor * 10.0**power for power in decades for factor in factors]
        marks = [tick for tick in marks if low <= tick <= high]
        if 2 <= len(marks) <= max(2, count):
            return tuple(marks)
    return tuple(marks[:: -(-len(marks) // max(1, count))]) if len(marks) > 1 else tuple(ticks(low, high, count))


def ticks(low: float, high: float, count: int) -> list[float]:
    """About `count` round numbers between `low` and `high`: steps of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / max(1, count)
    power = math.floor(math.log10(rough))
    step = next(factor * 10.0**power for factor in (1, 2, 5, 10) if factor * 10.0**power >= rough * 0.75)
    first = math.ceil(low / step - 1e-9)
    numbers = range(first, math.floor(high / step + 1e-9) + 1)
    # Far from zero, a last bit may lie beyond a narrow range.
    return [min(max(round(i * step, 12 - power), low), high) for i in numbers]


def rounded(value: float) -> str:
    """A round number on a scale, without zeros that say nothing."""
    return f"{value:.4g}".replace("e-0", "e-").replace("e+0", "e+")


def labels_below(x: Scale, width: int, left: int, unit: str, *, dots: int = 1, divide: float = 1.0) -> str:
    """The line under a chart: each tick below the cell that it names, the `unit` before them in the `left` cells.

    `dots` are those beside each other in a cell; ticks are shown in `unit` after division by `divide`.
    """
    row = list(f"{unit:>{left - 2}}".ljust(left + width))
    for tick in x.ticks:
        text = rounded(tick / divide)
        at = min(left + x.dot(tick) // dots - (len(text) - 1) // 2, left + width - len(text))
        if all(cell == " " for cell in row[at - 1 : at + len(text) + 1]):
            row[at : at + len(text)] = text
    return "".join(row)


def robust_range(lines: Sequence[Sequence[float]]) -> tuple[float, float] | None:
    """The lowest and highest value to draw of all lines, without outliers above; None where there is no value.

    Within a line, an outlier lies 5 times as high over the lowest value as nine of ten others; among lines, one whose
    highest value lies 10 times as high as that of half of them. What is less than twice as much is none: memory of 2.7
    and 2.9 GB.
    """
    lines = [values for values in lines if values]
    if not lines:
        return None
    low = min(map(min, lines))
    highs = [_most(values, low) for values in lines]
    # A level has one value, and may lie anywhere: curves alone say what is far.
    curves = sorted(high for high, values in zip(highs, lines, strict=True) if len(values) > 1) or sorted(highs)
    usual = curves[(len(curves) - 1) // 2]
    limit = max(low + _FAR_OF_LINES * (usual - low), 2 * usual)
    return low, max([high for high in highs if high <= limit] or highs)


def _most(values: Sequence[float], low: float) -> float:
    """The highest value that is no outlier of its line."""
    highest = max(values)
    if len(values) < _FEW:
        return highest
    sample = sorted(values[:: max(1, len(values) // _SAMPLE)])
    usual = sample[int(_MOST_OF_LINE * (len(sample) - 1))]
    limit = max(low + _FAR_IN_LINE * (usual - low), 2 * usual)
    return highest if highest <= limit or limit <= low else max(value for value in values if value <= limit)
