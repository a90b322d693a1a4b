"""What programs get is what the shipped schema says."""

import dataclasses
import json
from typing import Any

import msgspec
import pytest

from lungcli.core.package_data import FOLDER
from lungcli.predict import prediction_json
from lungcli.predict.ensemble import MemberPrediction
from tests.predict.test_series import FAILED, REFUSED, sure, verdict

SHIPPED = FOLDER / "predict.schema.json"
OPINIONS = tuple(
    MemberPrediction(name=name, model="tiny", label="benign", probabilities=sure(benign, 0.1).probabilities)
    for name, benign in (("bundled", 0.6), ("run/student", 0.8))
)
OF_TWO = dataclasses.replace(sure(0.7, 0.1), views=10, agreement=1.0, opinions=OPINIONS)
ALL: list[prediction_json.Found] = [
    sure(0.7, 0.1),
    REFUSED,
    FAILED,
    verdict(sure(0.9, 0.0), sure(0.9, 0.0)),
    OF_TWO,
]


def schema() -> dict[str, Any]:
    """Return the JSON schema (2020-12) of `report` and of every `line`."""
    kinds = list(prediction_json.KINDS)
    _, parts = msgspec.json.schema_components([prediction_json.Report, *kinds], ref_template="#/$defs/{name}")
    lines = {
        f"{kind.__name__}Line": _line_schema(parts[kind.__name__], name) for kind, name in prediction_json.KINDS.items()
    }
    whole = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "lungcli predict --json (Report), --jsonl and --output (one of the lines)",
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("Report", *lines)],
        "$defs": {**parts, **lines},
    }
    # Defaults are values of Python until they are written.
    return msgspec.json.decode(msgspec.json.encode(whole), type=dict[str, Any])


def _line_schema(part: dict[str, Any], kind: str) -> dict[str, Any]:
    own = {"schema_version": {"const": prediction_json.SCHEMA_VERSION}, "kind": {"const": kind}}
    return {
        **part,
        "title": f"{part['title']} line",
        "properties": own | part["properties"],
        "required": [*own, *part["required"]],
    }


def test_the_shipped_schema_is_that_of_the_code() -> None:
    assert json.loads(SHIPPED.read_text()) == schema(), f"ship it again: python -m {__name__}"


@pytest.mark.parametrize("found", ALL, ids=lambda found: type(found).__name__)
def test_every_line_has_the_properties_of_its_schema(found: prediction_json.Found) -> None:
    line = json.loads(prediction_json.line(found))
    part = schema()["$defs"][f"{type(found).__name__}Line"]
    assert set(part["required"]) <= set(line) <= set(part["properties"])
    assert line["kind"] == part["properties"]["kind"]["const"]
    assert line["schema_version"] == part["properties"]["schema_version"]["const"] == 1


def test_a_report_sorts_outcomes_by_kind() -> None:
    found = prediction_json.report(ALL, ["m"], synthetic=True)
    again = msgspec.json.decode(msgspec.json.encode(found), type=prediction_json.Report, strict=True)
    assert again == found
    assert [len(each) for each in (again.predictions, again.refusals, again.failures, again.series)] == [2, 1, 1, 1]


def test_several_models_are_named_one_by_one_and_together() -> None:
    found = prediction_json.report([OF_TWO], ["bundled", "run/student"], synthetic=True)
    assert (found.model, found.models) == ("bundled + run/student", ("bundled", "run/student"))
    assert prediction_json.report([], ["bundled"], synthetic=True).model == "bundled"


def test_opinions_have_the_properties_of_their_schema() -> None:
    line = json.loads(prediction_json.line(OF_TWO))
    part = schema()["$defs"]["MemberPrediction"]
    for opinion in line["opinions"]:
        assert set(opinion) == set(part["properties"]) == set(part["required"])
    assert (line["views"], line["agreement"]) == (10, 1.0)


if __name__ == "__main__":
    SHIPPED.write_bytes(msgspec.json.format(msgspec.json.encode(schema()), indent=2) + b"\n")
