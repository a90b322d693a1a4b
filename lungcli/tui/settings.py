"""What the dashboard remembers from one day to the next."""

from pathlib import Path

import msgspec

from lungcli.core import paths
from lungcli.core.errors import LungcliError


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """`smoothing` is a strength in `history`; `chart` the figure shown where there is room for one; `pinned` a run."""

    theme: str = "lungcli-dark"
    smoothing: int = 1
    log: bool = False
    chart: str = "loss"
    teachers: bool = False
    grouped: bool = False
    pinned: str = ""
    query: str = ""


def path() -> Path:
    """Where the settings lie."""
    return paths.home() / "dashboard.json"


def load() -> Settings:
    """Read the settings; those that cannot be read are the usual ones."""
    try:
        return msgspec.json.decode(path().read_bytes(), type=Settings)
    except (OSError, msgspec.DecodeError, ValueError):
        return Settings()


def save(settings: Settings) -> str:
    """Keep the settings; return why that failed, or nothing."""
    try:
        paths.write(path(), msgspec.json.format(msgspec.json.encode(settings), indent=1))
    except LungcliError as error:
        return error.message
    return ""
