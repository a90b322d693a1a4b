"""What a worker does: judges the files of a shard as `lungcli predict` would, and names what it found."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from lungcli.batch import filesystem, parquet
from lungcli.batch.filesystem import Place
from lungcli.batch.parquet import About
from lungcli.imaging import privacy
from lungcli.modelfile.model_file import Model
from lungcli.predict import inputs
from lungcli.predict.inputs import Item, Naming
from lungcli.predict.predict import Outcome, Prediction, predict

# Waiting for a store takes longer than the work on what it gives; a slice is half a megabyte.
_FETCHES, _AHEAD = 8, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How shards are judged: as by `lungcli predict` with the options of these names, `threads` slices at a time."""

    model_sha256: str
    force: bool
    include_phi: bool
    threads: int


@dataclass(slots=True, kw_only=True)
class _Named:
    """The file that each item was made from, and files that gave none."""

    files: deque[str] = field(default_factory=deque)
    passed_over: int = 0


def judged(place: Place, names: Sequence[str], model: Model, manner: Manner) -> bytes:
    """Judge files of an archive; return the Parquet file of their verdicts, in the order of `names`.

    A slice is judged by itself: there are no verdicts on DICOM series, whose slices may lie in several shards. Raises
    NetworkError where the archive can't be reached any more.
    """
    naming, named = Naming(phi=manner.include_phi), _Named()
    with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
        items = _items(place, names, naming, named, pool)
        outcomes = [outcome for _, outcome in predict(items, model, force=manner.force, workers=manner.threads)]
    found = (
        outcomes
        if manner.include_phi
        else [_hidden(outcome, name, naming) for outcome, name in zip(outcomes, named.files, strict=True)]
    )
    tally = parquet.tally(found, len(names), named.passed_over)
    return parquet.encode(found, model.card.classes, About(model_sha256=manner.model_sha256, tally=tally))


def called(archive: str, names: Sequence[str], which: str) -> str:
    """Return what verdicts call a file of a shard, after a look at the headers of `names`, but at no picture.

    Where it is not among `names`, its header counts as one that cannot be read. Raises NetworkError where the archive
    can't be reached.
    """
    place, naming = filesystem.opened(archive), Naming()
    with ThreadPoolExecutor(_FETCHES, thread_name_prefix="fetch") as pool:
        files = _ahead(place, names, pool)
        shown = {name: inputs.called(place.named(name), get, naming) for name, get in files}
    return privacy.hidden(shown.get(which) or privacy.without_folders(place.named(which)), naming.words)


def _items(
    place: Place, names: Sequence[str], naming: Naming, named: _Named, pool: ThreadPoolExecutor
) -> Iterator[Item]:
    for name, get in _ahead(place, names, pool):
        shown = place.named(name)
        nothing = True
        for item in inputs.of_listed(shown, get, naming):
            nothing = False
            named.files.append(shown)
            yield item
        named.passed_over += nothing


def _ahead(
    place: Place, names: Sequence[str], pool: ThreadPoolExecutor
) -> Iterator[tuple[str, Callable[[], Path | bytes]]]:
    """Yield every file with what gives its content, a few of them fetched before they are asked for."""
    if place.fs is None:
        for name in names:
            yield name, lambda name=name: filesystem.content(place, name)  # type: ignore[misc]
        return
    waiting: deque[tuple[str, Future[Path | bytes]]] = deque()
    try:
        for name in names:
            waiting.append((name, pool.submit(filesystem.content, place, name)))
            if len(waiting) > _AHEAD:
                first, fetched = waiting.popleft()
                yield first, fetched.result
        while waiting:
            first, fetched = waiting.popleft()
            yield first, fetched.result
    finally:
        for _, left in waiting:
            left.cancel()


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
