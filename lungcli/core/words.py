"""Figures in words, for tables and sentences alike; foreign names made harmless."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lungcli.core.intervals import Estimate

# Control characters of a foreign file name could move the cursor or recolour the terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def plain(name: object) -> str:
    """Return a foreign name with control characters made visible."""
    return _CONTROL.sub(lambda match: match.group().encode("unicode_escape").decode(), str(name))


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:.{digits}f}"


def with_interval(estimate: "Estimate | None") -> str:
    """`0.712 [.640, .781]`."""
    if estimate is None or estimate.value is None:
        return "–"
    return f"{number(estimate.value)} [{_short(estimate.low)}, {_short(estimate.high)}]"


def difference(estimate: "Estimate | None") -> str:
    """`-0.012 [-.050, +.021]`, marked `n.s.` where the interval holds zero."""
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return "–"
    unsure = "" if estimate.low > 0 or estimate.high < 0 else " n.s."
    return f"{estimate.value:+.3f}{unsure} [{_short(estimate.low, '+')}, {_short(estimate.high, '+')}]"


def _short(value: float | None, sign: str = "") -> str:
    """A limit of an interval without the zero that every figure below one begins with."""
    return "–" if value is None else f"{value:{sign}.3f}".replace("0.", ".", 1 if abs(value) < 1 else 0)


def size(count: int) -> str:
    """Bytes as people read them, in powers of ten."""
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"
