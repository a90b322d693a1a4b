"""What a job decides from what its stages left behind."""

import pytest

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.evaluation import evaluate
from lungcli.metrics.predictions import Evaluation
from lungcli.pipeline import jobs, stages

RIGHT, WRONG, SURELY_RIGHT = (0.4, 0.6), (0.6, 0.4), (0.1, 0.9)


def judged(*malignant: tuple[float, float]) -> Evaluation:
    """Verdicts on as many malignant slices, and on benign ones that are all told."""
    count = len(malignant)
    return Evaluation(
        classes=("benign", "malignant"),
        part="test",
        protocol="grouped",
        split_digest="s",
        slices=tuple(f"{index}.png" for index in range(2 * count)),
        labels=(0,) * count + (1,) * count,
        groups=tuple(range(2 * count)),
        probabilities=((0.9, 0.1),) * count + malignant,
    )


@pytest.mark.parametrize(
    ("teachers", "difference"),
    [
        ({"teacher": judged(WRONG, WRONG)}, 0.25),
        ({"teacher": judged(WRONG, WRONG), "teacher-2": judged(SURELY_RIGHT, WRONG)}, 0.0),
    ],
    ids=["one teacher", "the mean of two"],
)
def test_the_gate_holds_int8_against_what_taught(teachers: dict[str, Evaluation], difference: float) -> None:
    """Two teachers together are right where one is surer of it than the other of its error."""
    recipe = recipes.make(data="d", model="m", teacher=["resnet18"] * len(teachers))
    run = runs.create("r", "compress", recipe)
    for stage, verdicts in {**teachers, "int8": judged(RIGHT, WRONG)}.items():
        evaluate.save(verdicts, run.stage(stage) / stages.EVALUATION)
    decision = jobs.decide(run)
    assert decision is not None
    assert decision.difference.value == pytest.approx(difference)


def test_only_compressions_have_a_gate() -> None:
    assert jobs.decide(runs.create("r", "train", recipes.make(data="d", model="m"))) is None
