"""Tests of a difference between two models: against a published example, and by what they must never say."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core.errors import UsageError
from lungcli.metrics import significance
from lungcli.metrics.predictions import Evaluation
from tests.metrics.test_predictions import evaluation

COUNTS = st.integers(0, 60)


def test_mid_p_of_the_published_example() -> None:
    """One child of 21 changed one way and seven the other: exact .0703, mid-p .0391 (Fagerland et al. 2013)."""
    assert significance.mcnemar(1, 7) == pytest.approx(0.0703125 - 8 / 256)
    assert significance.mcnemar(7, 1) == significance.mcnemar(1, 7)


def test_mid_p_where_neither_gained_more() -> None:
    assert significance.mcnemar(0, 0) == 1
    assert significance.mcnemar(1, 1) == pytest.approx(1 - 0.5 * 0.5)
    assert significance.mcnemar(3000, 3000) == pytest.approx(1, abs=0.01)


@given(gained=COUNTS, lost=COUNTS)
def test_mid_p_is_the_exact_p_less_what_was_seen(gained: int, lost: int) -> None:
    count = gained + lost
    seen = Fraction(comb(count, gained), 2**count)
    at_most = sum((Fraction(comb(count, k), 2**count) for k in range(min(gained, lost) + 1)), Fraction(0))
    exact = min(Fraction(1), 2 * at_most)
    wanted = 1 if not count else exact - (seen / 2 if gained == lost else seen)
    assert significance.mcnemar(gained, lost) == pytest.approx(float(wanted))


def many(verdicts: str, groups: int) -> Evaluation:
    """Malignant slices in groups of equal size; a letter is the verdict on all slices of a group."""
    size = 5
    letters = {"m": (0.1, 0.9), "b": (0.9, 0.1)}
    count = groups * size
    return Evaluation(
        classes=("benign", "malignant"),
        part="test",
        protocol="grouped",
        split_digest="d",
        slices=tuple(f"{index}.png" for index in range(count)),
        labels=(1,) * count,
        groups=tuple(index // size for index in range(count)),
        probabilities=tuple(letters[verdicts[index // size]] for index in range(count)),
    )


def test_the_same_predictions_differ_by_nothing() -> None:
    found = significance.between(many("mbmb", 4), many("mbmb", 4))
    assert (found.gained, found.lost, found.mcnemar, found.bootstrap) == (0, 0, 1, 1)


def test_groups_that_flip_whole_fool_mcnemar_and_not_the_bootstrap() -> None:
    """Two groups of ten flipped, ten slices: McNemar counts ten witnesses, and there are two."""
    found = significance.between(many("m" * 10, 10), many("bb" + "m" * 8, 10))
    assert (found.gained, found.lost) == (10, 0)
    assert found.mcnemar < 0.002
    assert found.bootstrap is not None
    assert found.bootstrap > 0.1


def test_a_difference_in_every_group_is_no_chance_and_has_a_sign() -> None:
    better = significance.between(many("m" * 20, 20), many("b" * 20, 20))
    worse = significance.between(many("b" * 20, 20), many("m" * 20, 20))
    assert better.bootstrap == worse.bootstrap == pytest.approx(2 / 2001)
    assert (better.gained, better.lost, worse.gained, worse.lost) == (100, 0, 0, 100)


def test_models_evaluated_on_different_slices_are_not_tested() -> None:
    with pytest.raises(UsageError, match="evaluated on different slices"):
        significance.between(evaluation("bbmmnn"), evaluation("bbmmnn", digest="other"))
