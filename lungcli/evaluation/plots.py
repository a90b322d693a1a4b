"""Reliability diagram, risk–coverage curve and robustness plot, drawn with Pillow alone.

Captions keep to ASCII, which is what Pillow's built-in font has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from lungcli.core import paths
from lungcli.core.errors import UsageError
from lungcli.imaging.picture import encoded
from lungcli.metrics.calibration import Bin, CalibrationErrors
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.operating_point import ChosenOn
from lungcli.metrics.predictions import MALIGNANT
from lungcli.metrics.referral import CoveragePoint, Referral
from lungcli.modelfile.model_card import RobustnessFigures

SIDE = 560
_LEFT, _TOP, _PLOT = 60, 70, 440
_INK, _FAINT, _PALE = "#222222", "#8a8a8a", "#dddddd"
_BLUE, _RED, _GREEN = "#2f6db3", "#c0392b", "#2e8b57"
_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)

_ROOM_FOR_A_NUMBER = 0.04
_NAMES, _PANEL, _GAP, _ROW = 200, 190, 34, 22

Draw = ImageDraw.ImageDraw


@dataclass(frozen=True, slots=True, kw_only=True)
class _Panel:
    """One column of the robustness plot: the estimate of each row, and its colour."""

    title: str
    colour: str
    of: Callable[[RobustnessFigures], Estimate]


def require_png(path: Path | None) -> None:
    """Raise UsageError for a file name that does not end in .png."""
    if path is not None and path.suffix.lower() != ".png":
        raise UsageError(f"{path} would hold a PNG picture", f"call it {path.with_suffix('.png').name}")


def save(image: Image.Image, path: Path) -> None:
    """Write a picture as PNG, atomically."""
    paths.atomic_write(path, encoded(image, optimize=True))


def reliability_diagram(
    bins: Sequence[Bin], title: str, before: CalibrationErrors, after: CalibrationErrors
) -> Image.Image:
    """Draw accuracy over confidence: with perfect calibration, bars end on the diagonal."""
    image, draw = _square(title, "confidence", "accuracy")
    for item in bins:
        left, top = _at(item.low, item.accuracy)
        right, bottom = _at(item.high, 0)
        draw.rectangle((left + 1, top, right - 1, bottom), fill=_BLUE)
        x, y = _at((item.low + item.high) / 2, item.confidence)
        draw.line((left + 1, y, right - 1, y), fill=_RED, width=3)
        inside = "white" if item.accuracy > _ROOM_FOR_A_NUMBER else _INK
        draw.text((x, bottom - 4), str(item.n), fill=inside, font=_font(11), anchor="ms")
    draw.line((*_at(0, 0), *_at(1, 1)), fill=_FAINT)
    for row, (name, errors) in enumerate((("T = 1", before), ("calibrated", after))):
        text = f"{name}:  ECE {errors.ece:.3f}   NLL {errors.nll:.3f}   Brier {errors.brier:.3f}"
        draw.text((_LEFT, 30 + 17 * row), text, fill=_INK, font=_font(13))
    draw.text((SIDE - 10, 30), "red: mean confidence; numbers: slices", fill=_RED, font=_font(11), anchor="ra")
    return image


def risk_coverage_curve(
    points: Sequence[CoveragePoint],
    referral: Referral,
    title: str,
    positive: str = MALIGNANT,
    chosen_on: ChosenOn = "validation slices",
) -> Image.Image:
    """Draw selective risk and the sensitivity to the class `positive` over coverage, and the threshold chosen."""
    image, draw = _square(title, "coverage (share not referred)", "share")
    draw.line([_at(point.coverage, point.risk) for point in points], fill=_RED, width=3)
    sensitivity_line = [_at(point.coverage, point.sensitivity) for point in points if point.sensitivity is not None]
    if len(sensitivity_line) > 1:
        draw.line(sensitivity_line, fill=_BLUE, width=3)
        draw.text((_LEFT + 250, 47), f"{positive} sensitivity of those", fill=_BLUE, font=_font(13))
    x, bottom = _at(referral.coverage, 0)
    draw.line((x, _TOP, x, bottom), fill=_INK)
    draw.text((x + 5, bottom - 6), f"refer below {referral.threshold:.3f}", fill=_INK, font=_font(12), anchor="ls")
    target = referral.target.replace("≤", "at most").replace("≥", "at least")
    draw.text((_LEFT, 30), f"target: {target}, on {referral.n} {chosen_on}", fill=_INK, font=_font(13))
    draw.text((_LEFT, 47), "risk: wrong among the not referred", fill=_RED, font=_font(13))
    return image


def robustness(rows: Sequence[RobustnessFigures], title: str, positive: str = MALIGNANT) -> Image.Image:
    """Draw every metric under every perturbation with its interval; a line marks that of unchanged slices (rows[0]).

    Sensitivity and specificity are of the class `positive`; without one they are left out.
    """
    of_positive = (
        _Panel(title=f"{positive} sensitivity", colour=_RED, of=lambda row: row.sensitivity),
        _Panel(title=f"{positive} specificity", colour=_BLUE, of=lambda row: row.specificity),
    )
    flipped = f"predictions flipped (o: {positive})" if positive else "predictions flipped"
    panels = (
        _Panel(title="balanced accuracy", colour=_INK, of=lambda row: row.balanced_accuracy),
        *(of_positive if positive else ()),
        _Panel(title=flipped, colour=_GREEN, of=lambda row: Estimate(value=row.flips, low=row.flips, high=row.flips)),
    )
    offsets = [6 * sum(item.strength == 1 for item in rows[: number + 1]) for number in range(len(rows))]
    heights = [_TOP + 20 + _ROW * number + offset for number, offset in enumerate(offsets)]
    width, height = _NAMES + len(panels) * (_PANEL + _GAP), heights[-1] + 50
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    draw.text((14, 12), title, fill=_INK, font=_font(16))
    for row, y in zip(rows, heights, strict=True):
        if row.strength < 2:
            draw.text((14, y), row.change, fill=_INK, font=_font(13), anchor="lm")
        draw.text((_NAMES - 14, y), row.setting, fill=_FAINT, font=_font(12), anchor="rm")
    for number, panel in enumerate(panels):
        left = _NAMES + number * (_PANEL + _GAP)
        draw.text((left, 42), panel.title, fill=panel.colour, font=_font(13))
        for tick in _TICKS:
            x = left + tick * _PANEL
            draw.line((x, heights[0] - 14, x, heights[-1] + 12), fill=_PALE)
            draw.text((x, heights[-1] + 18), f"{tick:g}", fill=_FAINT, font=_font(11), anchor="mt")
        _forest(draw, panel, rows, heights, left)
    for row, y in zip(rows, heights, strict=True):
        if row.positive_flips is not None and row.strength:
            x = _NAMES + (len(panels) - 1) * (_PANEL + _GAP) + row.positive_flips * _PANEL
            draw.ellipse((x - 4, y - 4, x + 4, y + 4), outline=_RED, width=2)
    return image


def _forest(draw: Draw, panel: _Panel, rows: Sequence[RobustnessFigures], heights: Sequence[int], left: int) -> None:
    start = panel.of(rows[0]).value
    if start is not None:
        x = left + start * _PANEL
        draw.line((x, heights[0], x, heights[-1] + 12), fill=panel.colour)
    for row, y in zip(rows, heights, strict=True):
        estimate = panel.of(row)
        if estimate.value is None or estimate.low is None or estimate.high is None:
            continue
        draw.line((left + estimate.low * _PANEL, y, left + estimate.high * _PANEL, y), fill=panel.colour)
        x = left + estimate.value * _PANEL
        draw.ellipse((x - 4, y - 4, x + 4, y + 4), fill=panel.colour)


def _square(title: str, across: str, up: str) -> tuple[Image.Image, Draw]:
    image = Image.new("RGB", (SIDE, SIDE), "white")
    draw = ImageDraw.Draw(image)
    draw.text((_LEFT, 8), title, fill=_INK, font=_font(15))
    for tick in _TICKS:
        x, y = _at(tick, tick)
        draw.line((x, _TOP, x, _TOP + _PLOT), fill=_PALE)
        draw.line((_LEFT, y, _LEFT + _PLOT, y), fill=_PALE)
        draw.text((x, _TOP + _PLOT + 6), f"{tick:g}", fill=_FAINT, font=_font(12), anchor="mt")
        draw.text((_LEFT - 6, y), f"{tick:g}", fill=_FAINT, font=_font(12), anchor="rm")
    draw.text((_LEFT + _PLOT / 2, SIDE - 8), across, fill=_INK, font=_font(13), anchor="ms")
    turned = Image.new("L", (_PLOT, 20), 255)
    ImageDraw.Draw(turned).text((_PLOT / 2, 14), up, fill=34, font=_font(13), anchor="ms")
    image.paste(turned.rotate(90, expand=True), (4, _TOP))
    return image, draw


def _at(across: float, up: float) -> tuple[float, float]:
    return _LEFT + across * _PLOT, _TOP + (1 - up) * _PLOT


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
