"""Predictions in words and bars: for a slice, for a DICOM series, and for a line in a table."""

from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.modelfile.model_card import ModelCard
from lungcli.predict.predict import Failure, Outcome, Prediction, Refusal
from lungcli.predict.series import RULE, SeriesVerdict
from lungcli.tui.predict.slice_prediction import HeatMap
from lungcli.views import prediction


def of_slice(outcome: Outcome | None, model: str, width: int) -> Text:
    """Show a prediction with its probabilities in `width` cells, or why there is none."""
    if outcome is None:
        return Text("")
    if isinstance(outcome, Failure | Refusal):
        why, hint = prediction.unpredicted(outcome)
        return Text.assemble(("no prediction\n", "bold red"), f"{why}\n", (hint, "dim"))
    text = _headed(outcome, width)
    for line in prediction.limits(outcome):
        text.append(f"{line}\n", "dim")
    if outcome.forced:
        text.append(f"! {prediction.forced(outcome)}\n", "bold yellow")
    if outcome.synthetic:
        text.append(f"! {prediction.SYNTHETIC}\n", "bold yellow")
    # In a low terminal only what comes last has to be scrolled to.
    text.append(f"{outcome.disclaimer}\n{prediction.acquisition(outcome)}\n", "dim")
    return text.append(prediction.provenance(outcome, model), "dim")


def of_series(series: SeriesVerdict, width: int) -> Text:
    """Show the prediction for a series, with what it rests on."""
    text = _headed(series, width)
    text.append(f"{plain(series.series)}: {prediction.series_counts(series)}\n")
    return text.append(RULE, "dim")


def of_heat_map(heat: HeatMap | None, *, coloured: bool) -> Text:
    """Say what the heat over a slice means."""
    if heat is None:
        return Text("no prediction, so nothing to explain", "dim")
    meaning = prediction.heat_map(heat.label, peak=heat.has_peak, coloured=coloured)
    return Text(meaning, "" if heat.has_peak else "dim")


def list_title(card: ModelCard) -> str:
    """The title of the list, which says what its probabilities are of, and where there is no guard."""
    head = f" · prob. is {prediction.probability_head(card.positive_class)}" if card.positive_class else ""
    return f"slices{head}{' · no guard' if card.data.any_picture else ''}"


def cells(outcome: Outcome | None) -> tuple[Text, Text]:
    """Show the finding and the probability of the positive class in a table; without one, the class and its own."""
    if outcome is None:
        return Text(""), Text("")
    if isinstance(outcome, Failure):
        return Text("unreadable", "red"), Text("")
    if isinstance(outcome, Refusal):
        return Text("refused", "red"), Text("")
    text, _, share = prediction.summary(outcome).rpartition(" ")
    return Text(text.strip()), Text(share, justify="right")


def _headed(outcome: Prediction | SeriesVerdict, width: int) -> Text:
    """The finding, why it is referred, and a bar for every class."""
    text = Text.assemble((prediction.headline(outcome), "bold"), "\n")
    # Under ten bars it would be beyond a low terminal.
    if outcome.referred:
        text.append(f"→ {prediction.referral(outcome)}\n", "bold yellow")
    return text.append_text(prediction.probability_bars(outcome.probabilities, width))
