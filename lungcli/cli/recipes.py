"""`lungcli recipes`."""

from typing import Annotated

import typer

from lungcli.cli import complete, console, help_pages, options
from lungcli.core import package_data

app = help_pages.App(name="recipes", help="Settings to start from, for `compress --recipe`.")


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List the bundled recipes, with their purpose and duration."""
    recipe_files = {name: package_data.load(name) for name in package_data.recipe_files()}
    if json:
        console.print_json({"recipes": recipe_files})
        return
    console.print_table(
        ("recipe", "runs", "about"),
        [(name, str(len(item.jobs)), f"{item.about}; takes {item.takes}") for name, item in recipe_files.items()],
    )
    console.info("next: lungcli compress --recipe fast; options beside --recipe override it")


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME|FILE", autocompletion=complete.recipes)]) -> None:
    """Print a recipe as TOML; save and edit it for `--recipe FILE`.

    \b
    Example: lungcli recipes show fast > mine.toml
    """
    import msgspec
    import tomli_w

    console.print_text(tomli_w.dumps(msgspec.to_builtins(package_data.load(name))))
