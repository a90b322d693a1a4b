"""What programs get is what the shipped schema says."""

import json

import msgspec
import pytest

from lungcli.inference import verdicts
from tests.inference.test_series import FAILED, REFUSED, sure, verdict

ALL: list[verdicts.Found] = [sure(0.7, 0.1), REFUSED, FAILED, verdict(sure(0.9, 0.0), sure(0.9, 0.0))]


def test_the_shipped_schema_is_that_of_the_code() -> None:
    assert json.loads(verdicts.SCHEMA.read_text()) == verdicts.schema(), (
        'ship it again: python -c "from lungcli.inference import verdicts; verdicts.ship()"'
    )


@pytest.mark.parametrize("found", ALL, ids=lambda found: type(found).__name__)
def test_every_line_has_the_properties_of_its_schema(found: verdicts.Found) -> None:
    line = json.loads(verdicts.line(found))
    part = verdicts.schema()["$defs"][f"{type(found).__name__}Line"]
    assert set(part["required"]) <= set(line) <= set(part["properties"])
    assert line["kind"] == part["properties"]["kind"]["const"]
    assert line["schema_version"] == part["properties"]["schema_version"]["const"] == 1


def test_a_report_sorts_outcomes_by_kind() -> None:
    found = verdicts.report(ALL, "m", synthetic=True)
    again = msgspec.json.decode(msgspec.json.encode(found), type=verdicts.Report, strict=True)
    assert again == found
    assert [len(each) for each in (again.predictions, again.refusals, again.failures, again.series)] == [1, 1, 1, 1]
