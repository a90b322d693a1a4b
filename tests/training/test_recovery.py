"""Divergence and lack of memory restart the epoch, with the same result however often the run was stopped."""

from collections.abc import Generator
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor, nn

from lungcli.core.errors import LungcliError
from lungcli.core.events import BatchDone, BatchLowered, EpochDone, Event, RateLowered
from lungcli.core.recipe import Recipe
from lungcli.training import checkpoint, loop, trainer
from lungcli.training.mixup import Targets
from tests.training.test_loop import RECIPE, figures, material, tiny_net

SHORT = msgspec.structs.replace(RECIPE, epochs=2)


class Trouble:
    """A criterion that goes wrong in given calls, counted from 0 over the life of one process."""

    def __init__(self, *calls: int, error: BaseException | None = None) -> None:
        self.calls, self.error, self.count = calls, error, 0

    def __call__(self, logits: Tensor, slices: Tensor, targets: Targets) -> Tensor:
        del slices
        self.count += 1
        loss = sum((share * nn.functional.cross_entropy(logits, labels) for labels, share in targets), torch.zeros(()))
        if self.count - 1 not in self.calls:
            return loss
        if self.error:
            raise self.error
        return loss * float("nan")


def troubled(folder: Path, trouble: Trouble, recipe: Recipe = SHORT) -> Generator[Event, None, None]:
    torch.manual_seed(recipe.seed)
    return loop.train("train", tiny_net(), trouble, recipe, material(), folder)


def rates(events: list[Event], epoch: int) -> list[float]:
    return [event.learning_rate for event in events if isinstance(event, BatchDone) and event.epoch == epoch]


def test_a_loss_of_nan_restarts_the_epoch_at_half_the_rate(tmp_path: Path) -> None:
    calm = list(troubled(tmp_path / "calm", Trouble()))
    # Six batches an epoch: the third of the second.
    events = list(troubled(tmp_path / "troubled", Trouble(8)))
    told = [event for event in events if isinstance(event, RateLowered)]
    assert [(each.epoch, each.batch, each.times, each.learning_rate) for each in told] == [(2, 3, 1, 0.0005)]
    assert told[0].why == "the loss became nan"
    at = events.index(told[0])
    assert figures(events[:at]) == figures(calm)[: 6 + 1 + 2]
    assert rates(events[at:], 2) == [rate / 2 for rate in rates(calm, 2)]
    assert isinstance(events[-2], EpochDone)


def lowered(folder: Path) -> bool:
    return checkpoint.position(folder).halvings > 0


def diverging(folder: Path) -> Generator[Event, None, None]:
    """A training whose loss is no number from a certain batch on, in whichever process, until its rate is lowered."""

    def criterion(logits: Tensor, slices: Tensor, targets: Targets) -> Tensor:
        loss = Trouble()(logits, slices, targets)
        return loss * float("nan") if float(loss.detach()) < 1.05 and not lowered(folder) else loss

    torch.manual_seed(RECIPE.seed)
    return loop.train("train", tiny_net(), criterion, RECIPE, material(), folder)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """Folder and events of a training whose rate is lowered once, and which is never stopped."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, list(diverging(folder))


@pytest.mark.parametrize("stop_after", [2, 9, 11, 13, 17, 20])
def test_the_lower_rate_survives_a_stop_anywhere(
    tmp_path: Path, unbroken: tuple[Path, list[Event]], stop_after: int
) -> None:
    whole, expected = unbroken
    assert sum(isinstance(event, RateLowered) for event in expected) == 1
    first = diverging(tmp_path)
    seen = [next(first) for _ in range(stop_after)]
    first.close()
    seen += diverging(tmp_path)
    assert figures(seen) == figures(expected)
    assert (tmp_path / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


def test_after_three_halvings_it_is_an_error_with_a_hint(tmp_path: Path) -> None:
    events: list[Event] = []
    with pytest.raises(LungcliError, match=r"the loss became nan in epoch 1, also after .* halved 3 times") as caught:
        events.extend(troubled(tmp_path, Trouble(*range(99))))
    assert "--learning-rate" in caught.value.hint
    assert [event.times for event in events if isinstance(event, RateLowered)] == [1, 2, 3]


def test_a_far_too_high_rate_is_halved_three_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is made up here: AdamW at a million really leaves the numbers."""
    monkeypatch.setattr(loop, "learning_rate", lambda *_: 1e6)
    with pytest.raises(LungcliError, match="halved 3 times"):
        list(troubled(tmp_path, Trouble()))


def test_weights_that_are_not_finite_are_never_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    judged = loop._all_finite
    answers = iter([False])
    monkeypatch.setattr(loop, "_all_finite", lambda net: next(answers, judged(net)))
    events = list(troubled(tmp_path, Trouble()))
    told = [event for event in events if isinstance(event, RateLowered)]
    assert [(event.why, event.epoch) for event in told] == [("a weight is no longer finite", 1)]
    assert [event.epoch for event in events if isinstance(event, EpochDone)] == [1, 2]
    net = tiny_net()
    assert judged(net)
    with torch.no_grad():
        next(net.parameters())[0] = float("inf")
    assert not judged(net)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
        RuntimeError("could not create a primitive"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_lack_of_memory_restarts_the_epoch_with_half_the_micro_batch(tmp_path: Path, error: BaseException) -> None:
    events = list(troubled(tmp_path / "short", Trouble(7, 8, error=error)))
    told = [event for event in events if isinstance(event, BatchLowered)]
    assert [(event.epoch, event.slices) for event in told] == [(2, 4), (2, 2)]
    assert [event.epoch for event in events if isinstance(event, EpochDone)] == [1, 2]
    assert trainer.with_final_micro_batch(SHORT, tmp_path / "short") == msgspec.structs.replace(SHORT, micro_batch=2)
    assert trainer.with_final_micro_batch(SHORT, tmp_path) == SHORT


def test_a_failure_that_may_be_one_of_memory_is_called_no_more_than_that(tmp_path: Path) -> None:
    error = RuntimeError("could not create a primitive")
    (told,) = (event for event in troubled(tmp_path / "a", Trouble(7, error=error)) if isinstance(event, BatchLowered))
    assert told.why == "oneDNN failed, which most often is for lack of memory"
    with pytest.raises(LungcliError, match=r"^oneDNN failed, which most often .*, even with 2 slices at a time"):
        list(troubled(tmp_path / "b", Trouble(*range(99), error=error)))
    # What it does not support is no lack of memory.
    unsupported = RuntimeError("could not create a primitive descriptor for the matmul primitive.")
    with pytest.raises(RuntimeError, match="primitive descriptor"):
        list(troubled(tmp_path / "c", Trouble(3, error=unsupported)))


def test_fewer_slices_at_once_outlive_a_kill(tmp_path: Path) -> None:
    happening = troubled(tmp_path, Trouble(0, error=MemoryError()))
    assert isinstance(next(happening), BatchLowered)
    del happening
    counted = Trouble()
    list(troubled(tmp_path, counted, SHORT))
    # 42 slices in batches of 7, four at once: two calls a batch.
    assert counted.count == 2 * 12


def test_memory_for_fewer_than_two_slices_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LungcliError, match="out of memory, even with 2 slices at a time") as caught:
        list(troubled(tmp_path, Trouble(*range(99), error=MemoryError())))
    assert "--size" in caught.value.hint


def test_another_error_of_the_work_is_passed_on(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes do not match"):
        list(troubled(tmp_path, Trouble(3, error=RuntimeError("shapes do not match"))))
