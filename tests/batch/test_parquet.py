"""Predictions as Parquet: every field has its column."""

import dataclasses
import io
from typing import Any, Literal, get_args, get_type_hints

from lungcli.batch import parquet as rows
from lungcli.batch.parquet import ShardMetadata, Tally
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.operating_point import ChosenOn, Finding
from lungcli.predict.ensemble import MemberPrediction
from lungcli.predict.predict import Outcome
from tests.batch import archives

pytestmark = archives.NEEDS_ARROW

CLASSES = ("benign", "malignant")
# Alike in every row, so that it stands in the metadata.
ONCE = "disclaimer"


def schema() -> dict[str, str]:
    """The type of each column of an empty shard, as Arrow writes it."""
    from pyarrow import parquet

    content = rows.encode((), CLASSES, ShardMetadata(model_sha256="m", tally=Tally()))
    return {field.name: str(field.type) for field in parquet.read_schema(io.BytesIO(content))}


def columns(*kinds: type[Any]) -> dict[str, str]:
    """The columns that the fields of `kinds` need, with their types."""
    probabilities = f"struct<{', '.join(f'{name}: double' for name in CLASSES)}>"
    known: dict[object, str] = {str: "string", float: "double", bool: "bool", int: "int64"}
    known[dict[str, float]] = probabilities
    known[Finding] = known[ChosenOn] = known[Literal["refused"]] = "string"
    known[Estimate | None] = "struct<value: double, low: double, high: double>"
    known[tuple[tuple[str, str], ...]] = "list<element: list<element: string>>"
    if MemberPrediction not in kinds:
        opinion = ", ".join(f"{name}: {kind}" for name, kind in columns(MemberPrediction).items())
        known[tuple[MemberPrediction, ...]] = f"list<element: struct<{opinion}>>"
    hints = [(field.name, get_type_hints(kind)[field.name]) for kind in kinds for field in dataclasses.fields(kind)]
    return {name: known[hint] for name, hint in hints if name != ONCE}


def test_every_field_of_an_outcome_has_its_column_and_no_other_is_there() -> None:
    assert schema() == {"kind": "string"} | columns(*get_args(Outcome))
