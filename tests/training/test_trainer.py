"""A training from recipe to graph."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import onnxruntime
import pytest
from torch import Tensor, nn

from lungcli.core import registry
from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.events import BatchDone, EpochDone
from lungcli.core.recipe import Recipe
from lungcli.metrics.classification import Floats, Ints
from lungcli.training import checkpoint, fine_tuning, loop, trainer
from lungcli.training.trainer import Teacher
from tests.modelfile import graphs
from tests.training.test_loop import RECIPE, material, with_lesions

SHORT = msgspec.structs.replace(RECIPE, epochs=1)


def losses_of(folder: Path, recipe: Recipe, *teachers: Teacher) -> list[float]:
    events = trainer.train("student", recipe, material(), folder, teachers)
    return [event.loss for event in events if isinstance(event, BatchDone)]


def test_with_alpha_0_the_student_is_the_base_student(tmp_path: Path) -> None:
    """Same initial weights, same batches, same budget: any other difference comes from the teacher."""
    base, ignoring, distilled = tmp_path / "base", tmp_path / "ignoring", tmp_path / "distilled"
    alone = losses_of(base, SHORT)
    teacher = Teacher(model="ownmodel", weights=base / loop.BEST)
    assert losses_of(ignoring, msgspec.structs.replace(SHORT, alpha=0.0), teacher) == alone
    assert (ignoring / loop.BEST).read_bytes() == (base / loop.BEST).read_bytes()
    assert losses_of(distilled, msgspec.structs.replace(SHORT, alpha=0.9), teacher) != alone


def test_the_head_is_fitted_first_unless_the_training_goes_on(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(SHORT, probe=True, freeze=0.9, learning_rate=1e-7, epochs=2)
    events = [
        event for event in trainer.train("train", recipe, with_lesions(), tmp_path) if isinstance(event, EpochDone)
    ]
    # Nothing but the fit has moved a weight, and it tells the classes apart.
    assert events[0].balanced_accuracy > 0.8
    weights = (tmp_path / loop.BEST).read_bytes()
    assert not list(trainer.train("train", recipe, with_lesions(), tmp_path))
    assert (tmp_path / loop.BEST).read_bytes() == weights


def test_only_slices_with_a_lesion_teach_the_head_what_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No slice shows a lung, so none gets a lesion, and the head is that without lesions."""
    fitted: list[tuple[list[int], float]] = []

    def spy(net: nn.Module, batches: Iterator[Tensor], labels: Ints, weights: Floats, smoothing: float) -> None:
        fitted.append((labels.tolist(), round(weights.sum(), 6)))

    monkeypatch.setattr(fine_tuning, "fit_head", spy)
    without_lungs = dataclasses.replace(with_lesions(), pixels=np.full_like(material().pixels, 255))
    next(trainer.train("train", msgspec.structs.replace(SHORT, probe=True), without_lungs, tmp_path))

    assert fitted == [(without_lungs.labels[without_lungs.train].tolist(), 1.0)]


@pytest.mark.parametrize(
    ("material_of", "message"), [(material, "the recipe names none"), (with_lesions, "takes no patches of 32 pixels")]
)
def test_patches_that_nothing_can_be_cut_from_or_no_net_can_take_are_refused(
    tmp_path: Path, material_of: Callable[[], loop.TrainingData], message: str
) -> None:
    recipe = msgspec.structs.replace(SHORT, patches=0.5)
    with pytest.raises(UsageError, match=message):
        next(trainer.train("train", recipe, material_of(), tmp_path))


@pytest.mark.parametrize("name", [loop.BEST, "graph.onnx"])
def test_a_teacher_that_takes_no_patches_is_refused(tmp_path: Path, name: str) -> None:
    losses_of(tmp_path, SHORT)
    graphs.nodule_file(tmp_path / "graph.onnx")
    teacher = Teacher(model="ownmodel", weights=tmp_path / name)
    recipe = msgspec.structs.replace(SHORT, model="shufflenetv2", patches=0.5)
    with pytest.raises(UsageError, match="ownmodel takes no patches of 32 pixels"):
        next(trainer.train("student", recipe, with_lesions(), tmp_path / "student", [teacher]))


def test_methods_and_a_second_teacher_change_the_student(tmp_path: Path) -> None:
    first, second = (Teacher(model="ownmodel", weights=tmp_path / name / loop.BEST) for name in ("first", "second"))
    losses_of(tmp_path / "first", SHORT)
    losses_of(tmp_path / "second", msgspec.structs.replace(SHORT, seed=1))
    losses = [losses_of(tmp_path / "both", SHORT, first, second), losses_of(tmp_path / "alone", SHORT, first)]
    others = [name for name in registry.METHODS if name not in ("kd", "patient")]
    losses += [losses_of(tmp_path / name, msgspec.structs.replace(SHORT, method=name), first) for name in others]
    assert len({tuple(of_run) for of_run in losses}) == len(losses)
    twice = losses_of(tmp_path / "twice", SHORT, first, first)
    np.testing.assert_allclose(twice, losses[1], rtol=1e-3)


def test_the_graph_is_that_of_the_best_epoch(tmp_path: Path) -> None:
    losses_of(tmp_path, SHORT)
    count = trainer.export_best(SHORT, 3, tmp_path, tmp_path / "graph.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "graph.onnx"), providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"slice": np.zeros((2, 1, 64, 64), dtype=np.uint8)})
    assert logits.shape == (2, 3)
    assert count > 100_000


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(LungcliError, match="cannot read"):
        trainer.export_best(SHORT, 3, tmp_path, tmp_path / "graph.onnx")


def test_a_finished_stage_keeps_its_weights_and_no_checkpoint(tmp_path: Path) -> None:
    losses_of(tmp_path, SHORT)
    weights = (tmp_path / loop.BEST).read_bytes()
    assert (tmp_path / checkpoint.EPOCH_CHECKPOINT).exists()
    for _ in range(2):
        trainer.remove_checkpoints(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [loop.BEST]
    assert (tmp_path / loop.BEST).read_bytes() == weights
