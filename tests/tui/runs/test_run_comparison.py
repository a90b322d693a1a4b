"""Two runs side by side, as text."""

import io

import msgspec
from rich.console import Console

from lungcli.core.runs import Run
from lungcli.tui.runs import run_comparison
from tests.metrics.test_predictions import evaluation
from tests.tui import fakes, stage


def read(before: Run, after: Run) -> str:
    console = Console(width=110, record=True, file=io.StringIO())
    for part in run_comparison.parts(before, after):
        console.print(part)
    return console.export_text()


def trained(name: str, classes: str, **settings: object) -> Run:
    run = fakes.run(name, **settings)  # type: ignore[arg-type]
    stage.add(run, "train", evaluation(classes))
    return run


def test_settings_curves_figures_and_predictions_stand_side_by_side() -> None:
    text = read(trained("one", "bbmmnn", epochs=10), trained("two", "bnmmnm", epochs=20))
    settings = text.partition("validation balanced accuracy")[0].splitlines()
    assert [line.split() for line in settings if line.startswith(("epochs", "model", "seed"))] == [
        ["epochs", "10", "20"]
    ]
    for fact in (
        "● one/train",
        "■ two/train",
        "epoch  0",
        "difference, paired",
        "2 of 6 predictions flipped",
        "broken",
    ):
        assert fact in text, fact


def test_one_recipe_twice_and_nothing_evaluated_are_said() -> None:
    text = read(fakes.run("one"), fakes.run("two"))
    assert "none: the two have one recipe" in text
    assert "no model yet" in text
    assert "one of the two has not been evaluated yet" in text


def test_other_slices_are_not_compared() -> None:
    before, after = trained("one", "bbmmnn"), fakes.run("two")
    stage.add(after, "train", msgspec.structs.replace(evaluation("bbmmnn"), split_digest="other"))
    assert "the two were evaluated on different slices" in read(before, after)
