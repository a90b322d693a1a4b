"""Runs: one folder a job, written so that a crash loses at most the work since the last checkpoint.

RUN/run.json          what it is and how it stands        RUN/recipe.toml   what decides its result
RUN/events.jsonl      what happened, one event a line     RUN/STAGE/…       what each stage keeps
RUN/worker.json       which process works on it, while one does
"""

import contextlib
import datetime
import errno
import os
import platform
import secrets
import shutil
import stat
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from lungcli.core import cpu, names, paths, versioned
from lungcli.core import recipe as recipes
from lungcli.core.errors import InterruptedRunError, LungcliError, UsageError
from lungcli.core.events import EpochDone, Event, RunDone, RunFailed, RunStopped, decode, now
from lungcli.core.recipe import Recipe, Teachers

FORMAT_VERSION = 2
"""1: as 2, without the events `rate-lowered` and `batch-lowered`, and read the same way."""

_LOCK = ".lock"
_MOST_LINE = 1 << 20
_USUAL = (stat.S_IFREG, stat.S_IFDIR)
# In seconds: a check of the lock takes it for a moment.
_LOCK_TIMEOUT = 0.5

Kind = Literal["train", "distill", "compress"]
State = Literal["new", "running", "stopped", "failed", "done"]


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `run.json`. `teacher_run` names the run that the teacher is taken from, where it is not trained here.

    Of an ensemble it has a name for each teacher of the recipe, empty for those that are trained here. `split` is the
    digest of the run's split, `cpu` the processor that last worked on it; both are empty in runs of earlier versions.
    """

    format_version: int = FORMAT_VERSION
    kind: Kind
    state: State
    created: datetime.datetime
    changed: datetime.datetime
    teacher_run: Teachers = ""
    split: str = ""
    cpu: str = ""


_FORMAT = versioned.Format(kind="run", version=FORMAT_VERSION, content=RunInfo)


class Worker(msgspec.Struct, frozen=True, kw_only=True):
    """The process that works on a run, and the machine it runs on."""

    pid: int
    host: str


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One run on disk."""

    name: str
    folder: Path
    info: RunInfo
    recipe: Recipe

    def stage(self, name: str) -> Path:
        """Folder of the stage called `name`."""
        return self.folder / name

    @property
    def events(self) -> Path:
        """The file of events."""
        return self.folder / "events.jsonl"


def create(name: str, kind: Kind, recipe: Recipe, teacher_run: Teachers = "", split: str = "") -> Run:
    """Make the folder of a new run. Raises UsageError when the name is taken."""
    target = paths.runs_home() / names.checked(name, "run")
    info = RunInfo(kind=kind, state="new", created=now(), changed=now(), teacher_run=teacher_run, split=split)
    if not _is_free(target):
        raise UsageError(f"there is a run {name!r} already", f"go on with it: lungcli runs resume '{name}'")
    with paths.os_errors_as(target):
        target.mkdir(parents=True, exist_ok=True)
    with _locked(target, f"another process makes the run {name!r}"):
        if not _is_free(target):
            raise UsageError(f"there is a run {name!r} already", f"go on with it: lungcli runs resume '{name}'")
        recipes.save(recipe, target / "recipe.toml")
        # A folder with this file is a run: it comes last.
        versioned.write(target / "run.json", info)
    return Run(name=name, folder=target, info=info, recipe=recipe)


def fresh_name(stem: str) -> str:
    """Return `stem`, or `stem-2`, `stem-3`, … if taken."""
    candidates = (stem if i == 1 else f"{stem}-{i}" for i in range(1, 100_000))
    return next(name for name in candidates if _is_free(paths.runs_home() / name))


def known() -> dict[str, Path]:
    """Folders of all runs by name, the oldest first."""
    root = paths.runs_home()
    if not root.is_dir():
        return {}
    created = {}
    for item in root.iterdir():
        # Another process may remove or rename a run just now.
        with contextlib.suppress(OSError):
            # What is no file is named when it is opened, and can be removed.
            if not item.name.startswith(".") and (item / "run.json").lstat():
                created[item] = item.stat().st_ctime_ns
    return {item.name: item for item in sorted(created, key=lambda item: (created[item], item.name))}


