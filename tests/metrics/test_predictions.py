"""Evaluations: what they hold, what follows from them, and which two may be compared."""

import msgspec
import pytest

from lungcli.core.errors import UsageError
from lungcli.metrics.predictions import (
    Evaluation,
    Figures,
    agreement,
    comparable,
    ensemble,
    figures_for,
    flips,
    pool_folds,
    spread_over_folds,
)

CLASSES = ("benign", "malignant", "normal")


def evaluation(predicted: str, part: str = "test", digest: str = "d") -> Evaluation:
    """Six slices in three groups, two of each class; a letter of `predicted` names the class predicted for each."""
    letters = {name[0]: index for index, name in enumerate(CLASSES)}
    return Evaluation(
        classes=CLASSES,
        part=part,
        protocol="grouped",
        split_digest=digest,
        slices=tuple(f"slices/{i}.png" for i in range(6)),
        labels=(0, 0, 1, 1, 2, 2),
        groups=(4, 4, 7, 7, 9, 9),
        probabilities=tuple(
            tuple(0.8 if index == letters[letter] else 0.1 for index in range(3)) for letter in predicted
        ),
    )


def test_figures_by_hand() -> None:
    figures = evaluation("bnmmnm").figures()
    assert (figures.n, figures.groups, figures.part, figures.protocol) == (6, 3, "test", "grouped")
    values = {name: estimate.value for name, estimate in figures.estimates.items()}
    assert values["balanced_accuracy"] == pytest.approx((0.5 + 1 + 0.5) / 3)
    assert values["malignant_sensitivity"] == 1
    assert values["malignant_specificity"] == pytest.approx(3 / 4)
    assert values["accuracy"] == pytest.approx(4 / 6)
    assert figures.ece == pytest.approx(abs(4 / 6 - 0.8))


def test_balanced_accuracy_is_the_headline_and_accuracy_comes_last() -> None:
    names = list(figures_for(CLASSES))
    assert names[:2] == ["balanced_accuracy", "malignant_sensitivity"]
    assert names[-1] == "accuracy"
    assert "malignant_sensitivity" not in figures_for(("cat", "dog"))
    assert [*figures_for(("cat", "dog"), "dog")][1:3] == ["dog_sensitivity", "dog_specificity"]


def test_a_class_of_ones_own_is_the_positive_one() -> None:
    """Half of the normal slices are found, and one of four others is called normal."""
    predicted = msgspec.structs.replace(evaluation("bnmmnm"), positive_class="normal")
    found = predicted.figures()
    assert found.positive_class == "normal"
    assert found.sensitivity == found.estimates["normal_sensitivity"]
    assert found.estimates["normal_sensitivity"].value == pytest.approx(1 / 2)
    assert found.estimates["normal_specificity"].value == pytest.approx(3 / 4)
    with pytest.raises(ValueError, match="positive class is none of its classes"):
        msgspec.structs.replace(predicted, positive_class="cat").__post_init__()


def test_evaluations_and_figures_of_earlier_versions_speak_of_malignant() -> None:
    earlier = msgspec.to_builtins(evaluation("bbmbnn"))
    del earlier["positive_class"]
    figures = msgspec.convert(earlier, Evaluation).figures()
    written = msgspec.to_builtins(figures)
    del written["positive_class"]
    assert (
        msgspec.convert(written, Figures).sensitivity
        == figures.sensitivity
        == figures.estimates["malignant_sensitivity"]
    )


def test_json_round_trip() -> None:
    found = evaluation("bnmmnm")
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found


def test_only_the_same_slices_of_the_same_split_compare() -> None:
    ours = evaluation("bbmmnn")
    assert comparable(ours, evaluation("mmmmmm"))
    assert not comparable(ours, evaluation("bbmmnn", digest="other"))
    assert not comparable(ours, evaluation("bbmmnn", part="val"))


def test_an_ensemble_has_the_mean_of_probabilities() -> None:
    one, other = evaluation("bbmmnn"), evaluation("bmmmnb")
    both = ensemble([one, other])
    assert both.probabilities[0] == pytest.approx((0.8, 0.1, 0.1))
    assert both.probabilities[1] == pytest.approx((0.45, 0.45, 0.1))
    assert both.probabilities[5] == pytest.approx((0.45, 0.1, 0.45))
    assert comparable(both, one)
    assert ensemble([one]) == one


def test_no_ensemble_of_evaluations_on_different_slices() -> None:
    with pytest.raises(UsageError, match="evaluated on different slices"):
        ensemble([evaluation("bbmmnn"), evaluation("bbmmnn", digest="another")])


