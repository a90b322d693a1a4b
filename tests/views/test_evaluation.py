"""What is said of an evaluation."""

from rich.console import Console, RenderableType

from lungcli.views import evaluation as said
from tests.metrics.test_predictions import evaluation


def text(shown: RenderableType) -> str:
    console = Console(width=120)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()


def test_an_evaluation_says_what_it_rests_on() -> None:
    assert said.rests_on(6, 3) == "6 slices of 3 near-duplicate groups"
    assert said.rests_on(6, 3, "test", "grouped") == "6 slices of 3 near-duplicate groups, test part, grouped split"


def test_the_confusion_matrix_has_counts_and_shares_of_each_true_class() -> None:
    lines = text(said.confusion(evaluation("bbmmnm"), "on phantoms")).splitlines()
    assert lines[0].split() == ["on", "phantoms"]
    assert " ".join(lines[1].split()) == "true class → benign → malignant → normal recall precision F1"
    assert lines[4].split() == ["normal", "0", "0%", "1", "50%", "1", "50%", "0.500", "1.000", "0.667"]


def test_figures_come_with_intervals_calibration_errors_and_what_they_rest_on() -> None:
    figures = evaluation("bbmmnn").figures()
    shown = text(said.figures_table(figures))
    assert shown.splitlines()[0].split() == ["balanced", "accuracy", "1.000", "[1.000,", "1.000]"]
    assert f"{figures.ece:.3f} / {figures.nll:.3f} / {figures.brier:.3f}" in shown
    assert said.rests_on(figures.n, figures.groups, figures.part, figures.protocol) in shown


def test_every_bin_of_the_reliability_diagram_marks_its_confidence() -> None:
    head, *bins, caption = text(said.reliability(evaluation("bbmmbb"))).splitlines()
    assert "confidence" in head
    assert bins
    assert all(line.count("┃") == 1 for line in bins)
    assert "over-confident" in "".join(bins)
    assert caption.startswith("ECE 0.")
