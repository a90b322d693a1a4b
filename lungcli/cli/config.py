"""`lungcli config`."""

from typing import Annotated

import typer

from lungcli.cli import complete, console, help_pages, options
from lungcli.core import names, paths, settings

app = help_pages.App(name="config", help="Settings: list, get, set, unset.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="Setting, as `lungcli config list` names it.", autocompletion=complete.settings
    ),
]


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List the settings, their values and where each comes from.

    A flag stands before the environment, that before the settings file, that before the default.
    """
    resolved = {name: settings.current(name) for name in settings.SETTINGS}
    if json:
        rows = {name: {"value": item.value, "source": item.source} for name, item in resolved.items()}
        console.print_json({"file": str(settings.path()), "settings": rows})
        return
    console.print_table(
        ("setting", "value", "from", "variable", "about"),
        [
            (name, _shown(item.value), item.source, settings.SETTINGS[name].variable, settings.SETTINGS[name].about)
            for name, item in resolved.items()
        ],
    )
    console.info(f"settings file: {settings.path()}")


@app.command()
def get(name: Name) -> None:
    """Print the value of a setting.

    \b
    Example: lungcli config get home
    """
    item = settings.current(_known(name))
    console.print_text(_shown(item.value))
    console.info(f"from: {item.source}")


@app.command("set")
def set_(name: Name, value: Annotated[str, typer.Argument(metavar="VALUE")]) -> None:
    """Write a setting to the settings file.

    \b
    Examples:
      lungcli config set threads 4
      lungcli config set model compress-mobilenetv2-mine
    """
    name = _known(name)
    _write(settings.load(settings.path()) | {name: settings.parsed(name, value)})
    if (now := settings.current(name)).source == "environment":
        console.warn(f"{settings.SETTINGS[name].variable} stands before the file: {name} is {_shown(now.value)} here")


@app.command()
def unset(name: Name) -> None:
    """Remove a setting from the settings file."""
    name = _known(name)
    _write({key: value for key, value in settings.load(settings.path()).items() if key != name})


def _known(name: str) -> str:
    return names.find(name, {key: key for key in settings.SETTINGS}, "setting")


def _write(values: object) -> None:
    import msgspec

    paths.atomic_write(settings.path(), msgspec.toml.encode(values))
    console.info(f"written: {settings.path()}")


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else console.plain(value) or "–"
