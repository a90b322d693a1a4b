"""Predictions in words and bars: for a slice, for a DICOM series, and for a line in a table."""

from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.predict.predict import Failure, Outcome, Prediction, Refusal
from lungcli.predict.series import RULE, SeriesVerdict
from lungcli.tui.predict.slice_prediction import HeatMap
from lungcli.views import prediction


def verdict(found: Outcome | None, model: str, width: int) -> Text:
    """Show a prediction with its probabilities in `width` cells, or why there is none."""
    if found is None:
        return Text("")
    if isinstance(found, Failure | Refusal):
        why, hint = prediction.unpredicted(found)
        return Text.assemble(("no prediction\n", "bold red"), f"{why}\n", (hint, "dim"))
    text = _headed(found, width)
    if found.forced:
        text.append(f"! {prediction.forced(found)}\n", "bold yellow")
    text.append(f"{prediction.acquisition(found)}\n", "dim")
    if found.synthetic:
        text.append(f"! {prediction.SYNTHETIC}\n", "bold yellow")
    return text.append(f"{prediction.provenance(found, model)}\n{found.disclaimer}", "dim")


def of_series(found: SeriesVerdict, width: int) -> Text:
    """Show the prediction for a series, with what it rests on."""
    text = _headed(found, width)
    text.append(f"{plain(found.series)}: {prediction.series_counts(found)}\n")
    return text.append(RULE, "dim")


def heat(found: HeatMap | None, *, coloured: bool) -> Text:
    """Say what the heat over a slice means."""
    if found is None:
        return Text("no prediction, so nothing to explain", "dim")
    said = prediction.heat_map(found.label, peak=found.somewhere, coloured=coloured)
    return Text(said, "" if found.somewhere else "dim")


def cells(found: Outcome | None) -> tuple[Text, Text]:
    """Show verdict and probability in a table; an arrow means that a radiologist should look."""
    if found is None:
        return Text(""), Text("")
    if isinstance(found, Failure):
        return Text("unreadable", "red"), Text("")
    if isinstance(found, Refusal):
        return Text("refused", "red"), Text("")
    mark = " →" if found.referred else ""
    return Text(plain(found.label) + mark), Text(f"{found.probabilities[found.label]:.1%}", justify="right")


def _headed(found: Prediction | SeriesVerdict, width: int) -> Text:
    """The class with its probability, under it a bar for every class, and why it is referred."""
    text = Text.assemble((prediction.headline(found.label, found.probabilities), "bold"), "\n")
    text.append_text(prediction.probability_bars(found.probabilities, width))
    if found.referred:
        text.append(f"→ {prediction.referral(found)}\n", "bold yellow")
    return text
