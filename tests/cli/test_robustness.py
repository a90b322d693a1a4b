"""The table of a model under stress against golden output."""

from pathlib import Path

import pytest

from lungcli.cli import robustness
from lungcli.evaluation.external_validation import ExternalResult
from lungcli.metrics.intervals import Estimate
from lungcli.modelfile.model_card import ExternalFigures, RobustnessFigures

pytestmark = pytest.mark.usefixtures("narrow")


def row(change: str, strength: int, setting: str, value: float | None, flips: float) -> RobustnessFigures:
    figure = Estimate(value=value, low=value, high=value)
    return RobustnessFigures(
        change=change,
        strength=strength,
        setting=setting,
        balanced_accuracy=Estimate(value=0.5, low=0.25, high=0.75),
        sensitivity=figure,
        specificity=figure,
        flips=flips,
        positive_flips=None if value is None else flips / 2,
    )


GOLDEN = """\
under other acquisitions
                        balanced    malignant    malignant         malignant
change                  accuracy  sensitivity  specificity  flips      flips
none    as it is           0.500        0.900        0.900
window  85% wide           0.500        0.800        0.800  10.0%     5.0%
        70% wide           0.500        0.700        0.700  20.0%    10.0%
most flips: 20.0% of the slices, under window, 70% wide
lowest malignant sensitivity: 0.700 [.700, .700], under window, 70% wide
"""


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    robustness.show(
        (
            row("none", 0, "as it is", 0.9, 0.0),
            row("window", 1, "85% wide", 0.8, 0.1),
            row("window", 2, "70% wide", 0.7, 0.2),
        )
    )
    shown = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [" ".join(line.split()) for line in shown] == [
        " ".join(line.split()) for line in (GOLDEN + "\n").splitlines()
    ]
    assert max(map(len, shown)) <= 80


def test_without_a_malignant_class_and_without_flips(capsys: pytest.CaptureFixture[str]) -> None:
    robustness.show((row("none", 0, "as it is", None, 0.0), row("window", 1, "85% wide", None, 0.0)), "")
    shown = capsys.readouterr().out
    assert "nothing flips" in shown
    assert not any(word in shown for word in ("lowest", "–", "sensitivity", "specificity"))


def test_a_folder_is_shown_with_its_unreadable_files(capsys: pytest.CaptureFixture[str]) -> None:
    figure = Estimate(value=0.75, low=0.5, high=1.0)
    figures = ExternalFigures(
        label="normal",
        digest="d",
        n=4,
        groups=2,
        unreadable=7,
        right=figure,
        specificity=figure,
        referred=figure,
        threshold=0.6,
    )
    reasons = tuple(f"cannot read {number}.png: it is empty" for number in range(7))
    robustness.show_folder(
        ExternalResult(
            folder=Path("a [red]"), figures=figures, predictions={"malignant": 1, "normal": 3}, unreadable=reasons
        )
    )
    captured = capsys.readouterr()
    assert [" ".join(line.split()) for line in captured.out.splitlines()] == [
        "a [red], as normal: 1 malignant, 3 normal",
        "predicted normal 0.750 [.500, 1.000]",
        "specificity (not predicted malignant) 0.750 [.500, 1.000]",
        "referred to a radiologist 0.750 [.500, 1.000]",
        "4 slices of 2 near-duplicate groups",
        "",
    ]
    assert captured.err.count("warning: cannot read") == 5
    assert "2 more files could not be read" in captured.err
