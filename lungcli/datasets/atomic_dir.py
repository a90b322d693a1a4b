"""Folders that are created whole or not at all, by one process at a time."""

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
    """Yield a hidden folder beside `target` that is renamed to `target` on success and deleted otherwise.

    Leftovers of killed processes beside it are deleted first. Raises UsageError while another process creates
    `target`, or when it exists by the end; LungcliError when it cannot be written.
    """
    with exclusive_lock(target.parent, target.name, f"another process is making the data set {target.name!r}"):
        for leftover in target.parent.glob(f".{glob.escape(target.name)}.partial-*"):
            shutil.rmtree(leftover, ignore_errors=True)
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
def exclusive_lock(folder: Path, what: str, busy: str) -> Iterator[None]:
    """Hold the lock called `what` in `folder`; the system releases it if this process is killed.

    Raises UsageError with the message `busy` when another process holds it, LungcliError when it cannot be written.
    """
    lock = filelock.FileLock(folder / LOCKS / f"{what}.lock", timeout=0)
    with paths.os_errors_as(folder):
        (folder / LOCKS).mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except filelock.Timeout as error:
            raise UsageError(busy, "wait for it, or stop it") from error
    try:
        yield
    finally:
        lock.release()


def remove_partial(folder: Path) -> None:
    """Delete the partial folders that killed processes left in `folder`; those of running processes stay."""
    for leftover in folder.glob(".*.partial-*"):
        name = leftover.name[1:].rpartition(".partial-")[0]
        with contextlib.suppress(UsageError), exclusive_lock(folder, name, "it is being made"):
            shutil.rmtree(leftover, ignore_errors=True)
