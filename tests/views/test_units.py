"""Quantities in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.views import units

SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "y": 365.25 * 86_400}
BYTES = {"kB": 1e3, "MB": 1e6, "GB": 1e9}


def half_a_digit(number: str) -> float:
    """By how much a number may have been rounded."""
    return 0.5 * 10.0 ** -len(number.partition(".")[2]) + 1e-9


@given(st.floats(), st.integers(0, 4))
def test_no_figure_is_longer_than_a_column(value: float, digits: int) -> None:
    text = units.number(value, digits)
    assert len(text) <= 13
    # Larger ones would be rounded to what no float holds.
    if abs(value) <= 1e308:
        assert float(text) == pytest.approx(value, rel=0.5, abs=0.5)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.5, "0.500"), (-999_999.25, "-999999.250"), (1e6, "1e+06"), (1e308, "1e+308")]
)
def test_figures(value: float | None, text: str) -> None:
    assert units.number(value) == text


@given(st.floats(0, 999 * SECONDS["y"]))
def test_a_duration_reads_back_to_its_seconds_in_at_most_four_characters(seconds: float) -> None:
    text = units.duration(seconds)
    assert len(text) <= 4
    assert abs(float(text[:-1]) - seconds / SECONDS[text[-1]]) <= half_a_digit(text[:-1])


@given(st.integers(0, 999_949_999_999))
def test_a_size_reads_back_to_its_bytes(count: int) -> None:
    number, unit = units.size(count).split()
    assert float(number) < 1000
    assert abs(float(number) - count / BYTES[unit]) <= half_a_digit(number)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (-5, "0s"),
        (45, "45s"),
        (720, "12m"),
        (12240, "3.4h"),
        (250_000, "69h"),
        (1e6, "12d"),
        (1e8, "3y"),
        (1e12, "999y"),
    ],
)
def test_durations(seconds: float | None, text: str) -> None:
    assert units.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 kB"), (260_300, "260 kB"), (999_999, "1.00 MB"), (44_680_000, "44.68 MB"), (16_000_000_000, "16.0 GB")],
)
def test_sizes(count: int, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("done", "total", "since", "seconds", "text"),
    [
        (34_200_000, 157_600_000, 4_200_000, 6.0, "34.2 of 157.6 MB, 5.0 MB/s, 25s left"),
        (34_200_000, 0, 4_200_000, 6.0, "34.2 MB, 5.0 MB/s"),
        (34_200_000, 157_600_000, 34_200_000, 6.0, "34.2 of 157.6 MB"),
        (34_200_000, 157_600_000, 0, 0.1, "34.2 of 157.6 MB"),
    ],
)
def test_how_a_file_arrives(done: int, total: int, since: int, seconds: float, text: str) -> None:
    assert units.transfer(done, total, since, seconds) == text


@pytest.mark.parametrize(
    ("done", "seconds", "text"), [(424, 2.0, "212 images/s"), (34, 10.0, "3.4 images/s"), (5, 0.1, "")]
)
def test_how_fast_images_go(done: int, seconds: float, text: str) -> None:
    assert units.images_per_second(done, seconds) == text


def test_a_missing_number_is_a_dash() -> None:
    assert (units.number(None), units.number(0.12345), units.number(2.5, 1)) == ("–", "0.123", "2.5")