def test_flips_name_the_slices_and_both_predictions() -> None:
    (flip,) = flips(evaluation("bnmmnn"), evaluation("bbmmnn"))
    assert (flip.slice, flip.label, flip.ours, flip.theirs) == ("slices/1.png", "benign", "normal", "benign")
    assert flip.our_confidence == pytest.approx(0.8)
    assert flips(evaluation("bbmmnn"), evaluation("bbmmnn")) == ()


def test_flips_of_different_slices_mean_nothing() -> None:
    with pytest.raises(UsageError, match="evaluated on different slices"):
        flips(evaluation("bbmmnn"), evaluation("bbmmnn", digest="other"))


def test_agreement_is_of_findings_and_without_an_operating_point_of_classes() -> None:
    """A flip between benign and normal changes no finding."""
    ours, theirs = evaluation("bnmmnn"), evaluation("nnmmnb")
    assert agreement(ours, ours) == 1
    assert agreement(ours, theirs) == pytest.approx(4 / 6)
    three, two = (True,) * 3 + (False,) * 3, (True,) * 2 + (False,) * 4
    ours = msgspec.structs.replace(ours, suspicious=three)
    assert agreement(ours, theirs) == pytest.approx(4 / 6)
    assert agreement(ours, msgspec.structs.replace(theirs, suspicious=three)) == 1
    assert agreement(ours, msgspec.structs.replace(theirs, suspicious=two)) == pytest.approx(5 / 6)


def fold(number: int, predicted: str) -> Evaluation:
    """The six slices of another fold, in groups of their own."""
    plain = evaluation(predicted, digest=f"fold {number}")
    return msgspec.structs.replace(
        plain,
        slices=tuple(f"slices/{number}-{i}.png" for i in range(6)),
        groups=tuple(100 * number + group for group in plain.groups),
    )


def test_folds_pool_into_one_evaluation_of_all_slices() -> None:
    one, two = fold(1, "bnmmnn"), fold(2, "bbmmnm")
    whole = pool_folds([one, two])
    assert whole.slices == one.slices + two.slices
    assert (whole.part, whole.protocol, whole.probabilities[7]) == ("test", "grouped", two.probabilities[1])
    figures = whole.figures()
    assert (figures.n, figures.groups) == (12, 6)
    assert figures.estimates["accuracy"].value == pytest.approx(10 / 12)


def test_stages_of_the_same_folds_compare_and_of_other_folds_do_not() -> None:
    whole = pool_folds([fold(1, "bnmmnn"), fold(2, "bbmmnm")])
    assert comparable(whole, pool_folds([fold(1, "bbmmnn"), fold(2, "bbmmnn")]))
    other = msgspec.structs.replace(fold(2, "bbmmnn"), split_digest="of another seed")
    assert not comparable(whole, pool_folds([fold(1, "bbmmnn"), other]))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"slices": fold(1, "bbmmnn").slices}, "a slice is in the test part of more than one"),
        ({"groups": fold(1, "bbmmnn").groups}, "a near-duplicate group has slices in the test part of more than one"),
        ({"part": "val"}, "or are no test parts"),
        ({"protocol": "random"}, "they differ in classes, part or split protocol"),
        ({"classes": ("a", "b", "c")}, "they differ in classes"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_is_no_cross_validation_is_not_pooled(change: dict[str, object], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        pool_folds([fold(1, "bbmmnn"), msgspec.structs.replace(fold(2, "bbmmnn"), **change)])


def test_a_random_split_may_have_a_group_in_two_folds() -> None:
    one, two = (msgspec.structs.replace(fold(i, "bbmmnn"), protocol="random", groups=(1,) * 6) for i in (1, 2))
    assert pool_folds([one, two]).figures().groups == 1


def test_mean_and_spread_over_folds() -> None:
    found = spread_over_folds([fold(1, "bbmmnn"), fold(2, "bbmmbb")])
    balanced = found["balanced_accuracy"]
    assert balanced.folds == 2
    assert balanced.mean.value == pytest.approx((1 + 2 / 3) / 2)
    assert balanced.deviation == pytest.approx((1 / 3) / 2**0.5)
    assert (balanced.mean.low, balanced.mean.high) == pytest.approx((2 / 3, 1))


def test_folds_keep_their_findings_and_an_ensemble_has_none() -> None:
    said = (True, False, True, False, True, False)
    first = msgspec.structs.replace(evaluation("bbmmnn"), suspicious=said)
    second = msgspec.structs.replace(
        first, slices=tuple(f"other/{i}.png" for i in range(6)), groups=(14, 14, 17, 17, 19, 19)
    )
    assert pool_folds([first, second]).suspicious == said * 2
    assert pool_folds([first, msgspec.structs.replace(second, suspicious=())]).suspicious == ()
    assert ensemble([first, first]).suspicious == ()
    with pytest.raises(ValueError, match="findings differ in number"):
        msgspec.structs.replace(first, suspicious=said[:2])