def readable() -> tuple[list[Run], list[LungcliError]]:
    """Open every run, the oldest first; return the runs, and an error for each that cannot be opened."""
    opened, problems = [], []
    for folder in known().values():
        try:
            opened.append(read(folder))
        except LungcliError as error:
            problems.append(error)
    return opened, problems


def load(name: str) -> Run:
    """Open the run that `name` means. Raises UsageError."""
    return read(names.find(name, known(), "run", "see `lungcli runs list`"))


def read(folder: Path) -> Run:
    """Open the run in `folder`. Raises LungcliError when it is damaged or of a newer lungcli.

    So is one with a link, for this program would write where that leads, or with a pipe, which would be waited for.
    """
    hint = f"remove it and start again: lungcli runs remove '{folder.name}'"
    if odd := _oddity_in(folder):
        what = "link" if odd.is_symlink() else "pipe or device"
        raise LungcliError(f"the run {folder.name!r} holds a {what}: {odd.relative_to(folder)}", hint)
    info = _FORMAT.read(folder / "run.json", hint, repr(folder.name))
    return Run(name=folder.name, folder=folder, info=info, recipe=recipes.load(folder / "recipe.toml"))


def _oddity_in(folder: Path) -> Path | None:
    """Return what is neither file nor folder in the folder of a run or one of its stages, if there is any."""
    try:
        stages = [folder, *(item for item in folder.iterdir() if stat.S_ISDIR(item.lstat().st_mode))]
        items = (item for stage in stages for item in stage.iterdir())
        return next((item for item in items if stat.S_IFMT(item.lstat().st_mode) not in _USUAL), None)
    except OSError:
        return None


def state(run: Run) -> State:
    """Return the state of the run; one that says `running` but is not locked by a process was killed: stopped."""
    if run.info.state == "running" and not _is_locked(run.folder):
        return "stopped"
    return run.info.state


def worker(run: Run) -> Worker | None:
    """Return the process that works on the run now, None where none does."""
    return versioned.read_or(run.folder / "worker.json", Worker, None) if _is_locked(run.folder) else None


def remove(folder: Path) -> None:
    """Delete the run in `folder`, damaged or not. Raises UsageError while a process works on it."""
    if _is_locked(folder):
        raise UsageError(f"the run {folder.name!r} is being worked on", "stop it first")
    # Killed half-way, what is left is no run any more, and the next call deletes it.
    doomed = folder.with_name(f".{folder.name}.removed-{secrets.token_hex(4)}")
    with paths.os_errors_as(folder):
        folder.rename(doomed)
    for leftover in folder.parent.glob(".*.removed-*"):
        if leftover.is_symlink():
            leftover.unlink(missing_ok=True)
        # Folders may be nested deeper than can be followed; what is left of them is no run any more.
        with contextlib.suppress(RecursionError):
            shutil.rmtree(leftover, ignore_errors=True)


def events(run: Run) -> Iterator[Event]:
    """Read the events of the run; a last line cut off by a crash is left out."""
    if not run.events.exists():
        return
    try:
        with paths.open_regular(run.events) as file:
            # No event is as long as the limit: decoding what is says that it is damaged.
            while (line := file.readline(_MOST_LINE)).endswith(b"\n") or len(line) == _MOST_LINE:
                yield decode(line)
    except (OSError, msgspec.DecodeError, ValueError) as error:
        raise LungcliError(f"{run.events} is damaged: {error}", "remove the run and start again") from error


