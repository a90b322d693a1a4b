"""Watching all runs of a home: cheap checks of all of them, points only of those that are drawn."""

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
from lungcli.tui.runs.event_reader import UNREAD, Glance, Stamp, stamp
from lungcli.tui.runs.history import History
from lungcli.tui.runs.run_row import Row

QUIET = 8.0
"""Seconds without an event after which a run that says it is running is asked whether a process holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Folder:
    """What was last noticed of one run's folder, and what has been read since."""

    path: Path
    info: Stamp | None = None
    events: Stamp | None = None
    read_info: Stamp | None = None
    read_events: Stamp | None = None
    run: Run | None = None
    problem: str = ""
    glance: Glance = UNREAD
    tags: tuple[str, ...] = ()
    grown_at: float | None = None
    checked_at: float = -1e9
    state: State = "new"

    @property
    def stale(self) -> bool:
        return self.info != self.read_info or self.events != self.read_events or self.glance.more


class RunWatcher:
    """All runs of a home. `scan` notices what changed, `read` reads it, in pieces so that keys never wait."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._home = paths.runs_home()
        self._folders: dict[str, _Folder] = {}
        self._histories: dict[str, History] = {}
        self._rows: tuple[Row, ...] | None = None
        # Kept, since every beat asks for it, of all runs.
        self._behind = False

    def scan(self, *, done_too: bool = True) -> None:
        """Notice which runs came, went or changed: two calls of stat a run, nothing is read.

        Not `done_too`, runs that were done when they were last read count as unchanged.
        """
        try:
            with os.scandir(self._home) as entries:
                places = {entry.name: entry.path for entry in entries}
        except OSError:
            places = {}
        now = self._clock()
        folders = {name: folder for name, folder in self._folders.items() if name in places}
        changed = False
        for name, path in places.items():
            known = folders.get(name)
            if known and not done_too and known.state == "done" and not known.stale:
                continue
            info = stamp(f"{path}/run.json")
            if info is None:
                folders.pop(name, None)
                continue
            events = stamp(f"{path}/events.jsonl")
            folder = known or _Folder(path=Path(path))
            if (folder.info, folder.events) != (info, events):
                grown_at = now if folder.events is not None and folder.events != events else folder.grown_at
                folders[name] = dataclasses.replace(folder, info=info, events=events, grown_at=grown_at)
                changed = True
        if changed:
            # What changed last is read first: it is at the top of the list.
            latest = sorted(folders.items(), key=lambda item: item[1].info or (0, 0, 0), reverse=True)
            folders, self._behind = dict(latest), True
        if folders.keys() != self._folders.keys():
            self._rows = None
        self._folders = folders

    def read(self, seconds: float, first: Iterable[str] = ()) -> bool:
        """Read what changed for so long, of the runs `first` before the others; return whether rows changed."""
        until, changed = self._clock() + seconds, False
        moving = [name for name, folder in self._folders.items() if folder.state != "done" or folder.stale]
        for name in [*(name for name in first if name in self._folders), *moving]:
            folder = self._folders[name]
            if folder.stale:
                folder = self._read(folder)
                changed = True
            if folder.run is not None and folder.run.info.state == "running":
                state = folder.state
                folder = self._with_state(folder)
                changed |= folder.state != state
            self._folders[name] = folder
            if self._clock() > until:
                break
        if changed:
            self._rows = None
        self._behind = any(folder.stale for folder in self._folders.values())
        return changed

    @property
    def behind(self) -> bool:
        """Whether something that changed has not been read yet."""
        return self._behind

    def rows(self) -> tuple[Row, ...]:
        """All runs, the newest first."""
        if self._rows is None:
            rows = map(_row, self._folders.values())
            self._rows = tuple(sorted(rows, key=lambda row: (row.created, row.name), reverse=True))
        return self._rows

    def __contains__(self, name: str) -> bool:
        """Whether there is a run called `name`, damaged or not."""
        return name in self._folders

    def run(self, name: str) -> Run | None:
        """The run called `name`, if it could be opened."""
        folder = self._folders.get(name)
        return folder.run if folder else None

    def touch(self, name: str) -> None:
        """Read a run again though its files look the same (its tags changed)."""
        if folder := self._folders.get(name):
            self._folders[name] = dataclasses.replace(folder, read_info=None)
            self._behind = True

    def follow(self, names: Iterable[str]) -> None:
        """Keep points of these runs and forget those of all others."""
        self._histories = {
            name: self._histories.get(name) or History(self._folders[name].path / "events.jsonl")
            for name in names
            if name in self._folders
        }

    def history(self, name: str) -> History | None:
        """The points of a run that is followed."""
        return self._histories.get(name)

    def read_points(self, seconds: float) -> bool:
        """Read new events of the runs that are followed for so long; return whether there is more to read at once."""
        until = self._clock() + seconds
        more = True
        while more:
            more = False
            for history in self._histories.values():
                more |= history.read()
                if self._clock() > until:
                    return more or any(not history.complete for history in self._histories.values())
        return False

    def _read(self, folder: _Folder) -> _Folder:
        if folder.info != folder.read_info:
            run: Run | None = None
            problem = ""
            try:
                run = runs.read(folder.path)
            except LungcliError as error:
                problem = error.message
            tags = run_trash.tags(folder.path)
            folder = dataclasses.replace(
                folder, run=run, problem=problem, tags=tags, read_info=folder.info, checked_at=-1e9
            )
            if run is not None and run.info.state != "running":
                folder = dataclasses.replace(folder, state=run.info.state)
        if folder.events != folder.read_events or folder.glance.more:
            glance = event_reader.glance(folder.path / "events.jsonl", folder.glance)
            folder = dataclasses.replace(folder, glance=glance, read_events=folder.events)
        return folder

    def _with_state(self, folder: _Folder) -> _Folder:
        """Find out whether a run that says `running` does: events come, or (checked seldom) a process holds it.

        Only this machine's clock counts: the writer's may be off by hours.
        """
        now = self._clock()
        if folder.grown_at is not None and now - folder.grown_at < QUIET:
            return dataclasses.replace(folder, state="running")
        if folder.run is None or now - folder.checked_at < QUIET:
            return folder
        try:
            state = runs.state(folder.run)
        except OSError:
            state = "stopped"  # A home that may only be read: nothing came, and the lock cannot be asked.
        return dataclasses.replace(folder, state=state, checked_at=now)


def _row(folder: _Folder) -> Row:
    if folder.run is not None:
        return run_row.row(folder.run, folder.state, folder.glance, folder.tags)
    if folder.problem:
        return run_row.damaged(folder.path, folder.problem)
    return Row(name=folder.path.name)
