"""`lungcli demo`."""

import typer

ABOUT = (
    "one real slice of each class: IQ-OTH/NCCD, alyasriy & AL-Huseiny (2023), doi 10.17632/bhmdr45bh2.4, CC BY 4.0; "
    "a model trained on that set may have seen them"
)


def demo(context: typer.Context) -> None:
    """Predict three real slices that come with the program.

    It works offline, draws what supports each prediction, and says which class each slice is of.

    \b
    Example: lungcli demo
    """
    from lungcli.cli import console, predict
    from lungcli.core import package_data

    console.info(ABOUT)
    console.info("each file is named after its true class")
    try:
        predict.predict(context, paths=[str(path) for path in package_data.slices().values()], explain=True)
    except typer.Exit as ended:
        if ended.exit_code:
            raise
    console.info("next: lungcli predict scan.png --explain")
