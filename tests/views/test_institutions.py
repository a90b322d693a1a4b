"""Models by institution: each score in its column, and nothing said where nothing is known."""

import msgspec

from lungcli.evaluation.compare import ModelByInstitution
from lungcli.metrics.institutions import by_institution
from lungcli.views import institutions
from tests.metrics.test_institutions import ROWS, evaluation


def model(name: str, *places: str) -> ModelByInstitution:
    figures = by_institution(evaluation(*ROWS))
    return ModelByInstitution(
        name=name, part="test", institutions=tuple(item for item in figures if item.institution in places)
    )


def cells(*rows: ModelByInstitution) -> dict[str, list[str]]:
    return {
        str(column.header): [str(cell) for cell in column.cells] for column in institutions.heat_table(rows).columns
    }


def test_each_model_has_its_score_at_each_institution_and_at_its_worst() -> None:
    assert cells(model("a", "North", "South"), model("b", "South")) == {
        "model": ["a", "b"],
        "North": ["0.500", "–"],
        "South": ["0.750", "0.750"],
        "worst": ["0.500", "0.750"],
    }


def test_an_institution_of_which_nothing_is_known_is_not_the_worst() -> None:
    known = model("a", "North", "South")
    north, south = sorted(known.institutions, key=lambda item: item.institution)
    nothing = msgspec.structs.replace(south.balanced_accuracy, value=None)
    unknown = msgspec.structs.replace(south, sensitivity=None, specificity=None, balanced_accuracy=nothing)
    row = msgspec.structs.replace(known, institutions=(unknown, north))
    assert cells(row) == {"model": ["a"], "North": ["0.500"], "South": ["–"], "worst": ["0.500"]}
    assert cells(msgspec.structs.replace(known, institutions=(unknown,)))["worst"] == ["–"]


def test_a_table_says_what_its_figures_are_of() -> None:
    predicted = evaluation(*ROWS)
    decided = msgspec.structs.replace(predicted, suspicious=(True,) * len(ROWS))
    for figures, says in (
        (by_institution(predicted), "specificity and sensitivity are those of the most probable class"),
        (by_institution(decided), "specificity and sensitivity are those at the model's operating point"),
    ):
        assert institutions.table(figures, "a").caption == says
    unknown = msgspec.structs.replace(predicted, classes=("covid", "normal"))
    assert institutions.table(by_institution(unknown), "a").caption is None