def record(run: Run, work: Generator[Event, None, None]) -> Generator[Event, None, None]:
    """Append each event of `work` to the run's file and pass it on, and keep the run's state, its end included.

    Closing this generator closes `work`, which saves what it has. Raises UsageError when another process works on the
    run, InterruptedRunError after Ctrl-C, and whatever `work` raises.
    """
    info = msgspec.structs.replace(run.info, cpu=cpu.name(), format_version=FORMAT_VERSION)
    with _working_alone(run), _appending(run) as write:
        versioned.write(run.folder / "run.json", msgspec.structs.replace(info, state="running", changed=now()))
        ended: State = "stopped"
        last: Event = RunStopped(time=now())
        try:
            for happened in work:
                event = _with_load(happened)
                write(event)
                if isinstance(event, RunDone):
                    ended = "done"
                yield event
        except KeyboardInterrupt as interrupt:
            raise InterruptedRunError(
                f"stopped; the work is saved in the run {run.name!r}",
                f"to continue: lungcli runs resume '{run.name}'",
            ) from interrupt
        except Exception as error:
            ended, last = "failed", RunFailed(time=now(), error=str(error) or type(error).__name__)
            raise
        finally:
            work.close()
            if ended != "done":
                write(last)
            versioned.write(run.folder / "run.json", msgspec.structs.replace(info, state=ended, changed=now()))


def _with_load(event: Event) -> Event:
    """Say with each epoch how busy the machine is, so that curves of that are there later too."""
    if not isinstance(event, EpochDone):
        return event
    return msgspec.structs.replace(event, load=cpu.load(), memory=cpu.peak_memory())


@contextlib.contextmanager
def _appending(run: Run) -> "Generator[_Writer, None, None]":
    with paths.os_errors_as(run.events):
        _drop_torn_line(run.events)
        file = run.events.open("ab", buffering=0)
    with file:
        yield _Writer(file.fileno(), run.events)


class _Writer:
    """Writes one event as one `write` call, so that a reader never sees two half lines."""

    def __init__(self, handle: int, path: Path) -> None:
        self._handle, self._path = handle, path
        self._encoder = msgspec.json.Encoder()

    def __call__(self, event: Event) -> None:
        line = self._encoder.encode(event) + b"\n"
        with paths.os_errors_as(self._path):
            # A disk that is nearly full takes part of the line, and only the next call fails.
            if (written := os.write(self._handle, line)) < len(line):
                os.ftruncate(self._handle, os.fstat(self._handle).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _drop_torn_line(path: Path) -> None:
    """Cut off a last line that a crash left unfinished, so that the next event starts a line of its own."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        file.truncate(content.rfind(b"\n") + 1)


@contextlib.contextmanager
def _working_alone(run: Run) -> Iterator[None]:
    with _locked(run.folder, f"another process works on the run {run.name!r}"):
        for folder in (run.folder, *(item for item in run.folder.iterdir() if item.is_dir())):
            paths.remove_partial(folder)
        note = run.folder / "worker.json"
        paths.atomic_write(note, msgspec.json.encode(Worker(pid=os.getpid(), host=platform.node())))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


@contextlib.contextmanager
def _locked(folder: Path, why_not: str) -> Iterator[None]:
    """Lock the run in `folder`. Raises UsageError with `why_not` when another process has locked it."""
    import filelock

    lock = filelock.FileLock(folder / _LOCK, timeout=_LOCK_TIMEOUT)
    with paths.os_errors_as(folder):
        try:
            lock.acquire(poll_interval=0.02)
        except filelock.Timeout as error:
            raise UsageError(why_not, "wait for it, or watch it: lungcli runs show") from error
    try:
        yield
    finally:
        lock.release()


def _is_free(folder: Path) -> bool:
    """Whether a run may be made in `folder`: it is missing, or holds what a process killed while making one left."""
    if not folder.exists():
        return True
    leftovers = {"recipe.toml", _LOCK}
    return folder.is_dir() and all(
        item.name in leftovers or item.name.endswith(".partial") for item in folder.iterdir()
    )


def _is_locked(folder: Path) -> bool:
    """Whether a process works on the run in `folder`; writes nothing where none ever has."""
    try:
        if not stat.S_ISREG((folder / _LOCK).lstat().st_mode):
            return False
    except OSError:
        return False
    import filelock

    try:
        with filelock.FileLock(folder / _LOCK, timeout=0):
            return False
    except filelock.Timeout:
        return True
    except OSError:
        # On a read-only disk there is no locking: the file that the process writes has to do.
        return (folder / "worker.json").exists()
