"""What is said of a prediction, of a series, and of a picture that has none. Foreign names are made harmless."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from lungcli.core.formatting import plain
from lungcli.metrics.predictions import MALIGNANT
from lungcli.views import bars, colours

if TYPE_CHECKING:
    from rich.text import Text

    from lungcli.predict.explain import Peak
    from lungcli.predict.predict import Failure, Outcome, Prediction, Refusal
    from lungcli.predict.series import SeriesVerdict

SYNTHETIC = "trained on drawn phantoms: says nothing about people"
UNGUARDED = "trained on pictures of any kind: it has no guard, and refuses none"

_HEADLINES = {
    "suspicious": "suspicious for {}",
    "clear": "no sign of {}",
    "refer": "no answer: refer to a radiologist",
}
_CONDITIONS = {MALIGNANT: "malignancy"}

# Of ten classes a model may mistake up to 45 pairs.
_MOST_PAIRS = 3
# `malignant ` and `  58.0% ` stand before a bar.
_LEAST_NAME, _SHARE, _LONGEST_BAR = 10, 8, 60


def headline(prediction: "Prediction | SeriesVerdict") -> str:
    """`suspicious for malignancy`, `no sign of malignancy` or `no answer: refer to a radiologist`; else, the class."""
    if not prediction.label:
        return "no prediction"
    if not prediction.finding:
        return f"{plain(prediction.label)} {prediction.probabilities[prediction.label]:.1%}"
    return _HEADLINES[prediction.finding].format(condition(prediction.positive_class))


def condition(positive_class: str) -> str:
    """What a slice of the positive class is suspicious for."""
    return _CONDITIONS.get(positive_class, plain(positive_class))


def probability_head(positive_class: str) -> str:
    """What the probabilities of a list are of: `P(malignant)`; without a positive class, that of the class named."""
    return f"P({plain(positive_class)})" if positive_class else "probability"


def summary_head(positive_class: str) -> str:
    """The head over lines of `summary`."""
    return f"{'finding' if positive_class else 'class':<11}{probability_head(positive_class):>6}"


def summary(prediction: "Prediction | SeriesVerdict") -> str:
    """The finding and the probability of the positive class: `suspicious         90.1%`; else, the likeliest class."""
    positive, width = prediction.positive_class, len(probability_head(prediction.positive_class))
    if not prediction.label:
        return f"{'no prediction':<11}".ljust(11 + width)
    if not prediction.finding:
        label, share = ranked(prediction.probabilities)[0]
        return f"{plain(label):<10} {share:{width}.1%}"
    return f"{prediction.finding:<11}{prediction.probabilities[positive]:{width}.1%}"


def limits(prediction: "Prediction") -> list[str]:
    """What a finding is worth: how often such were right, and which classes the model does not tell apart."""
    lines = []
    if prediction.finding in ("suspicious", "clear") and (right := prediction.reliability) and right.value is not None:
        lines.append(
            f"of {prediction.reliability_on} as sure as this one (confidence {prediction.confidence:.0%}), "
            f"{right.value:.0%} were right [{right.low:.0%}, {right.high:.0%}]"
        )
    pairs = [pair for pair in prediction.indistinct if prediction.positive_class not in pair]
    if pairs:
        named = [f"{plain(first)} from {plain(second)}" for first, second in pairs[:_MOST_PAIRS]]
        left = len(pairs) - len(named)
        named += [f"nor {'another pair' if left == 1 else f'{left} other pairs'} of classes"] * bool(left)
        lines.append(f"this model cannot tell {', '.join(named)}")
    return lines


def finding_of(outcome: "Outcome") -> str:
    """The finding, or else the class; `refused` or `unreadable` for a picture without a prediction."""
    from lungcli.predict.predict import Failure, Prediction

    if isinstance(outcome, Prediction):
        return outcome.finding or plain(outcome.label)
    return "unreadable" if isinstance(outcome, Failure) else outcome.finding


def counts(findings: Mapping[str, int]) -> str:
    """`12 clear, 3 suspicious`: how many pictures have each finding, most first."""
    return ", ".join(f"{n} {finding}" for finding, n in sorted(findings.items(), key=lambda item: -item[1]))


def ranked(probabilities: Mapping[str, float]) -> list[tuple[str, float]]:
    """Return the classes with their probabilities, the likeliest first."""
    return sorted(probabilities.items(), key=lambda item: -item[1])


def in_columns(probabilities: Mapping[str, float], top: int) -> str:
    """The `top` likeliest classes in columns: `malignant   81.2%  benign      12.0%`."""
    return "  ".join(f"{plain(label):<10} {value:6.1%}" for label, value in ranked(probabilities)[:top])


def probability_bars(probabilities: Mapping[str, float], width: int, top: int | None = None) -> "Text":
    """Draw a line with a bar for each of the `top` likeliest classes (all if None), at most `width` cells wide."""
    from rich.text import Text

    shown = [(plain(label), value, label) for label, value in ranked(probabilities)[:top]]
    longest = max([_LEAST_NAME, *(len(name) for name, _, _ in shown)])
    room = max(4, min(_LONGEST_BAR, width - longest - _SHARE))
    text = Text()
    for name, value, label in shown:
        bar = bars.coloured_bar(value, room, colours.of_class(label, tuple(probabilities)))
        text.append(f"{name:<{longest}} {value:6.1%} ").append_text(bar).append("\n")
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
        (series.positive_slices, f"predicted {plain(series.positive_class)}"),
    )
    return ", ".join([f"{series.used} of {series.slices} slices used", *(f"{n} {what}" for n, what in counts if n)])


def heat_map(label: str, *, peak: "Peak | bool | None", coloured: bool) -> str:
    """Say what a heat-map shows, and its `peak` where known; in greys (not `coloured`) it stands beside the slice."""
    if not peak:
        return f"heat-map: no region supports {plain(label)}"
    scale = "violet to yellow" if coloured else "right of the slice, @ is strongest"
    place = "" if peak is True else f"; strongest at x {peak.x}, y {peak.y} px"
    return f"heat-map: regions that support {plain(label)}, {scale}{place}"
