"""Tags of runs, renaming them, and a trash from which a run can be restored."""

import datetime
import shutil
from pathlib import Path

import msgspec

from lungcli.core import names, paths, runs, versioned
from lungcli.core import recipe as recipes
from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.runs import Run

TAGS = "tags.json"


def tags(folder: Path) -> tuple[str, ...]:
    """Return the tags of the run in `folder`, in the order they were given; none where the file cannot be read."""
    return versioned.read_or(folder / TAGS, tuple[str, ...], ())


def tag(folder: Path, tags: tuple[str, ...]) -> None:
    """Set the tags of the run in `folder`. Raises UsageError for one that is no word."""
    if bad := next((word for word in tags if not word or len(word) > 40 or any(map(str.isspace, word))), None):
        raise UsageError(f"{bad!r} cannot be a tag", "use words of up to 40 letters, without spaces")
    paths.atomic_write(folder / TAGS, msgspec.json.encode(tuple(dict.fromkeys(tags))))


def rename(run: Run, name: str) -> Run:
    """Give the run another name; runs that took their teacher from it follow. Raises UsageError.

    A name that is taken or cannot be a folder's is refused, and so is a run that a process works on.
    """
    target = paths.runs_home() / names.checked(name, "run")
    if target.exists():
        raise UsageError(f"there is a run {name!r} already", "choose another name")
    _require_idle(run)
    # The others first: cut off in between, the same call again does the rest.
    _repoint_teachers(run.name, name)
    try:
        _move(run.folder, target)
    except LungcliError:
        _repoint_teachers(name, run.name)
        raise
    return runs.read(target)


def _repoint_teachers(old: str, new: str) -> None:
    """Make the runs that take their teacher from the run `old` take it from `new`."""
    for other in runs.readable()[0]:
        teachers = recipes.as_tuple(other.info.teacher_run)
        renamed = [_renamed(teacher, old, new) for teacher in teachers]
        if renamed != list(teachers):
            info = msgspec.structs.replace(other.info, teacher_run=recipes.pack_teachers(renamed))
            versioned.write(other.folder / "run.json", info)


def _renamed(spec: str, old: str, new: str) -> str:
    """`old/student` as `new/student`."""
    run, slash, stage = spec.partition("/")
    return f"{new}{slash}{stage}" if run == old else spec


def trash_home() -> Path:
    """Folder of the runs that were put away, one folder each."""
    return paths.home() / "trash"


def move_to_trash(run: Run) -> Path:
    """Move the run to the trash and return its folder there. Raises UsageError while a process works on it."""
    _require_idle(run)
    stamp = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    target = trash_home() / f"{stamp} {run.name}"
    _move(run.folder, target)
    return target


def restore_from_trash(folder: Path) -> str:
    """Move a run from the trash back to the runs; return its name, a new one where its own is taken by now."""
    name = runs.fresh_name(folder.name.partition(" ")[2])
    target = paths.runs_home() / name
    _move(folder, target)
    return name


def trashed_runs() -> tuple[Path, ...]:
    """Folders of the runs in the trash, the latest last."""
    home = trash_home()
    return tuple(sorted(home.iterdir())) if home.is_dir() else ()


def trash_size() -> int:
    """Bytes of all files in the trash."""
    return sum(status.st_size for folder in trashed_runs() for status in paths.walk_files(folder).values())


def empty_trash() -> None:
    """Delete the runs in the trash for good. Raises LungcliError saying why not."""
    for folder in trashed_runs():
        with paths.os_errors_as(folder):
            shutil.rmtree(folder)


def _move(source: Path, target: Path) -> None:
    with paths.os_errors_as(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)


def _require_idle(run: Run) -> None:
    if runs.state(run) == "running":
        raise UsageError(f"the run {run.name!r} is being worked on", "stop it first")
