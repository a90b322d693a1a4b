"""The search space and the Pareto front."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core.errors import UsageError
from lungcli.metrics.intervals import Estimate
from lungcli.search import space
from lungcli.search.space import Range, StudyPlan, TrialOutcome


def outcome(trial: int, size: int, p50: float, right: float) -> TrialOutcome:
    accuracy = Estimate(value=right, low=None, high=None)
    return TrialOutcome(
        trial=trial,
        state="complete",
        run="",
        host="",
        cpu="",
        drawn={},
        bytes=size,
        p50=p50,
        balanced_accuracy=accuracy,
    )


@given(
    st.lists(st.tuples(st.sampled_from([10, 20, 30]), st.sampled_from([1.0, 2.0]), st.sampled_from([0.5, 0.7, 0.9])))
)
def test_trials_off_the_front_are_dominated_by_one_on_it(figures: list[tuple[int, float, float]]) -> None:
    found = [outcome(number, *each) for number, each in enumerate(figures)]
    front = space.pareto_front(found)

    def beats(ours: TrialOutcome, theirs: TrialOutcome) -> bool:
        mine, other = figures[ours.trial], figures[theirs.trial]
        return mine != other and mine[0] <= other[0] and mine[1] <= other[1] and mine[2] >= other[2]

    for each in found:
        assert (each in front) != any(beats(other, each) for other in front)


def test_differences_below_measurement_error_put_no_trial_on_the_front() -> None:
    same_net = [outcome(0, 931_801, 0.191, 0.6), outcome(1, 932_044, 0.194, 0.7)]
    assert [each.trial for each in space.pareto_front(same_net)] == [1]


def test_trials_beyond_the_limits_or_unfinished_are_on_no_front() -> None:
    beyond = msgspec.structs.replace(outcome(0, 10, 1.0, 0.9), within_limits=False)
    pruned = msgspec.structs.replace(outcome(1, 10, 1.0, 0.9), state="pruned")
    worse = outcome(2, 20, 2.0, 0.5)
    assert space.pareto_front([beyond, pruned, worse]) == (worse,)


def test_axes_are_read_as_typed() -> None:
    assert space.parse_axis("model", ["MobileNet_V2", "mobilenetv2", "mnasnet"]) == ("mobilenetv2", "mnasnet")
    assert space.parse_axis("size", ["128", "64"]) == (128, 64)
    assert space.parse_axis("learning_rate", ["1e-4:1e-2"]) == Range(low=1e-4, high=1e-2, log=True)
    assert space.parse_axis("temperature", ["2:8"]) == Range(low=2, high=8)
    with pytest.raises(UsageError, match=r"--size '12\.5' is no whole number"):
        space.parse_axis("size", ["12.5"])
    with pytest.raises(UsageError, match="--temperature 2:8 4 is neither values nor a range"):
        space.parse_axis("temperature", ["2:8", "4"])


def test_a_recipe_combines_fixed_settings_and_drawn_values() -> None:
    settings = {"data": "d", "teacher": ["resnet18"], "epochs": 3}
    plan = StudyPlan(axes={"model": ("mnasnet",), "bits": (8, 32), "method": ("seed",)}, settings=settings, split="s")

    kind, recipe = space.recipe_of(plan, {"model": "mnasnet", "bits": 8, "method": "kd-mean"})
    assert (kind, recipe.model, recipe.teacher, recipe.epochs) == ("compress", "mnasnet", "resnet18", 3)
    assert (recipe.temperature, recipe.alpha) == (20.0, 0.8)  # what the method settles
    assert space.recipe_of(plan, {"model": "mnasnet", "bits": 32, "method": "kd"})[0] == "distill"
    assert plan.combinations == 2
    ranged = msgspec.structs.replace(plan, axes={**plan.axes, "alpha": Range(low=0, high=1)})
    assert ranged.combinations is None


def test_the_teacher_is_the_same_whatever_is_drawn_but_the_size() -> None:
    settings = {"data": "d", "teacher": ["resnet18"], "epochs": 3}
    plan = StudyPlan(axes={}, settings=settings, split="s")
    drawn: dict[str, space.Value] = {"model": "mnasnet", "bits": 8, "learning_rate": 0.5, "method": "dist", "size": 96}
    recipe = space.teacher_recipe(plan, drawn, "ResNet18")
    assert recipe == space.teacher_recipe(plan, {"model": "ownmodel", "bits": 32, "size": 96}, "resnet18")
    assert (recipe.model, recipe.teacher, recipe.size, recipe.epochs) == ("resnet18", "", 96, 3)
