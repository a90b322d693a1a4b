"""What is said of an evaluation."""

import msgspec
from rich.console import Console, RenderableType

from lungcli.views import evaluation as said
from tests.metrics.test_predictions import evaluation

# What a frame leaves of 80 columns.
IN_A_FRAME = 70


def text(shown: RenderableType, width: int = 120) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(shown)
    return capture.get()


def test_an_evaluation_says_what_it_rests_on() -> None:
    assert said.rests_on(6, 3) == said.rests_on(6, 3, "all", "grouped") == "6 slices of 3 near-duplicate groups"
    assert said.rests_on(6, 3, "test", "grouped") == "6 slices of 3 near-duplicate groups, test part, grouped split"


def test_the_confusion_matrix_has_counts_and_shares_of_each_true_class() -> None:
    lines = text(said.confusion(evaluation("bbmmnm"), "on phantoms")).splitlines()
    assert lines[0].split() == ["on", "phantoms"]
    assert " ".join(lines[1].split()) == "true class → benign → malignant → normal recall precision F1"
    assert lines[4].split() == ["normal", "0", "0%", "1", "50%", "1", "50%", "0.500", "1.000", "0.667"]


def test_the_confusion_matrix_of_ten_classes_is_whole_in_80_columns() -> None:
    classes = tuple(f"some kind of nodule, number {number}" for number in range(1, 11))
    ten = msgspec.structs.replace(
        evaluation("bbmmnn"),
        classes=classes,
        labels=(0, 1, 2, 9, 9, 9),
        probabilities=tuple(tuple(float(k == predicted) for k in range(10)) for predicted in (0, 1, 3, 9, 9, 0)),
    )
    head, *lines = text(said.confusion(ten), IN_A_FRAME).splitlines()
    lines = [line for line in lines if line[0].isdigit()]
    assert head.split() == ["true", "class", *(f"→{number}" for number in range(1, 11)), "recall", "precision", "F1"]
    assert lines[0].startswith("1 some")
    assert lines[9].startswith("10 some")
    assert lines[9].split()[-13:] == ["1", *"00000000", "2", "0.667", "1.000", "0.800"]


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
    assert text(said.reliability(evaluation("bbmmbb")), IN_A_FRAME).splitlines()[1:-1] == bins
    assert "over-confident" in "".join(bins)
    assert caption.startswith("ECE 0.")
