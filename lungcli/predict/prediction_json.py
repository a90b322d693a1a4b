"""What `lungcli predict` gives to programs: one JSON object, or an object a line, and the schema of both."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from lungcli import DISCLAIMER
from lungcli.core.formatting import plain_json
from lungcli.core.package_data import FOLDER
from lungcli.predict.predict import Failure, Outcome, Prediction, Refusal
from lungcli.predict.series import SeriesVerdict

SCHEMA = FOLDER / "predict.schema.json"
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


def report(found: list[Found], names: Sequence[str], *, synthetic: bool) -> Report:
    """Sort outcomes by kind; `names` are those of the model files."""
    return Report(
        model=" + ".join(names),
        models=tuple(names),
        synthetic=synthetic,
        predictions=[each for each in found if isinstance(each, Prediction)],
        refusals=[each for each in found if isinstance(each, Refusal)],
        failures=[each for each in found if isinstance(each, Failure)],
        series=[each for each in found if isinstance(each, SeriesVerdict)],
    )


def line(found: Found) -> bytes:
    """Write one outcome as a JSON object on one line that says its own kind, without the line's end."""
    encoded = msgspec.json.encode(
        {"schema_version": SCHEMA_VERSION, "kind": KINDS[type(found)]} | msgspec.to_builtins(found)
    )
    return plain_json(encoded.decode()).encode()


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of `report` and of every `line`."""
    kinds = list(KINDS)
    _, parts = msgspec.json.schema_components([Report, *kinds], ref_template="#/$defs/{name}")
    lines = {f"{kind.__name__}Line": _line_schema(parts[kind.__name__], name) for kind, name in KINDS.items()}
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lungcli predict --json (Report), --jsonl and --output (one of the lines)",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("Report", *lines)],
        "$defs": {**parts, **lines},
    }
    # Defaults are values of Python until they are written.
    return msgspec.json.decode(msgspec.json.encode(whole), type=dict[str, Any])


def ship(path: Path = SCHEMA) -> None:
    """Write the schema to where it is shipped from."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")


def _line_schema(part: dict[str, Any], kind: str) -> dict[str, Any]:
    own = {"schema_version": {"const": SCHEMA_VERSION}, "kind": {"const": kind}}
    return {
        **part,
        "title": f"{part['title']} line",
        "properties": own | part["properties"],
        "required": [*own, *part["required"]],
    }
