"""Keeping an eye on all runs of a home: cheap looks at all of them, points only of those that are drawn."""

import dataclasses
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from lungcli.core import paths, run_trash, runs
from lungcli.core.errors import LungcliError
from lungcli.core.runs import Run, State
from lungcli.tui.runs import event_reader, run_row
from lungcli.tui.runs.event_reader import UNSEEN, Glance
from lungcli.tui.runs.history import History
from lungcli.tui.runs.run_row import Row

QUIET = 8.0
"""Seconds without an event after which a run that says it is running is asked whether a process holds it."""

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What was last seen of one run's folder, and what has been read since."""

    folder: Path
    info: Stamp | None = None
    events: Stamp | None = None
    read_info: Stamp | None = None
    read_events: Stamp | None = None
    run: Run | None = None
    problem: str = ""
    glance: Glance = UNSEEN
    tags: tuple[str, ...] = ()
    grew: float | None = None
    asked: float = -1e9
    state: State = "new"

    @property
    def stale(self) -> bool:
        return self.info != self.read_info or self.events != self.read_events or self.glance.more


class Watcher:
    """All runs of a home. `look` notices what changed, `work` reads it, in pieces so that keys never wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._histories: dict[str, History] = {}
        self._rows: tuple[Row, ...] | None = None

    def look(self) -> None:
        """Notice which runs came, went or changed: two calls of stat a run, nothing is read."""
        found: dict[str, _Known] = {}
        try:
            with os.scandir(paths.runs_home()) as entries:
                folders = [Path(entry.path) for entry in entries]
        except OSError:
            folders = []
        now = self._clock()
        for folder in folders:
            info = _stamp(folder / "run.json")
            if info is None:
                continue
            events = _stamp(folder / "events.jsonl")
            before = self._known.get(folder.name) or _Known(folder=folder)
            if (before.info, before.events) != (info, events):
                grew = now if before.events is not None and before.events != events else before.grew
                before = dataclasses.replace(before, info=info, events=events, grew=grew)
            found[folder.name] = before
        if found.keys() != self._known.keys():
            self._rows = None
        # What changed last is read first: it is at the top of the list.
        latest = sorted(found.items(), key=lambda item: item[1].info or (0, 0, 0), reverse=True)
        self._known = dict(latest)

    def work(self, seconds: float, first: Iterable[str] = ()) -> bool:
        """Read what changed, that of the runs `first` before the others', for so long; say whether rows changed."""
        until, changed = self._clock() + seconds, False
        names = [*(name for name in first if name in self._known), *self._known]
        for name in names:
            known = self._known[name]
            if known.stale:
                self._known[name] = known = self._read(known)
                changed = True
            if known.run is not None and known.run.info.state == "running":
                state = self._state(known)
                changed |= state != known.state
                if (state, self._clock()) != (known.state, known.asked):
                    self._known[name] = dataclasses.replace(self._known[name], state=state)
            if self._clock() > until:
                break
        if changed:
            self._rows = None
        return changed

    @property
    def behind(self) -> bool:
        """Whether something that changed has not been read yet."""
        return any(known.stale for known in self._known.values())

    def rows(self) -> tuple[Row, ...]:
        """All runs, the newest first."""
        if self._rows is None:
            found = [_row(known) for known in self._known.values()]
            self._rows = tuple(sorted(found, key=lambda row: (row.created, row.name), reverse=True))
        return self._rows

    def run(self, name: str) -> Run | None:
        """The run called `name`, if it could be opened."""
        known = self._known.get(name)
        return known.run if known else None

    def touch(self, name: str) -> None:
        """Read a run again though its files look the same (its tags changed)."""
        if known := self._known.get(name):
            self._known[name] = dataclasses.replace(known, read_info=None)

    def follow(self, names: Iterable[str]) -> None:
        """Keep points of these runs and forget those of all others."""
        wanted = [name for name in names if name in self._known]
        kept = {name: self._histories.get(name) for name in wanted}
        self._histories = {
            name: history or History(self._known[name].folder / "events.jsonl") for name, history in kept.items()
        }

    def history(self, name: str) -> History | None:
        """The points of a run that is followed."""
        return self._histories.get(name)

    def read_points(self, seconds: float) -> bool:
        """Read new events of the runs that are followed, for so long; say whether there is more to read at once."""
        until = self._clock() + seconds
        more = True
        while more:
            more = False
            for history in self._histories.values():
                more |= history.read()
                if self._clock() > until:
                    return more or any(not history.complete for history in self._histories.values())
        return False

    def _read(self, known: _Known) -> _Known:
        if known.info != known.read_info:
            try:
                run: Run | None = runs.read(known.folder)
                problem = ""
            except LungcliError as error:
                run, problem = None, error.message
            known = dataclasses.replace(
                known, run=run, problem=problem, tags=run_trash.tags(known.folder), read_info=known.info, asked=-1e9
            )
            if run is not None and run.info.state != "running":
                known = dataclasses.replace(known, state=run.info.state)
        if known.events != known.read_events or known.glance.more:
            fresh = event_reader.glance(known.folder / "events.jsonl", known.glance)
            known = dataclasses.replace(known, glance=fresh, read_events=known.events)
        return known

    def _state(self, known: _Known) -> State:
        """Whether a run that says `running` does: events come, or (asked seldom) a process holds it.

        Only this machine's clock counts: the writer's may be off by hours.
        """
        now = self._clock()
        if known.grew is not None and now - known.grew < QUIET:
            return "running"
        if known.run is None or now - known.asked < QUIET:
            return known.state
        self._known[known.folder.name] = dataclasses.replace(known, asked=now)
        try:
            return runs.state(known.run)
        except OSError:
            return "stopped"  # A home that may only be read: nothing came, and the lock cannot be asked.


def _row(known: _Known) -> Row:
    if known.run is not None:
        return run_row.row(known.run, known.state, known.glance, known.tags)
    if known.problem:
        return run_row.damaged(known.folder, known.problem)
    return Row(name=known.folder.name, folder=known.folder)


def _stamp(path: Path) -> Stamp | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
