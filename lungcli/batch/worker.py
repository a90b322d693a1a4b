"""What a worker does: judges the files of a shard as `lungcli predict` would, and names what it found."""

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
from lungcli.imaging import privacy
from lungcli.modelfile.model_file import Model
from lungcli.predict import inputs
from lungcli.predict.inputs import Item, Naming
from lungcli.predict.predict import Outcome, Prediction, in_order, predict

# Waiting for a store takes longer than the work on what it gives; a slice is half a megabyte.
_FETCHES, _AHEAD = 8, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """How shards are judged: as by `lungcli predict` with the options of these names, `threads` slices at a time."""

    model_sha256: str
    force: bool
    include_phi: bool
    threads: int


def predict_shard(place: Location, names: Sequence[str], model: Model, manner: WorkerOptions) -> bytes:
    """Judge files of an archive; return the Parquet file of their verdicts, in the order of `names`.

    A slice is judged by itself: there are no verdicts on DICOM series, whose slices may lie in several shards. Raises
    NetworkError where the archive can't be reached any more.
    """
    naming = Naming(phi=manner.include_phi)
    with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
        predicted = predict(_items(place, names, naming, pool), model, force=manner.force, workers=manner.threads)
        # Of what belongs to a picture only the file is kept: an item may hold its content.
        kept = [(outcome, capture.item.file) for outcome, capture in predicted]
    found = [outcome if manner.include_phi else _hidden(outcome, place.named(file), naming) for outcome, file in kept]
    tally = parquet.count_outcomes(found, len(names), passed_over=len(names) - len({file for _, file in kept}))
    return parquet.encode(found, model.card.classes, ShardMetadata(model_sha256=manner.model_sha256, tally=tally))


def shown_name(archive: str, names: Sequence[str], which: str) -> str:
    """Return what verdicts call a file of a shard, after a look at the headers of `names`, but at no picture.

    Where it is not among `names`, its header counts as one that cannot be read. Raises NetworkError where the archive
    can't be reached.
    """
    place, naming = filesystem.open_location(archive), Naming()
    with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
        files = _ahead(place, names, pool)
        shown = {name: inputs.called(place.named(name), get, naming) for name, get in files}
    return privacy.hidden(shown.get(which) or privacy.without_folders(place.named(which)), naming.words)


def _items(place: Location, names: Sequence[str], naming: Naming, pool: ThreadPoolExecutor) -> Iterator[Item]:
    for name, get in _ahead(place, names, pool):
        for item in inputs.of_listed(place.named(name), get, naming):
            yield replace(item, file=name)


def _ahead(
    place: Location, names: Sequence[str], pool: ThreadPoolExecutor
) -> Iterator[tuple[str, Callable[[], Path | bytes]]]:
    """Yield every file with what gives its content, a few of them fetched before they are asked for."""
    fetch = functools.partial(filesystem.content, place)
    if place.fs is None:
        for name in names:
            yield name, functools.partial(fetch, name)
        return
    with contextlib.closing(in_order(pool, fetch, names, _AHEAD)) as files:
        for name, fetched in files:
            yield name, fetched.result


def _hidden(outcome: Outcome, name: str, naming: Naming) -> Outcome:
    """Take out of a finished verdict what names a patient met later in the shard, and number series by their content.

    `series 1` would be another one in every shard.
    """
    shown = privacy.hidden(outcome.source, naming.words)
    if isinstance(outcome, Prediction):
        uids = {number: uid for uid, number in naming.series.items()}
        series = uids.get(outcome.series, "")
        called = f"series {hashlib.sha256(series.encode()).hexdigest()[:12]}" if series else ""
        return replace(outcome, source=shown, series=called)
    reason = outcome.reason.replace(name, shown).replace(outcome.source, shown)
    return replace(outcome, source=shown, reason=reason)
