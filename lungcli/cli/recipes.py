"""`lungcli recipes`."""

from typing import Annotated

import typer

from lungcli.cli import help_pages, options

app = help_pages.App(name="recipes", help="Settings to start from, for `compress --recipe`.")


@app.command("list")
def list_(json: options.Json = False) -> None:
    """List the bundled recipes, with their purpose and duration."""
    from rich.table import Table

    from lungcli.cli import console
    from lungcli.core import package_data

    recipe_files = {name: package_data.load(name) for name in package_data.recipe_files()}
    if json:
        console.print_json({"recipes": recipe_files})
        return
    table = Table(box=None, pad_edge=False)
    for title in ("recipe", "runs", "takes", "about"):
        table.add_column(title, overflow="fold")
    for name, item in recipe_files.items():
        table.add_row(name, str(len(item.jobs)), item.takes, item.about)
    console.out().print(table)
    console.info("next: lungcli compress --recipe fast; options beside --recipe override it")


@app.command()
def show(name: Annotated[str, typer.Argument(metavar="NAME|FILE")]) -> None:
    """Print a recipe as TOML; save and edit it for `--recipe FILE`.

    \b
    Example: lungcli recipes show fast > mine.toml
    """
    import msgspec
    import tomli_w

    from lungcli.cli import console
    from lungcli.core import package_data

    console.out().print(
        tomli_w.dumps(msgspec.to_builtins(package_data.load(name))), markup=False, highlight=False, end=""
    )
