"""The worst institution: by hand, paired, and with intervals over groups."""

import msgspec
import numpy as np
import pytest

from lungcli.core.errors import UsageError
from lungcli.evaluation import acceptance
from lungcli.evaluation.acceptance import Decision
from lungcli.metrics import worst_institution
from lungcli.metrics.predictions import Evaluation
from tests.metrics.test_institutions import ROWS, evaluation


def test_matrices_by_institution_and_group() -> None:
    labels, groups = np.array([0, 1, 1, 0]), np.array([5, 5, 9, 9])
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.6, 0.4]])

    matrices = worst_institution.matrices(labels, probabilities, groups, ["North", "South", "South", "North"])

    assert matrices.shape == (2, 2, 2, 2)
    assert matrices[0].tolist() == [[[1, 0], [0, 0]], [[1, 0], [0, 0]]]
    assert matrices[1].tolist() == [[[0, 0], [0, 1]], [[0, 0], [1, 0]]]


@pytest.mark.parametrize(
    ("matrix", "positive", "score"),
    [
        ([[3, 1], [2, 2]], 0, (3 / 4 + 2 / 4) / 2),
        ([[0, 0], [1, 3]], 0, 3 / 4),
        ([[3, 1], [0, 0]], 0, 3 / 4),
        ([[3, 1], [2, 2]], None, (3 / 4 + 2 / 4) / 2),
    ],
)
def test_scores_by_hand(matrix: list[list[int]], positive: int | None, score: float) -> None:
    assert float(worst_institution.score(np.array(matrix), positive)) == pytest.approx(score)


def test_figures_have_the_worst_of_several_institutions() -> None:
    figures = evaluation(*ROWS * 4).figures()

    worst = figures.estimates["worst_institution"]
    assert worst.value == 0.5
    assert worst.low is not None
    assert worst.high is not None
    assert worst.low < 0.5 < worst.high
    assert "worst_institution" not in evaluation(*ROWS[:4]).figures().estimates


def better(ours: Evaluation) -> Evaluation:
    """All slices classified correctly."""
    return msgspec.structs.replace(
        ours, probabilities=tuple((0.9, 0.1) if label == 0 else (0.1, 0.9) for label in ours.labels)
    )


def decided(ours: Evaluation, reference: Evaluation) -> Decision:
    return acceptance.decide("distillation", ("student", ours), ("teacher", reference), 0.1, "worst_institution")


def test_the_gate_can_look_at_the_worst_institution() -> None:
    ours = evaluation(*ROWS * 4)

    decision = decided(ours, better(ours))

    assert decision.difference.value == -0.5
    assert not decision.met
    assert decided(better(ours), ours).met
    nowhere = msgspec.structs.replace(ours, institutions=())
    with pytest.raises(UsageError, match="the model has no worst institution"):
        decided(nowhere, nowhere)
