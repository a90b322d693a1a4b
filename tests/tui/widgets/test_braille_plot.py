"""Curves as text: exact frames, gaps, logarithms, marks, and what the cursor reads."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.tui.widgets import braille_plot
from lungcli.tui.widgets.braille_plot import Frame, Line


def text(lines: list[Line], frame: Frame) -> list[str]:
    return ["".join(span for span, _ in row) for row in braille_plot.plot(lines, frame)]


RISING = Line(label="a", style=0, xs=[0, 1, 2, 3, 4], ys=[0.0, 0.25, 0.5, 0.75, 1.0])


def test_a_rising_line_rises() -> None:
    assert text([RISING], Frame(width=24, height=7)) == [
        "       │                ",
        "      1┤              ⢀●",
        "       │          ⢀⣠⠴⠋⠉ ",
        "    0.5┤       ⣠⠴⠚●     ",
        "       │   ⣠⠤⠞⠉⠁        ",
        "      0┤⠤⠞●⠁            ",
        " epoch  0       2      4",
    ]


@given(
    width=st.integers(0, 120),
    height=st.integers(0, 30),
    ys=st.lists(st.floats(-1e12, 1e12, allow_nan=False), max_size=40),
    log=st.booleans(),
    cursor=st.none() | st.floats(0, 40),
    low=st.none() | st.floats(0, 20),
)
def test_any_plot_fills_its_frame_exactly(
    width: int, height: int, ys: list[float], log: bool, cursor: float | None, low: float | None
) -> None:
    line = Line(label="a", style=1, xs=[float(i) for i in range(len(ys))], ys=ys, gaps=[2] if len(ys) > 3 else [])
    level = Line(label="b", style=2, level=0.5)
    frame = Frame(width=width, height=height, log=log, cursor=cursor, low=low)
    rows = text([line, level], frame)
    assert len(rows) == height
    assert {len(row) for row in rows} <= {width}


def test_a_gap_stays_empty() -> None:
    ys = [0.5] * 11
    whole = Line(label="a", style=0, xs=[0, 1, 2, 3, 7, 8, 9, 10], ys=ys[:8])
    broken = Line(label="a", style=0, xs=whole.xs, ys=whole.ys, gaps=[4])
    frame = Frame(width=48, height=4)
    joined = next(row for row in text([whole], frame) if "●" in row)
    gapped = next(row for row in text([broken], frame) if "●" in row)
    assert " " not in joined[8:48].strip()
    assert "      " in gapped[8:48].strip()


def test_a_logarithm_leaves_out_what_has_none() -> None:
    line = Line(label="a", style=0, xs=[0, 1, 2], ys=[-1.0, 0.001, 1000.0])
    rows = text([line], Frame(width=40, height=8, log=True))
    assert any("1000┤" in row for row in rows)
    assert not any("-" in row for row in rows)


def test_lines_are_told_apart_by_marks_and_not_by_colour_alone() -> None:
    other = Line(label="b", style=1, xs=RISING.xs, ys=RISING.ys)
    whole = "".join(text([RISING, other], Frame(width=60, height=10)))
    assert "●" in whole
    assert "■" in whole


def test_a_level_goes_all_the_way_across() -> None:
    rows = text([Line(label="t", style=0, level=0.7)], Frame(width=40, height=5))
    assert sum(row.count("╌") for row in rows) == 32


def test_the_cursor_reads_every_line() -> None:
    assert braille_plot.value_at(RISING, 2.4) == 0.5
    assert braille_plot.value_at(RISING, -1) is None
    assert braille_plot.value_at(RISING, 9) is None
    assert braille_plot.value_at(Line(label="t", style=0, level=0.7), 99) == 0.7
    rows = braille_plot.plot([RISING], Frame(width=40, height=6, cursor=2.0))
    assert sum(look == braille_plot.CURSOR for row in rows for _, look in row) >= 4


def test_only_what_is_in_view_sets_the_scale() -> None:
    line = Line(label="a", style=0, xs=[0, 1, 2, 3], ys=[1000.0, 0.4, 0.5, 0.6])
    rows = text([line], Frame(width=40, height=8, low=1.0, high=3.0))
    assert not any("1000" in row for row in rows)
    assert any("0.5" in row for row in rows)


@pytest.mark.parametrize(
    ("value", "said"),
    [(None, "–"), (math.nan, "–"), (0.0, "0"), (0.5, "0.500"), (3.7e-9, "3.7e-9"), (12.34, "12.3"), (1e6, "1.0e+6")],
)
def test_figures_are_short(value: float | None, said: str) -> None:
    assert braille_plot.short(value) == said
