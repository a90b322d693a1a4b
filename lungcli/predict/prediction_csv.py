"""What `lungcli predict` gives to spreadsheets: a row for each outcome; cells that don't apply are empty."""

from collections.abc import Sequence

from lungcli.core.formatting import csv_row
from lungcli.predict.predict import Failure, Prediction, Refusal
from lungcli.predict.prediction_json import KINDS, Found
from lungcli.predict.series import SeriesVerdict

_BEFORE = ("kind", "source", "series", "finding", "verdict")
_AFTER = ("referred", "reason", "score", "forced", "seconds")


def head(classes: Sequence[str], names: Sequence[str]) -> str:
    """The head of the table; `names` are those of the models. Each of several has columns of its own at the end."""
    return csv_row([*_BEFORE, *classes, *_after(names)])


def row(outcome: Found, classes: Sequence[str], names: Sequence[str]) -> str:
    """The row of an outcome in the table of `head`."""
    cells, probabilities = _cells(outcome), getattr(outcome, "probabilities", {})
    values = [cells.get(name, "") for name in _BEFORE] + [probabilities.get(name, "") for name in classes]
    return csv_row([*values, *(cells.get(name, "") for name in _after(names))])


def _after(names: Sequence[str]) -> tuple[str, ...]:
    if len(names) < 2:
        return _AFTER
    return (*_AFTER, "agreement", *(f"{name}: {what}" for name in names for what in ("verdict", "probability")))


def _cells(outcome: Found) -> dict[str, object]:
    """What a row of CSV says of an outcome beside its probabilities, by column."""
    cells: dict[str, object] = {"kind": KINDS[type(outcome)], "reason": outcome.reason}
    if not isinstance(outcome, SeriesVerdict):
        cells["source"] = outcome.source
    if not isinstance(outcome, Failure):
        cells["finding"] = outcome.finding
    if isinstance(outcome, Refusal):
        cells["score"] = outcome.score
    if isinstance(outcome, Prediction | SeriesVerdict):
        cells |= {"series": outcome.series, "verdict": outcome.label, "referred": _yes_or_no(outcome.referred)}
    if isinstance(outcome, Prediction):
        seconds = round(outcome.seconds, 4)
        cells |= {"score": outcome.guard, "forced": _yes_or_no(outcome.forced), "seconds": seconds}
        if outcome.opinions:
            cells["agreement"] = outcome.agreement
        for opinion in outcome.opinions:
            cells[f"{opinion.name}: verdict"] = opinion.label
            cells[f"{opinion.name}: probability"] = opinion.probabilities[opinion.label]
    return cells


def _yes_or_no(value: bool) -> str:
    return "yes" if value else "no"
