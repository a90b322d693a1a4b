"""What `lungcli predict` gives to programs: an object, or one a line, by `bundled/predict.schema.json`."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from lungcli import DISCLAIMER
from lungcli.core.formatting import plain_json
from lungcli.predict.predict import Failure, Outcome, Prediction, Refusal
from lungcli.predict.series import SeriesVerdict

SCHEMA_VERSION = 1

Found = Outcome | SeriesVerdict
KINDS: dict[type[Found], str] = {
    Prediction: "prediction",
    Refusal: "refusal",
    Failure: "failure",
    SeriesVerdict: "series",
}


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All outcomes in one object; each list is in the order of the input.

    `model` is the name of the model file; several are joined by ` + `, and `models` names each.
    """

    schema_version: Literal[1] = 1
    disclaimer: str = DISCLAIMER
    model: str
    models: tuple[str, ...] = ()
    synthetic: bool
    predictions: list[Prediction]
    refusals: list[Refusal]
    failures: list[Failure]
    series: list[SeriesVerdict]


def report(outcomes: list[Found], names: Sequence[str], *, synthetic: bool) -> Report:
    """Sort outcomes by kind; `names` are those of the model files."""
    return Report(
        model=" + ".join(names),
        models=tuple(names),
        synthetic=synthetic,
        predictions=[outcome for outcome in outcomes if isinstance(outcome, Prediction)],
        refusals=[outcome for outcome in outcomes if isinstance(outcome, Refusal)],
        failures=[outcome for outcome in outcomes if isinstance(outcome, Failure)],
        series=[outcome for outcome in outcomes if isinstance(outcome, SeriesVerdict)],
    )


def line(outcome: Found) -> bytes:
    """Write one outcome as a JSON object on one line that says its own kind, without the line's end."""
    encoded = msgspec.json.encode(
        {"schema_version": SCHEMA_VERSION, "kind": KINDS[type(outcome)]} | msgspec.to_builtins(outcome)
    )
    return plain_json(encoded.decode()).encode()
