"""Scales by numbers: every label stands on the row of its value, ticks are even and round, outliers flatten nothing."""

import itertools
import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from lungcli.tui.widgets import braille_plot, scales
from lungcli.tui.widgets.braille_plot import GUTTER, Frame, Line

VALUES = st.floats(-1e5, 1e5).filter(lambda value: value == 0 or abs(value) > 1e-5)
HEIGHTS = st.integers(3, 60)


def drawn(lines: list[Line], frame: Frame) -> list[str]:
    return ["".join(span for span, _ in row) for row in braille_plot.plot(lines, frame)]


def labels(rows: list[str]) -> dict[int, str]:
    return {number: row[: GUTTER - 1].strip() for number, row in enumerate(rows) if row[GUTTER - 1] == "┤"}


@given(st.lists(VALUES, min_size=2, max_size=4), HEIGHTS)
def test_a_level_is_drawn_on_the_row_that_bears_its_label(ys: list[float], height: int) -> None:
    assume(max(ys) - min(ys) > 1e-6 * max(map(abs, ys)))
    scale = scales.upright(min(ys), max(ys), height - 1)
    for tick in (tick for tick in scale.ticks if tick <= max(ys)):
        # The level may not move the scale: it is drawn within the same values.
        level = Line(label="level", style=0, level=tick)
        rows = drawn([level], Frame(width=40, height=height, values=(min(ys), max(ys))))
        at = next(number for number, row in enumerate(rows) if "╌" in row)
        assert labels(rows)[at] == scales.rounded(tick)[: GUTTER - 1]


@given(VALUES, VALUES, HEIGHTS)
def test_ticks_are_round_even_and_hold_all_values(one: float, other: float, cells: int) -> None:
    low, high = sorted((one, other))
    assume(high - low > 1e-6 * max(abs(low), abs(high)))
    scale = scales.upright(low, high, cells)
    assert 0 <= scale.dot(low) <= scale.dot(high) < scale.dots
    rows = [scale.dot(tick) // scales.DOTS for tick in scale.ticks]
    pitches = {after - before for before, after in itertools.pairwise(rows)}
    assert len(pitches) == 1, "every label is as far from the next one"
    assert min(pitches) >= 2 or cells < 4
    step = scale.ticks[1] - scale.ticks[0]
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(mantissa - nice) for nice in (1, 2, 5)) < 1e-3


@given(HEIGHTS)
def test_a_share_goes_from_0_to_1(cells: int) -> None:
    ticks = scales.upright(0.0, 1.0, cells).ticks
    assert ticks[0] == 0.0
    assert 1.0 in ticks


@given(st.floats(1e-6, 1e6), st.floats(1.0001, 1e6), HEIGHTS)
def test_a_logarithmic_scale_labels_rows_of_their_own(low: float, factor: float, cells: int) -> None:
    scale = scales.upright(low, low * factor, cells, log=True)
    rows = [scale.dot(tick) // scales.DOTS for tick in scale.ticks]
    assert 0 <= scale.dot(low) <= scale.dot(low * factor) < scale.dots
    assert all(0 <= row < cells for row in rows)


def test_the_label_of_an_epoch_stands_under_its_dot() -> None:
    rows = drawn([Line(label="a", style=0, xs=[1, 2, 3, 4], ys=[0, 1, 0, 0])], Frame(width=40, height=17))
    peak = next(row for row in rows if "1┤" in row)
    assert rows[-1].startswith(" epoch  0")
    assert abs(rows[-1].index("2") - peak.index("⣤")) <= 1


@pytest.mark.parametrize("outlier", [90.0, 1e9])
def test_a_run_far_off_flattens_no_other(outlier: float) -> None:
    usual = Line(label="a", style=0, xs=range(20), ys=[1.4 / (1 + i) for i in range(20)])
    off = Line(label="b", style=1, xs=range(20), ys=[outlier] * 20)
    assert scales.robust_range([usual.ys, off.ys]) == (1.4 / 20, 1.4)
    rows = drawn([usual, off], Frame(width=60, height=12))
    assert braille_plot.ABOVE in rows[0], "what lies beyond the scale is marked on its edge"
    assert max(map(float, labels(rows).values())) <= 2


def test_one_spike_flattens_no_curve_and_a_level_is_no_reason_to_cut() -> None:
    curve = [1.4 / (1 + i) for i in range(20)]
    assert scales.robust_range([[*curve, 1e6, *curve]]) == (1.4 / 20, 1.4)
    assert scales.robust_range([curve, [0.05]]) == (0.05, 1.4)
    assert scales.robust_range([[0.0, 1.0, 0.0, 0.0]]) == (0.0, 1.0), "few points have no outlier"
    assert scales.robust_range([[], []]) is None


def test_runs_that_differ_by_little_are_all_drawn() -> None:
    """Memory in GB, as four runs had it."""
    level, steady = [2.902 + i / 1e6 for i in range(20)], [2.745 + i / 1e4 for i in range(20)]
    assert scales.robust_range([level, steady]) == (2.745, level[-1])
    assert scales.robust_range([[*steady, 2.9, *steady]]) == (2.745, 2.9)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(1, 12))
@example(879609.9999999999, 1e-06, 4)
def test_ticks_are_within_and_not_too_many(low: float, span: float, count: int) -> None:
    high = low + span
    assume(high > low)
    ticks = scales.ticks(low, high, count)
    assert len(ticks) <= 2 * count + 3
    assert all(low - span * 1e-6 <= tick <= high + span * 1e-6 for tick in ticks)
