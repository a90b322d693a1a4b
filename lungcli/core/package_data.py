"""Files that come with the program: the default model and the recipes."""

from pathlib import Path
from typing import Any

import msgspec

from lungcli.core import names, recipe, versioned
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind

FOLDER = Path(__file__).parents[1] / "bundled"
MODEL = FOLDER / "default.onnx"
SLICES_DOI = "10.17632/bhmdr45bh2.4"
SLICES_SOURCE = f"IQ-OTH/NCCD, alyasriy & AL-Huseiny (2023), doi {SLICES_DOI}, CC BY 4.0"
"""Whose the real slices are that come with the program."""

# As version 0.1.0 called it.
_FORMER_NAMES = {"seedtable": "published-table"}


class RecipeRun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One run of a bundled recipe: its kind and the settings in which it differs from the defaults."""

    kind: Kind = "compress"
    settings: dict[str, Any]


class RecipeFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A recipe file: what it is for, how long it takes on which machine, and its runs in order."""

    about: str
    takes: str
    jobs: tuple[RecipeRun, ...]

    @property
    def data(self) -> str:
        """The data set that all jobs name; empty where they name none, or several."""
        named = {str(job.settings.get("data", "")) for job in self.jobs}
        return named.pop() if len(named) == 1 else ""

    def recipes(self, typed: dict[str, Any] | None = None) -> tuple[tuple[Kind, tuple[Recipe, ...]], ...]:
        """Return the kind of every job and its recipes, one for each fold, with `typed` settings in place of its own.

        Raises UsageError.
        """
        return tuple(
            (job.kind, recipe.make_folds(**{"data": "phantom", **job.settings, **(typed or {})})) for job in self.jobs
        )


def recipe_files() -> dict[str, Path]:
    """Bundled recipe files by name."""
    return {path.stem: path for path in sorted((FOLDER / "recipes").glob("*.toml"))}


def slices() -> dict[str, Path]:
    """Real slices that come with the program, by class."""
    return {path.stem: path for path in sorted((FOLDER / "slices").glob("*.jpg"))}


def load(name: str) -> RecipeFile:
    """Read the bundled recipe that `name` means, or the recipe file at that path. Raises UsageError."""
    path = Path(name)
    if path.suffix != ".toml":
        current_name = _FORMER_NAMES.get(names.spelling(name), name)
        path = names.find(current_name, recipe_files(), "recipe", "see `lungcli recipes list`, or name a .toml file")
    try:
        return versioned.read_toml(path, RecipeFile)
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}", "see `lungcli recipes list`") from error
    except versioned.DAMAGE as error:
        raise UsageError(f"{path} is no recipe: {error}", "see `lungcli recipes show fast` for an example") from error
