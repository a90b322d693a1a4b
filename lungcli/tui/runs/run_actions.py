"""What is done to runs from the dashboard; each returns the sentence to show, or raises LungcliError."""

import shlex
import signal

from lungcli.core import run_trash, runs
from lungcli.core.errors import UsageError
from lungcli.core.runs import Run
from lungcli.tui.jobs import processes
from lungcli.tui.jobs.processes import Job
from lungcli.views.units import size


def stop(run: Run) -> str:
    """Ask the run to save and stop."""
    pid = processes.signal_worker(run, signal.SIGINT)
    return f"asked {run.name} (process {pid}) to save and stop; press x again to stop it at once"


def stop_at_once(run: Run) -> str:
    """Stop the run without waiting for its batch."""
    pid = processes.signal_worker(run, signal.SIGTERM)
    return f"stopping {run.name} (process {pid}) at once"


def resume(run: Run) -> tuple[str, Job]:
    """Go on with a run in a process of its own."""
    state = runs.state(run)
    if state == "running":
        raise UsageError(f"the run {run.name!r} is being worked on already", "nothing to resume")
    if state == "done":
        raise UsageError(f"the run {run.name!r} is done", "start another one: key 2")
    return f"going on with {run.name}", processes.start(["runs", "resume", run.name])


def rename(run: Run, name: str) -> str:
    """Give the run another name."""
    if not name or name == run.name:
        return "the name stays"
    return f"{run.name} is called {run_trash.rename(run, name).name} now"


def tag(run: Run, words: str) -> str:
    """Give the run these tags, separated by spaces, instead of those it has."""
    tags = tuple(words.replace("#", " ").replace(",", " ").split())
    run_trash.tag(run.folder, tags)
    return f"tags of {run.name}: {' '.join(tags) or 'none'}"


def delete(run: Run) -> str:
    """Move the run to the trash."""
    run_trash.move_to_trash(run)
    return f"deleted {run.name}; u takes it back"


def undelete() -> str:
    """Take the run that was deleted last out of the trash."""
    trashed = run_trash.trashed_runs()
    if not trashed:
        raise UsageError("the trash is empty", "nothing was deleted")
    return f"{run_trash.restore_from_trash(trashed[-1])} is back"


def trash_content() -> str:
    """How many runs lie in the trash, and how large they are; nothing where there is none."""
    count = len(run_trash.trashed_runs())
    return f"{count} run{'' if count == 1 else 's'}, {size(run_trash.trash_size())}" if count else ""


def empty_trash() -> str:
    """Delete what lies in the trash for good."""
    content = trash_content()
    run_trash.empty_trash()
    return f"the trash is empty now: {content} freed"


def advice(name: str, state: str, problem: str) -> str:
    """What to do about a run in this state."""
    command = f"lungcli runs resume {shlex.quote(name)}"
    match state:
        case "failed":
            return f"{problem or 'it failed'}\nr goes on, as does: {command}"
        case "stopped" | "new":
            return f"r goes on, as does: {command}"
        case "done":
            return f"try it: lungcli predict --model {shlex.quote(name)} scan.png"
        case "damaged":
            return f"{problem}\nd puts it away"
        case _:
            return "x stops it and keeps its work"
