"""Predicting the files of one shard, as `lungcli predict` would, without naming patients."""

import contextlib
import functools
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from lungcli.batch import filesystem, parquet
from lungcli.batch.filesystem import Location
from lungcli.batch.parquet import ShardMetadata
from lungcli.imaging import privacy, timed_reading
from lungcli.modelfile.model_file import Model
from lungcli.predict import inputs
from lungcli.predict.inputs import Item, Naming
from lungcli.predict.predict import Outcome, Prediction, in_order, predict

# Waiting for a store takes longer than the work on a slice, which has half a megabyte.
_FETCHES, _AHEAD = 8, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """The options of `lungcli predict` of these names; `threads` slices are predicted at a time."""

    model_sha256: str
    force: bool
    include_phi: bool
    threads: int


def predict_shard(location: Location, names: Sequence[str], model: Model, options: WorkerOptions) -> bytes:
    """Predict files of an archive; return the Parquet file of their predictions, in the order of `names`.

    Slices are predicted by themselves: there are no predictions for DICOM series, which may be in several shards.
    Raises NetworkError where the archive cannot be reached.
    """
    seconds = timed_reading.SECONDS
    naming = Naming(phi=options.include_phi, seconds=seconds)
    with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
        items = _items(location, names, naming, pool)
        predicted = predict(items, model, force=options.force, workers=options.threads, seconds=seconds)
        # Only the file name is kept of an item, which may hold the whole content.
        predicted_files = [(outcome, capture.item.file) for outcome, capture in predicted]
    outcomes = [
        outcome if options.include_phi else _hidden(outcome, location.named(file), naming)
        for outcome, file in predicted_files
    ]
    tally = parquet.count_outcomes(
        outcomes, len(names), passed_over=len(names) - len({file for _, file in predicted_files})
    )
    return parquet.encode(outcomes, model.card.classes, ShardMetadata(model_sha256=options.model_sha256, tally=tally))


def shown_name(archive: str, names: Sequence[str], which: str) -> str:
    """Return the name that predictions show for a file of a shard, from the headers of `names` alone.

    Where it is not among `names`, its header counts as unreadable. Raises NetworkError where the archive cannot be
    reached.
    """
    location, naming = filesystem.open_location(archive), Naming()
    with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
        files = _ahead(location, names, pool)
        shown = {name: inputs.called(location.named(name), get, naming) for name, get in files}
    return privacy.hidden(shown.get(which) or privacy.without_folders(location.named(which)), naming.words)


def _items(location: Location, names: Sequence[str], naming: Naming, pool: ThreadPoolExecutor) -> Iterator[Item]:
    for name, get in _ahead(location, names, pool):
        for item in inputs.of_listed(location.named(name), get, naming):
            yield replace(item, file=name)


def _ahead(
    location: Location, names: Sequence[str], pool: ThreadPoolExecutor
) -> Iterator[tuple[str, Callable[[], Path | bytes]]]:
    """Yield every file with a function that returns its content; a few are fetched ahead."""
    fetch = functools.partial(filesystem.content, location)
    if location.fs is None:
        for name in names:
            yield name, functools.partial(fetch, name)
        return
    with contextlib.closing(in_order(pool, fetch, names, _AHEAD)) as files:
        for name, fetched in files:
            yield name, fetched.result


def _hidden(outcome: Outcome, name: str, naming: Naming) -> Outcome:
    """Hide names of patients met later in the shard from an outcome, and name series by a digest.

    `series 1` would be a different one in every shard.
    """
    shown = privacy.hidden(outcome.source, naming.words)
    if isinstance(outcome, Prediction):
        uids = {number: uid for uid, number in naming.series.items()}
        series = uids.get(outcome.series, "")
        name_of_series = f"series {hashlib.sha256(series.encode()).hexdigest()[:12]}" if series else ""
        return replace(outcome, source=shown, series=name_of_series)
    reason = outcome.reason.replace(name, shown).replace(outcome.source, shown)
    return replace(outcome, source=shown, reason=reason)
