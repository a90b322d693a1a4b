"""Jobs as processes of their own: they outlive the dashboard, and are stopped by asking."""

import datetime
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lungcli.core import paths, runs
from lungcli.core.errors import UsageError
from lungcli.core.runs import Run

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
_LOG_END = 4096
# By exit code; None while it runs.
_STATES = {None: "running", 0: "done", 5: "gate not met", 130: "stopped", -signal.SIGINT: "stopped"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A command that the dashboard started. What it prints goes to `log`."""

    command: tuple[str, ...]
    log: Path
    process: "subprocess.Popen[bytes]"


def start(arguments: Sequence[str]) -> Job:
    """Start `lungcli ARGUMENTS` in a session of its own, so that neither Ctrl-C nor a lost terminal ends it."""
    stamp = f"{datetime.datetime.now(datetime.UTC):%Y%m%dT%H%M%S%f}"
    log = paths.home() / "jobs" / f"{stamp}-{arguments[0]}.log"
    with paths.os_errors_as(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as file:
            process = subprocess.Popen(  # noqa: S603 (no shell, and the program is this one)
                [sys.executable, "-P", "-m", "lungcli", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
    return Job(command=tuple(arguments), log=log, process=process)


def state(job: Job) -> str:
    """`running`, `done`, `gate not met`, `stopped` or `failed (exit 2)`."""
    code = job.process.poll()
    return _STATES.get(code, f"failed (exit {code})")


def last_lines(log: Path, count: int = 1) -> list[str]:
    """The last lines of a job's log that are not empty."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _LOG_END))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    return [line.rstrip() for line in text.splitlines() if line.strip()][-count:]


def log_of(run: str) -> Path | None:
    """The log of the job that worked on a run last, of those that any dashboard started."""
    for log in sorted((paths.home() / "jobs").glob("*.log"), reverse=True):
        try:
            with log.open("rb") as file:
                began = file.read(_LOG_END).decode(errors="replace")
        except OSError:
            continue
        if f"run {run}:" in began or f"'{run}'" in began:
            return log
    return None


def failure(job: Job) -> str:
    """Why a job failed: its line that begins with `error:`, with the hint after it, else its last line.

    Empty where it did not fail.
    """
    outcome = state(job)
    if not outcome.startswith("failed"):
        return ""
    lines = last_lines(job.log, 40)
    start = next((i for i, line in enumerate(lines) if line.startswith("error:")), None)
    reason = " ".join(line.strip() for line in (lines[-1:] if start is None else lines[start : start + 2]))
    return f"{outcome}: {reason}"


def interrupt(job: Job, *, hard: bool) -> None:
    """Ask a job to save and stop, or (`hard`) end it."""
    if job.process.poll() is None:
        job.process.send_signal(signal.SIGTERM if hard else signal.SIGINT)


def signal_worker(run: Run, number: int) -> int:
    """Send a signal to the process that works on a run, and return that process's number. Raises UsageError.

    SIGINT asks it to save and stop. SIGTERM stops it at once, KILL without asking: what came after its last
    checkpoint is lost.
    """
    worker = runs.worker(run)
    if worker is None:
        raise UsageError(f"no process works on the run {run.name!r}", "nothing to stop")
    if worker.host != platform.node():
        raise UsageError(f"the run {run.name!r} is worked on by {worker.host}", "stop it on that machine")
    try:
        os.kill(worker.pid, number)
    except OSError as error:
        raise UsageError(
            f"cannot stop process {worker.pid}: {error.strerror}", "stop it as the user who started it"
        ) from error
    return worker.pid
