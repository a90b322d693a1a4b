"""Folders that appear whole or not at all, made by one process at a time."""

import contextlib
import glob
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock

from lungcli.core import paths
from lungcli.core.errors import UsageError

LOCKS = ".locks"


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a hidden folder beside `target` that becomes `target` on success and vanishes otherwise.

    What killed processes left behind on their way to this `target` or another is cleared first. Raises UsageError while
    another process makes it, or when it is there by now; LungcliError when it can't be written.
    """
    with exclusive_lock(target.parent, target.name, f"another process is making the data set {target.name!r}"):
        for left in target.parent.glob(f".{glob.escape(target.name)}.partial-*"):
            shutil.rmtree(left, ignore_errors=True)
        remove_partial(target.parent)
        partial = target.with_name(f".{target.name}.partial-{secrets.token_hex(4)}")
        try:
            with paths.os_errors_as(target):
                partial.mkdir(parents=True)
            yield partial
            if target.exists():
                raise UsageError(f"a data set {target.name!r} has appeared meanwhile", "choose another --name")
            with paths.os_errors_as(target):
                partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextlib.contextmanager
def exclusive_lock(folder: Path, what: str, why_not: str) -> Iterator[None]:
    """Keep other processes from the work called `what` in `folder`; the system lets go of it if this one is killed.

    Raises UsageError with `why_not` when another process is at it, LungcliError when the lock can't be written.
    """
    lock = filelock.FileLock(folder / LOCKS / f"{what}.lock", timeout=0)
    with paths.os_errors_as(folder):
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise UsageError(why_not, "wait for it, or stop it") from error
    try:
        yield
    finally:
        lock.release()


def remove_partial(folder: Path) -> None:
    """Delete what killed processes have left in `folder` of what was to appear there; what living ones make stays."""
    for left in folder.glob(".*.partial-*"):
        name = left.name[1:].rpartition(".partial-")[0]
        with contextlib.suppress(UsageError), exclusive_lock(folder, name, "it is being made"):
            shutil.rmtree(left, ignore_errors=True)
