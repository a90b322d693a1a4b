"""Verdicts as Parquet: the rows that `lungcli predict --jsonl` prints, and what a shard says of itself."""

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
    """What became of files: the slices in them that were judged, of these referred; refused; not readable.

    `passed_over` are files that are no pictures.
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
    """What a shard says of itself in its metadata."""

    schema_version: int = SCHEMA_VERSION
    disclaimer: str = DISCLAIMER
    model_sha256: str
    count_outcomes: Tally


def count_outcomes(found: Sequence[Outcome], files: int, passed_over: int) -> Tally:
    """Count outcomes of `files`."""
    predictions = [each for each in found if isinstance(each, Prediction)]
    failures = sum(isinstance(each, Failure) for each in found)
    return Tally(
        files=files,
        predictions=len(predictions),
        referred=sum(each.referred for each in predictions),
        refusals=len(found) - len(predictions) - failures,
        failures=failures,
        passed_over=passed_over,
    )


def encode(found: Sequence[Outcome], classes: Sequence[str], about: ShardMetadata) -> bytes:
    """Write outcomes as a Parquet file, a row each; columns that don't apply to a kind are null.

    Their values are those of `verdicts.line`; schema version and disclaimer, alike in every row, are in the metadata.
    """
    import pyarrow
    from pyarrow import parquet

    rows = [{"kind": KINDS[type(each)]} | _printable(msgspec.to_builtins(each)) for each in found]
    metadata = {_KEY: msgspec.json.encode(about)}
    table = pyarrow.Table.from_pylist(rows, schema=_schema(classes).with_metadata(metadata))
    file = io.BytesIO()
    parquet.write_table(table, file, compression="zstd")
    return file.getvalue()


def read_metadata(content: Any) -> ShardMetadata | None:
    """Read what a shard, as bytes or an open file, says of itself; None where it is damaged or not one."""
    import pyarrow
    from pyarrow import parquet

    try:
        found = parquet.read_metadata(io.BytesIO(content) if isinstance(content, bytes) else content).metadata or {}
        return msgspec.json.decode(found[_KEY], type=ShardMetadata)
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
            "label": pa.string(),
            "probabilities": probabilities,
            "model": pa.string(),
            "seconds": pa.float64(),
            "synthetic": pa.bool_(),
            "referred": pa.bool_(),
            "reason": pa.string(),
            "guard": pa.float64(),
            "forced": pa.bool_(),
            "views": pa.int64(),
            "agreement": pa.float64(),
            "opinions": pa.list_(pa.struct(opinion)),
            "score": pa.float64(),
            "hint": pa.string(),
        }
    )


def _printable(row: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is alike in every row; a name that is no text has a `?` for each byte that is none."""
    return {
        name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for name, value in row.items()
        if name != "disclaimer"
    }
