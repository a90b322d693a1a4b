"""Shares as bars."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.views import bars

ANY = st.floats(allow_nan=False)
SHARES = st.floats(0, 1)
EIGHTHS = " ▏▎▍▌▋▊▉█"


@given(ANY, st.integers(1, 200), st.none() | ANY)
def test_a_bar_has_exactly_its_width(share: float, width: int, mark: float | None) -> None:
    assert len(bars.bar(share, width, mark)) == width


@given(SHARES, st.integers(1, 200))
def test_a_bar_reads_back_to_its_share_within_half_an_eighth_of_a_cell(share: float, width: int) -> None:
    eighths = sum(EIGHTHS.index(cell) for cell in bars.bar(share, width).rstrip("░"))
    assert abs(eighths - share * width * 8) <= 0.5 + 1e-9


@given(SHARES, SHARES, st.integers(1, 200))
def test_a_mark_stands_at_its_share_and_changes_nothing_else(share: float, mark: float, width: int) -> None:
    marked = bars.bar(share, width, mark)
    at = marked.index("┃")
    assert at <= mark * width <= at + 1
    assert marked[:at] + marked[at + 1 :] == (plain := bars.bar(share, width))[:at] + plain[at + 1 :]


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "░░░░"), (0.5, "██░░"), (0.53, "██▏░"), (1.0, "████"), (7.0, "████"), (-1.0, "░░░░")]
)
def test_bars_to_the_cell(share: float, text: str) -> None:
    assert bars.bar(share, 4) == text
    assert bars.coloured_bar(share, 4).plain == text


def test_only_the_filled_part_has_the_colour() -> None:
    text = bars.coloured_bar(0.5, 4, "red", mark=0.8)
    assert [(text.plain[span.start : span.end], span.style) for span in text.spans] == [
        ("██", "red"),
        ("░", "dim"),
        ("┃", "bold yellow"),
    ]


def test_a_meter_says_what_exceeds_it() -> None:
    assert bars.meter(0.5, 4).plain == "██░░  50%"
    assert bars.meter(7.0, 4).plain == "████ 700%"
