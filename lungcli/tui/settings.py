"""What the dashboard remembers from one day to the next."""

import os
from pathlib import Path

import msgspec

from lungcli.core import paths, versioned
from lungcli.core.errors import LungcliError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`smoothing` is a strength in `history`; `chart` the figure shown where there is room for one; `pinned` a run.

    Of the models, `baseline` is the pinned one, `columns` those shown (none: the usual), `sorted` the title of one,
    `down` its direction, and `latency` whether that is drawn rather than size.
    """

    theme: str = "lungcli-dark"
    smoothing: int = 1
    log: bool = False
    chart: str = "loss"
    teachers: bool = False
    grouped: bool = False
    pinned: str = ""
    query: str = ""
    baseline: str = ""
    columns: tuple[str, ...] = ()
    sorted: str = ""
    down: bool = False
    latency: bool = False


def path() -> Path:
    """Where the settings lie."""
    return paths.home() / "dashboard.json"


def load() -> Settings:
    """Read the settings; those that cannot be read are the usual ones."""
    return versioned.read_or(path(), Settings, Settings())


def save(settings: Settings) -> str:
    """Keep the settings; return why that failed, or nothing."""
    whole, partial = path(), path().with_suffix(f".{os.getpid()}.partial")
    try:
        # Not flushed to disk, for which a key would wait: the worst that a power cut takes are these settings.
        with paths.os_errors_as(whole):
            whole.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(msgspec.json.format(msgspec.json.encode(settings), indent=1))
            partial.replace(whole)
    except LungcliError as error:
        partial.unlink(missing_ok=True)
        return error.message
    return ""


def keep(**changes: object) -> str:
    """Keep some settings beside those that other views have kept; return why that failed, or nothing."""
    return save(msgspec.structs.replace(load(), **changes))
