"""`lungcli demo`."""

import typer

from lungcli.cli import console, predict
from lungcli.core import package_data

ABOUT = f"one real slice of each class: {package_data.SLICES_SOURCE}; a model trained on that set may have seen them"


def demo(context: typer.Context) -> None:
    """Predict three real slices that come with the program.

    It works offline, draws what supports each prediction, and says which class each slice is of.

    \b
    Example: lungcli demo
    """
    console.info(ABOUT)
    console.info("each file is named after its true class")
    try:
        predict.predict(context, paths=[str(path) for path in package_data.slices().values()], explain=True)
    except typer.Exit as ended:
        if ended.exit_code:
            raise
    console.info("next: lungcli predict scan.png --explain")
