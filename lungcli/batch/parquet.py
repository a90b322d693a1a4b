"""Predictions as Parquet: the rows that `lungcli predict --jsonl` prints, and the metadata of a shard."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from lungcli import DISCLAIMER
from lungcli.predict.predict import Failure, Outcome, Prediction
from lungcli.predict.prediction_json import KINDS, SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow

_KEY = b"lungcli"


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of outcomes: slices predicted, of these referred; refused; not readable.

    `passed_over` are files that are not pictures.
    """

    files: int = 0
    predictions: int = 0
    referred: int = 0
    refusals: int = 0
    failures: int = 0
    passed_over: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(**{name: getattr(self, name) + getattr(other, name) for name in self.__struct_fields__})


class ShardMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """The metadata of a shard."""

    schema_version: int = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    model_sha256: str
    tally: Tally


def count_outcomes(outcomes: Sequence[Outcome], files: int, passed_over: int) -> Tally:
    """Count outcomes of `files`."""
    predictions = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
    failures = sum(isinstance(outcome, Failure) for outcome in outcomes)
    return Tally(
        files=files,
        predictions=len(predictions),
        referred=sum(outcome.referred for outcome in predictions),
        refusals=len(outcomes) - len(predictions) - failures,
        failures=failures,
        passed_over=passed_over,
    )


def encode(outcomes: Sequence[Outcome], classes: Sequence[str], metadata: ShardMetadata) -> bytes:
    """Return outcomes as a Parquet file, one row each; columns that do not apply to a kind are null.

    Their values are those of `prediction_json.line`; schema version and disclaimer are in the metadata.
    """
    import pyarrow
    from pyarrow import parquet

    rows = [{"kind": KINDS[type(outcome)]} | _printable(msgspec.to_builtins(outcome)) for outcome in outcomes]
    table_metadata = {_KEY: msgspec.json.encode(metadata)}
    table = pyarrow.Table.from_pylist(rows, schema=_schema(classes).with_metadata(table_metadata))
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def read_metadata(content: Any) -> ShardMetadata | None:
    """Read the metadata of a shard, bytes or an open file; None where it is damaged or not one."""
    import pyarrow
    from pyarrow import parquet

    try:
        metadata = parquet.read_metadata(io.BytesIO(content) if isinstance(content, bytes) else content).metadata or {}
        return msgspec.json.decode(metadata[_KEY], type=ShardMetadata)
    except (pyarrow.ArrowException, OSError, KeyError, msgspec.DecodeError):
        return None


def _schema(classes: Sequence[str]) -> "pyarrow.Schema":
    import pyarrow as pa

    probabilities = pa.struct([(name, pa.float64()) for name in classes])
    opinion = {"name": pa.string(), "model": pa.string(), "label": pa.string(), "probabilities": probabilities}
    return pa.schema(
        {
            "kind": pa.string(),
            "source": pa.string(),
            "series": pa.string(),
            "finding": pa.string(),
            "label": pa.string(),
            "probabilities": probabilities,
            "confidence": pa.float64(),
            "reliability": pa.struct([(name, pa.float64()) for name in ("value", "low", "high")]),
            "reliability_on": pa.string(),
            "positive_class": pa.string(),
            "indistinct": pa.list_(pa.list_(pa.string())),
            "model": pa.string(),
            "seconds": pa.float64(),
            "synthetic": pa.bool_(),
            "referred": pa.bool_(),
            "reason": pa.string(),
            "guard": pa.float64(),
            "forced": pa.bool_(),
            "scale": pa.string(),
            "views": pa.int64(),
            "agreement": pa.float64(),
            "opinions": pa.list_(pa.struct(opinion)),
            "score": pa.float64(),
            "hint": pa.string(),
        }
    )


def _printable(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out the disclaimer, and replace each undecodable byte of a name by `?`."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in row.items()
        if name != "disclaimer"
    }
