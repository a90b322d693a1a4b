"""Figures by institution: by hand, the worst first, and nothing claimed where there is nothing to say it by."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.metrics import institutions
from lungcli.metrics.predictions import Evaluation


def evaluation(*rows: tuple[str, str, float], classes: tuple[str, ...] = ("malignant", "normal")) -> Evaluation:
    """Slices as (institution, class, probability of the first class), each in a group of its own."""
    return Evaluation(
        classes=classes,
        part="test",
        protocol="institution",
        split_digest="d",
        slices=tuple(f"{i}.png" for i in range(len(rows))),
        labels=tuple(classes.index(label) for _, label, _ in rows),
        groups=tuple(range(len(rows))),
        probabilities=tuple((score, 1 - score) for _, _, score in rows),
        institutions=tuple(place for place, _, _ in rows),
    )


ROWS = (
    ("North", "malignant", 0.9),
    ("North", "malignant", 0.4),
    ("North", "normal", 0.6),
    ("North", "normal", 0.1),
    ("South", "normal", 0.2),
    ("South", "normal", 0.3),
    ("South", "normal", 0.1),
    ("South", "normal", 0.7),
)


def test_findings_at_the_operating_point_come_before_the_most_probable_class() -> None:
    said = (True, True, False, False, False, False, True, True)
    north, south = institutions.by_institution(msgspec.structs.replace(evaluation(*ROWS), suspicious=said))[::-1]
    assert north.sensitivity is not None
    assert north.specificity is not None
    assert south.specificity is not None
    assert (north.sensitivity.value, north.specificity.value, south.specificity.value) == (1, 1, 0.5)


def test_figures_by_hand_the_worst_first() -> None:
    north, south = institutions.by_institution(evaluation(*ROWS))

    assert (north.institution, north.n, north.groups, north.positive) == ("North", 4, 4, 2)
    assert north.sensitivity is not None
    assert north.specificity is not None
    assert north.auc is not None
    assert (north.sensitivity.value, north.specificity.value, north.auc.value) == (0.5, 0.5, 0.75)
    assert north.score == 0.5
    assert south.specificity is not None
    assert (south.sensitivity, south.specificity.value, south.auc) == (None, 0.75, None)
    assert south.score == 0.75


def test_every_figure_has_an_interval() -> None:
    north, south = institutions.by_institution(evaluation(*ROWS * 3))

    for estimate in (north.sensitivity, north.specificity, north.auc, south.specificity):
        assert estimate is not None
        assert estimate.low is not None
        assert estimate.value is not None
        assert estimate.high is not None
        assert estimate.low < estimate.value < estimate.high


def test_without_a_class_malignant_balanced_accuracy_counts() -> None:
    rows = [(place, {"malignant": "covid", "normal": "normal"}[label], score) for place, label, score in ROWS]
    north, south = institutions.by_institution(evaluation(*rows, classes=("covid", "normal")))

    assert (north.institution, north.sensitivity, north.auc, north.score) == ("North", None, None, 0.5)
    assert south.score == 0.75


def test_one_institution_has_no_table() -> None:
    assert institutions.by_institution(msgspec.structs.replace(evaluation(*ROWS), institutions=())) == ()


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=40))
def test_auc_is_the_share_of_pairs_in_order(rows: list[tuple[int, bool]]) -> None:
    scores, positive = np.array([score for score, _ in rows], dtype=np.float64), np.array([sign for _, sign in rows])
    pairs = [1.0 if up > down else 0.5 if up == down else 0.0 for up in scores[positive] for down in scores[~positive]]

    area = institutions.auc(scores, positive)

    assert np.isnan(area) if not pairs else area == pytest.approx(sum(pairs) / len(pairs))


def test_one_group_of_alike_slices_widens_the_interval() -> None:
    rng = np.random.default_rng(0)
    positive = np.arange(60) % 2 == 0
    scores = rng.normal(size=60) + positive
    alone = institutions.auc_estimate(scores, positive, np.arange(60))
    grouped = institutions.auc_estimate(scores, positive, np.arange(60) // 10)

    assert alone.value == grouped.value
    assert alone.low is not None
    assert grouped.low is not None
    assert grouped.low != alone.low
