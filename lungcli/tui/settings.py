"""Settings that the dashboard remembers."""

import os
from pathlib import Path

import msgspec

from lungcli.core import paths, versioned
from lungcli.core.errors import LungcliError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`smoothing` is a strength in `history`; `chart` the figure shown where only one fits; `pinned` a run.

    Of the models, `baseline` is the pinned one, `columns` those shown (none: the usual), `sorted` the title of one,
    `down` its direction, `latency` whether that is drawn rather than size, `intervals` whether figures have theirs in
    a terminal that is not wide.
    """

    theme: str = "lungcli-dark"
    smoothing: int = 0
    log: bool = False
    chart: str = "validation balanced accuracy"
    teachers: bool = False
    grouped: bool = False
    pinned: str = ""
    query: str = ""
    baseline: str = ""
    columns: tuple[str, ...] = ()
    sorted: str = ""
    down: bool = False
    latency: bool = False
    intervals: bool = False


def path() -> Path:
    """The file of the settings."""
    return paths.home() / "dashboard.json"


def load() -> Settings:
    """Read the settings; where they cannot be read, the default ones."""
    return versioned.read_or(path(), Settings, Settings())


def keep(**changes: object) -> str:
    """Save some settings beside those that other views have saved; return why that failed, or nothing."""
    changed = msgspec.structs.replace(load(), **changes)
    whole, partial = path(), path().with_suffix(f".{os.getpid()}.partial")
    try:
        # Not flushed to disk, for which a key would wait: the worst that a power cut takes are these settings.
        with paths.os_errors_as(whole):
            whole.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(changed), indent=1))
            partial.replace(whole)
    except LungcliError as error:
        partial.unlink(missing_ok=True)
        return error.message
    return ""
