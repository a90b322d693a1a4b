"""What is done to runs from the dashboard; each returns the sentence to show, or raises LungcliError."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from lungcli.core import runs, shelf
from lungcli.core.errors import UsageError
from lungcli.core.runs import Run
from lungcli.tui import jobs
from lungcli.tui.jobs import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class PutAway:
    """A run in the trash, so that it can be taken back."""

    name: str
    place: Path


def stop(run: Run) -> str:
    """Ask the run to save and stop."""
    pid = jobs.ask_to_stop(run)
    return f"asked {run.name} (process {pid}) to save and stop; press x again to stop it at once"


def stop_at_once(run: Run) -> str:
    """Stop the run without waiting for its batch."""
    pid = jobs.end(run)
    return f"stopping {run.name} (process {pid}) at once"


def resume(run: Run) -> tuple[str, Job]:
    """Go on with a run in a process of its own."""
    state = runs.state(run)
    if state == "running":
        raise UsageError(f"the run {run.name!r} is being worked on already", "nothing to resume")
    if state == "done":
        raise UsageError(f"the run {run.name!r} is done", "start another one: key 2")
    return f"going on with {run.name}", jobs.start(["runs", "resume", run.name])


def rename(run: Run, name: str) -> str:
    """Give the run another name."""
    if not name or name == run.name:
        return "the name stays"
    return f"{run.name} is called {shelf.rename(run, name).name} now"


def tag(run: Run, words: str) -> str:
    """Give the run these tags, separated by spaces, instead of those it has."""
    wanted = tuple(words.replace("#", " ").replace(",", " ").split())
    shelf.tag(run.folder, wanted)
    return f"tags of {run.name}: {' '.join(wanted) or 'none'}"


def put_away(run: Run) -> PutAway:
    """Move the run to the trash."""
    return PutAway(name=run.name, place=shelf.put_away(run))


def take_back(gone: PutAway) -> str:
    """Take the run out of the trash."""
    return f"{shelf.take_back(gone.place)} is back"


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
