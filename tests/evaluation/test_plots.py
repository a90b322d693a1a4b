"""Pictures of figures: drawn from what they claim, and never under a name that lies."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcli.core.errors import LungcliError, UsageError
from lungcli.evaluation import plots, robustness
from lungcli.metrics import calibration, referral
from lungcli.metrics.calibration import CalibrationErrors
from lungcli.metrics.intervals import Estimate
from lungcli.modelfile.model_card import RobustnessFigures

ERRORS = CalibrationErrors(ece=0.1, nll=0.5, brier=0.3)
RED, BLUE = (0xC0, 0x39, 0x2B), (0x2F, 0x6D, 0xB3)


def _drawn() -> tuple[np.ndarray[tuple[int, int], np.dtype[np.float64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
    rng = np.random.default_rng(0)
    return rng.dirichlet(np.ones(3), 60), rng.integers(0, 3, 60)


def _row(number: int, value: float | None) -> RobustnessFigures:
    change, strength, setting = robustness.CONDITIONS[number]
    found = Estimate(value=value, low=value, high=value)
    return RobustnessFigures(
        change=change,
        strength=strength,
        setting=setting,
        balanced_accuracy=found,
        sensitivity=found,
        specificity=found,
        flips=0.5,
        positive_flips=value,
    )


def _has(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == colour).all(axis=-1).sum())


def test_reliability_bars_are_as_high_as_the_accuracy() -> None:
    half = calibration.Bin(low=0.5, high=0.75, n=10, confidence=0.6, accuracy=0.5)
    full = calibration.Bin(low=0.5, high=0.75, n=10, confidence=0.6, accuracy=1.0)
    small, large = (_has(plots.reliability_diagram([item], "title", ERRORS, ERRORS), BLUE) for item in (half, full))
    assert large == pytest.approx(2 * small, rel=0.06)
    assert _has(plots.reliability_diagram([], "title", ERRORS, ERRORS), BLUE) == 0


def test_the_curve_of_risk() -> None:
    probabilities, labels = _drawn()
    right = probabilities.argmax(axis=1) == labels
    points = referral.risk_coverage_curve(probabilities.max(axis=1), right, labels == 1)
    chosen = referral.choose(points, referral.DEFAULT, 60)
    image = plots.risk_coverage_curve(points, chosen, "title")
    assert image.size == (560, 560)
    assert _has(image, RED) > 300
    of_none = referral.risk_coverage_curve(probabilities.max(axis=1), right, labels == 9)
    without = plots.risk_coverage_curve(of_none, chosen, "title")
    assert _has(without, BLUE) == 0


def test_every_row_of_the_robustness_plot_is_drawn() -> None:
    rows = [_row(number, 0.5) for number in range(len(robustness.CONDITIONS))]
    image = plots.robustness(rows, "title")
    assert image.size[0] < 1400
    ink = np.asarray(image.convert("L")) < 200
    # A dot of each row in the middle of the first panel.
    middle = ink[:, 288:304].any(axis=1)
    assert middle.sum() > 8 * len(rows)
    assert _has(image, BLUE) > _has(plots.robustness([_row(number, None) for number in range(25)], "title"), BLUE)
    without = plots.robustness(rows, "title", positive="")
    assert without.size[0] < image.size[0]
    assert not _has(without, BLUE)


def test_pictures_are_saved_as_png(tmp_path: Path) -> None:
    plots.save(plots.reliability_diagram([], "ä", ERRORS, ERRORS), tmp_path / "new" / "r.png")
    content = (tmp_path / "new" / "r.png").read_bytes()
    assert Image.open(io.BytesIO(content)).format == "PNG"
    assert len(content) < 60_000
    (tmp_path / "file").write_text("")
    with pytest.raises(LungcliError, match="cannot write"):
        plots.save(Image.new("L", (1, 1)), tmp_path / "file" / "r.png")


@pytest.mark.parametrize("name", ["a.jpg", "model.onnx", "a"])
def test_another_suffix_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="would hold a PNG picture"):
        plots.require_png(Path(name))


def test_png_in_any_case_is_fine() -> None:
    plots.require_png(None)
    plots.require_png(Path("a.PNG"))
