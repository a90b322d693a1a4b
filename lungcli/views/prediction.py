"""What is said of a prediction, of a series, and of a picture that has none. Foreign names are made harmless."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lungcli.core.formatting import plain
from lungcli.views import bars, colours

if TYPE_CHECKING:
    from rich.text import Text

    from lungcli.predict.explain import Peak
    from lungcli.predict.predict import Failure, Prediction, Refusal
    from lungcli.predict.series import SeriesVerdict

SYNTHETIC = "trained on drawn phantoms: says nothing about people"
UNGUARDED = "trained on pictures of any kind: it has no guard, and refuses none"

# `malignant   58.0% ` stands before a bar.
_BEFORE_BAR, _LONGEST_BAR = 18, 60


def headline(label: str, probabilities: Mapping[str, float]) -> str:
    """`malignant 70.0%`; `no prediction` where no label is given."""
    return f"{plain(label)} {probabilities[label]:.1%}" if label else "no prediction"


def ranked(probabilities: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the classes with their probabilities, the likeliest first."""
    return sorted(probabilities.items(), key=lambda item: -item[1])


def in_columns(probabilities: Mapping[str, float], top: int) -> str:
    """The `top` likeliest classes in columns: `malignant   81.2%  benign      12.0%`."""
    return "  ".join(f"{plain(label):<10} {value:6.1%}" for label, value in ranked(probabilities)[:top])


def probability_bars(probabilities: Mapping[str, float], width: int, top: int | None = None) -> "Text":
    """Draw a line with a bar for each of the `top` likeliest classes (all if None), at most `width` cells wide."""
    from rich.text import Text

    room = max(4, min(_LONGEST_BAR, width - _BEFORE_BAR))
    text = Text()
    for label, value in ranked(probabilities)[:top]:
        bar = bars.coloured_bar(value, room, colours.of_class(label, tuple(probabilities)))
        text.append(f"{plain(label):<10} {value:6.1%} ").append_text(bar).append("\n")
    return text


def referral(prediction: "Prediction | SeriesVerdict") -> str:
    """Say why a prediction is left to a radiologist; empty where it is not."""
    return f"referred to a radiologist: {plain(prediction.reason)}" if prediction.referred else ""


def forced(prediction: "Prediction") -> str:
    """Say that the guard would have refused the picture; empty where it would not."""
    return "not an axial lung CT slice; predicted only because of --force" if prediction.forced else ""


def unpredicted(outcome: "Refusal | Failure") -> tuple[str, str]:
    """Say why a picture has no prediction, and what to do about it."""
    from lungcli.predict.predict import Failure

    if isinstance(outcome, Failure):
        return plain(outcome.reason), plain(outcome.hint)
    return (
        f"no prediction for {plain(outcome.source)}: not an axial lung CT slice "
        f"({plain(outcome.reason)}; score {outcome.score:.2f}, limit 1)",
        "give an axial slice in a lung window; lungcli predict --force predicts it anyway and marks the result",
    )


def acquisition(prediction: "Prediction") -> str:
    """Say how far a slice's acquisition is from those of the training slices; `guard` 0 stands for not known."""
    if not prediction.guard:
        return "acquisition of the training slices not recorded"
    return f"acquisition distance {prediction.guard:.2f} (limit 1)"


def agreement(prediction: "Prediction") -> str:
    """`2 of 3`: how many models predict what their mean predicts."""
    opinions = prediction.opinions
    return f"{sum(opinion.label == prediction.label for opinion in opinions)} of {len(opinions)}"


def provenance(prediction: "Prediction", model: str) -> str:
    """`run/int8 (mobilenetv2) · mean of 10 views · 12 ms`."""
    averaged = f" · mean of {prediction.views} views" if prediction.views > 1 else ""
    return f"{plain(model)} ({plain(prediction.model)}){averaged} · {prediction.seconds * 1000:.0f} ms"


def series_counts(series: "SeriesVerdict") -> str:
    """`7 of 9 slices used, 2 referred, 5 predicted malignant`."""
    counts = (
        (series.referred_slices, "referred"),
        (series.not_judged, "without a prediction"),
        (series.malignant_slices, f"predicted {plain(series.positive_class)}"),
    )
    return ", ".join([f"{series.used} of {series.slices} slices used", *(f"{n} {what}" for n, what in counts if n)])


def heat_map(label: str, *, peak: "Peak | bool | None", coloured: bool) -> str:
    """Say what a heat-map shows, and its `peak` where known; in greys (not `coloured`) it stands beside the slice."""
    if not peak:
        return f"heat-map: no region supports {plain(label)}"
    scale = "violet to yellow" if coloured else "right of the slice, @ is strongest"
    place = "" if peak is True else f"; strongest at x {peak.x}, y {peak.y} px"
    return f"heat-map: regions that support {plain(label)}, {scale}{place}"
