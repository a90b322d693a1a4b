"""Settings of this user: the environment before the settings file, that before the default; flags are the commands'."""

import contextlib
import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lungcli.core import names
from lungcli.core.errors import UsageError

Value = str | int | float | bool
Source = Literal["environment", "file", "default"]

# As a user may set LUNGCLI_OFFLINE to mean no.
_NO = ("", "0", "false", "f", "no", "n", "off")


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: what it is, its default, which says its type, and its environment variable.

    A number is from 0 to `high`; a text is one of `values`, where there are any.
    """

    about: str
    default: Value
    variable: str
    high: float = 0
    values: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Resolved:
    """The value of a setting, and where it comes from."""

    value: Value
    source: Source


SETTINGS: dict[str, Setting] = {
    "home": Setting("Folder of everything that lungcli keeps; empty: the platform's", "", "LUNGCLI_HOME"),
    "data": Setting("Folder of the data sets; empty: in home", "", "LUNGCLI_DATA"),
    "model": Setting("Model where none is named", "bundled", "LUNGCLI_MODEL"),
    "threads": Setting("CPU threads to predict and measure with; 0: one a core", 0, "LUNGCLI_THREADS", high=1024),
    "referral": Setting("Confidence below which to refer; 0: the model's own", 0.0, "LUNGCLI_REFERRAL", high=1),
    "offline": Setting("Never use the network", False, "LUNGCLI_OFFLINE"),
    "graphics": Setting("Pictures in the dashboard", "auto", "LUNGCLI_GRAPHICS", values=("auto", "kitty", "off")),
    "theme": Setting("Colours of the dashboard; empty: as chosen there", "", "LUNGCLI_THEME"),
}


def path() -> Path:
    """The settings file: `$LUNGCLI_CONFIG`, else in the platform's folder of settings."""
    if override := os.environ.get("LUNGCLI_CONFIG"):
        return Path(override)
    import platformdirs

    with contextlib.suppress(RuntimeError):
        if (folder := platformdirs.user_config_path("lungcli", appauthor=False)).is_absolute():
            return folder / "config.toml"
    # This user has no home folder: a file that cannot be there.
    return Path(os.devnull) / "config.toml"


def current(name: str) -> Resolved:
    """Return a setting as this process has it. Raises UsageError for a wrong value."""
    return resolve(name, os.environ, load(path()))


def resolve(name: str, environ: Mapping[str, str], file: Mapping[str, Value]) -> Resolved:
    """Return what holds of the environment, the settings file and the default. Raises UsageError."""
    setting = SETTINGS[name]
    if environ.get(setting.variable):
        return Resolved(parsed(name, environ[setting.variable], setting.variable), "environment")
    if name in file:
        return Resolved(parsed(name, str(file[name]), name), "file")
    return Resolved(setting.default, "default")


def parsed(name: str, text: str, called: str = "") -> Value:
    """Read the value of a setting as typed. Raises UsageError, with the name that the setting is `called` by."""
    setting, called = SETTINGS[name], called or name
    if isinstance(setting.default, bool):
        return text.strip().lower() not in _NO
    if isinstance(setting.default, str):
        if setting.values and text not in setting.values:
            raise UsageError(f"{called} is {text!r}, and can be {', '.join(setting.values)}")
        return text
    try:
        number = type(setting.default)(text)
    except ValueError as error:
        raise UsageError(f"{called} is {text!r}, which is no number") from error
    if not 0 <= number <= setting.high:
        raise UsageError(f"{called} is {text}, outside 0 to {setting.high:g}")
    return number


def load(file: Path) -> dict[str, Value]:
    """Read a settings file; one that is missing is empty. Raises UsageError for a damaged one and for unknown names."""
    try:
        return _read(file, file.stat().st_mtime_ns)
    except OSError:
        return {}


@functools.lru_cache(maxsize=8)
def _read(file: Path, changed: int) -> dict[str, Value]:
    import tomllib

    del changed
    try:
        content: dict[str, Value] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} is no settings file: {error}", "mend it, or delete it") from error
    if unknown := next((name for name in content if name not in SETTINGS), ""):
        raise UsageError(f"{file} has an unknown setting {unknown!r}", names.suggestion(unknown, SETTINGS))
    return content
