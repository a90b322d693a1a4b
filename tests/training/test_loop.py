"""The training loop: it learns, and an interrupted run ends with the numbers of an uninterrupted one."""

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Generator
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import nn

from lungcli.core import recipe as recipes
from lungcli.core.errors import LungcliError
from lungcli.core.events import BatchDone, CheckpointWritten, EpochDone, Event
from lungcli.core.recipe import Augment, Recipe
from lungcli.datasets.lesions import Lesions
from lungcli.imaging import preprocessing
from lungcli.training import devices, loop, nets
from lungcli.training.loop import TrainingData
from lungcli.training.losses import criteria
from lungcli.training.mixup import Targets

RECIPE = recipes.make(
    data="d", model="ownmodel", size=64, epochs=3, batch=8, device="cpu", precision="float32", threads=1, warmup=0.5
)


def material() -> TrainingData:
    """Three classes told apart by where a bright square lies."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pixels = rng.integers(0, 60, (60, 64, 64), dtype=np.uint8)
    for picture, label in zip(pixels, labels, strict=True):
        picture[8 + 18 * label : 22 + 18 * label, 10:54] += 150
    return TrainingData(
        pixels=pixels,
        labels=labels,
        classes=("benign", "malignant", "normal"),
        train=np.arange(42),
        validation=np.arange(42, 60),
        digest="d",
    )


def with_lesions() -> TrainingData:
    """The same, with lungs in every slice and two lesions to put there, from two institutions."""
    plain = material()
    pixels = plain.pixels.copy()
    pixels[:, 2:62, :8] = round(255 * preprocessing.AIR)
    mask = np.zeros((2, 32, 32), dtype=np.uint8)
    mask[:, 8:24, 8:24] = 1
    return dataclasses.replace(
        plain,
        pixels=pixels,
        institutions=np.arange(60) % 2,
        lesions=Lesions(crops=(50 + 150 * mask).astype(np.uint8), masks=mask),
    )


def tiny_net() -> nn.Module:
    """A net of a few thousand weights without batch normalisation, for slices of 64 pixels."""
    layers = nn.Conv2d(1, 8, 8, stride=8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 8 * 8, 3)
    return nets.Normalised(nn.Sequential(*layers), 100.0, 60.0)


def pooled_net() -> nn.Module:
    """The same for slices of any size."""
    layers = nn.Conv2d(1, 8, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    return nets.Normalised(nn.Sequential(*layers), 100.0, 60.0)


def training(
    folder: Path,
    recipe: Recipe = RECIPE,
    found: TrainingData | None = None,
    make_net: Callable[[], nn.Module] = tiny_net,
) -> Generator[Event, None, None]:
    found = found or material()
    torch.manual_seed(recipe.seed)
    net = make_net()
    criterion = criteria.label_loss(recipe, torch.from_numpy(found.labels[found.train]), 3)
    return loop.train("train", net, criterion, recipe, found, folder)


def figures(events: list[Event]) -> list[tuple[float, ...]]:
    """Everything of the events that a resumed run must repeat."""
    return [
        (event.epoch, event.loss, event.learning_rate, getattr(event, "validation_loss", 0.0))
        for event in events
        if isinstance(event, BatchDone | EpochDone)
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Callable[[float], tuple[Path, list[Event]]]:
    """Return what trains with so much mixup and is never stopped: folder and events, made once for all tests."""

    @functools.cache
    def train_once(mixup: float) -> tuple[Path, list[Event]]:
        folder = tmp_path_factory.mktemp("unbroken")
        return folder, list(training(folder, msgspec.structs.replace(RECIPE, mixup=mixup)))

    return train_once


def test_training_lowers_the_loss_and_classifies_all_validation_slices(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, epochs=12)
    epochs = [event for event in training(tmp_path, recipe) if isinstance(event, EpochDone)]
    assert epochs[-1].loss < 0.6 * epochs[0].loss
    assert max(event.balanced_accuracy for event in epochs) == 1.0
    assert (tmp_path / "best.safetensors").exists()


@pytest.mark.parametrize(("stop_after", "mixup"), [(1, 0.0), (4, 0.4), (6, 0.0), (7, 0.4), (13, 0.0)])
def test_a_run_stopped_anywhere_ends_bit_for_bit_like_an_uninterrupted_one(
    tmp_path: Path, unbroken: Callable[[float], tuple[Path, list[Event]]], stop_after: int, mixup: float
) -> None:
    whole, expected = unbroken(mixup)
    recipe = msgspec.structs.replace(RECIPE, mixup=mixup)
    first = training(tmp_path, recipe)
    seen = [next(first) for _ in range(stop_after)]
    first.close()
    seen += list(training(tmp_path, recipe))
    assert figures(seen) == figures(expected)
    assert (tmp_path / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


@pytest.mark.parametrize("patches", [0.0, 0.5])
@pytest.mark.parametrize("stop_after", [2, 7])
def test_a_run_with_lesions_and_balanced_draws_ends_bit_for_bit_like_an_uninterrupted_one(
    tmp_path: Path, stop_after: int, patches: float
) -> None:
    recipe = msgspec.structs.replace(RECIPE, balance=True, freeze_norm=True, stem_rate=0.1, patches=patches)
    whole = list(training(tmp_path / "whole", recipe, with_lesions(), pooled_net))
    first = training(tmp_path / "parts", recipe, with_lesions(), pooled_net)
    seen = [next(first) for _ in range(stop_after)]
    first.close()
    seen += list(training(tmp_path / "parts", recipe, with_lesions(), pooled_net))

    assert figures(seen) == figures(whole)
    weights = [(tmp_path / name / "best.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_slices_with_a_lesion_are_added_beside_themselves_as_malignant(tmp_path: Path) -> None:
    """The criterion sees every slice of a batch and its label."""
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def spy(logits: torch.Tensor, slices: torch.Tensor, targets: Targets) -> torch.Tensor:
        seen.append((slices, targets[0][0]))
        return logits.sum() * 0

    off = Augment(rotation=0, shift=0, scale=0, flip=0, gamma=0, window=0, blur=0, noise=0, resolution=0)
    recipe = msgspec.structs.replace(RECIPE, epochs=1, batch=42, transplants=0.25, augment=off)
    list(loop.train("train", tiny_net(), spy, recipe, with_lesions(), tmp_path))

    slices, labels = (torch.cat(parts) for parts in zip(*seen, strict=True))
    added = slices[42:]
    assert len(added) == round(0.25 * 42)
    assert (labels[42:] == 1).all()
    hosts = slices[:42][labels[:42] != 1][: len(added)]
    changed = (added - hosts).abs().flatten(1).gt(0.5).sum(dim=1)
    assert (changed > 0).all()
    assert (changed < 0.25 * 64 * 64).all()


def test_the_first_epochs_see_patches_and_the_others_whole_slices(tmp_path: Path) -> None:
    sides: list[int] = []

    def spy(logits: torch.Tensor, slices: torch.Tensor, targets: Targets) -> torch.Tensor:
        del targets
        sides.append(slices.shape[-1])
        return logits.sum() * 0

    recipe, seen = msgspec.structs.replace(RECIPE, epochs=5, patches=0.5), []
    for event in loop.train("train", pooled_net(), spy, recipe, with_lesions(), tmp_path):
        if isinstance(event, EpochDone):
            seen.append(set(sides))
            sides.clear()
    assert seen == [{32}, {32}, {64}, {64}, {64}]


def test_a_killed_training_repeats_from_the_last_checkpoint(
    tmp_path: Path, unbroken: Callable[[float], tuple[Path, list[Event]]]
) -> None:
    whole, expected = unbroken(0.0)
    first = training(tmp_path)
    for _ in range(10):
        next(first)
    # As after `kill -9`: the checkpoint is what lies on disk, nothing is saved on the way out.
    saved = (tmp_path / "checkpoint.safetensors").read_bytes()
    first.close()
    (tmp_path / "checkpoint.safetensors").write_bytes(saved)
    rest = figures(list(training(tmp_path)))
    assert rest == figures(expected)[-len(rest) :]
    assert (tmp_path / "best.safetensors").read_bytes() == (whole / "best.safetensors").read_bytes()


def test_the_best_epoch_is_kept_or_the_last_if_the_recipe_says_so(tmp_path: Path) -> None:
    kept = {}
    for keep in ("best", "last"):
        recipe = msgspec.structs.replace(RECIPE, keep=keep, epochs=6, learning_rate=0.3)
        epochs = [each for each in training(tmp_path / keep, recipe) if isinstance(each, EpochDone)]
        kept[keep] = (tmp_path / keep / "best.safetensors").read_bytes()
    assert not epochs[-1].best
    assert kept["best"] != kept["last"]


def test_the_event_of_an_epoch_comes_before_its_checkpoint(tmp_path: Path) -> None:
    first = training(tmp_path)
    before = b""
    for event in first:
        kept = (tmp_path / "checkpoint.safetensors").read_bytes()
        if isinstance(event, EpochDone):
            assert kept == before
        before = kept


@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_micro_batches_give_the_gradients_of_the_whole_batch(tmp_path: Path, mixup: float) -> None:
    """The net has no batch normalisation, and its loss here weighs all slices alike, so nothing else may differ."""

    def first_losses(folder: Path, micro_batch: int) -> list[float]:
        torch.manual_seed(0)
        net = tiny_net()
        recipe = msgspec.structs.replace(RECIPE, epochs=1, micro_batch=micro_batch, mixup=mixup)

        def plain(logits: torch.Tensor, slices: torch.Tensor, targets: Targets) -> torch.Tensor:
            parts = [share * torch.nn.functional.cross_entropy(logits, labels) for labels, share in targets]
            return torch.stack(parts).sum()

        events = loop.train("train", net, plain, recipe, material(), folder)
        return [event.loss for event in events if isinstance(event, BatchDone)]

    whole = first_losses(tmp_path / "whole", 0)
    parts = first_losses(tmp_path / "parts", 3)
    np.testing.assert_allclose(parts, whole, rtol=1e-4)
    assert len(set(whole)) == len(whole)


def test_an_epoch_averages_its_batches_and_validates_the_averaged_weights(tmp_path: Path) -> None:
    recipe = msgspec.structs.replace(RECIPE, epochs=2, keep="last")
    events = list(training(tmp_path, recipe))
    epochs = [event for event in events if isinstance(event, EpochDone)]
    batches = [event for event in events if isinstance(event, BatchDone)]
    assert [(event.epoch, event.batch, event.batches) for event in batches] == [
        (epoch, batch, 6) for epoch in (1, 2) for batch in range(1, 7)
    ]
    assert [(event.epoch, event.batch) for event in events if isinstance(event, CheckpointWritten)] == [(1, 0), (2, 0)]
    for number, done in enumerate(epochs):
        own = batches[6 * number : 6 * number + 6]
        assert (done.stage, done.epoch, done.epochs) == ("train", number + 1, 2)
        assert done.loss == pytest.approx(sum(event.loss for event in own) / 6)
        assert done.learning_rate == own[-1].learning_rate
        assert 0 < done.images_per_second < 1e6
    assert [event.learning_rate for event in batches] == [loop.learning_rate(step, 6, recipe) for step in range(12)]

    net, found = tiny_net(), material()
    net.load_state_dict(load_file(tmp_path / "best.safetensors"))
    place = devices.choose_compute(recipe)
    with torch.inference_mode():
        logits = net.eval()(torch.from_numpy(found.pixels[42:, None]).float())
    labels = torch.from_numpy(found.labels[42:])
    last = epochs[-1]
    assert last.validation_loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-4)
    hits = (logits.argmax(dim=1) == labels).double()
    assert last.balanced_accuracy == pytest.approx(np.mean([float(hits[labels == k].mean()) for k in range(3)]))
    assert last.sensitivity == pytest.approx(float(hits[labels == 1].mean()))
    # However many slices are judged at a time, and whatever the classes are called.
    for most in (1, 5, 18):
        assert loop.validate(net, found, place, most).loss == pytest.approx(last.validation_loss, rel=1e-4)
    renamed = loop.validate(net, dataclasses.replace(found, classes=("a", "b", "c")), place)
    assert (renamed.sensitivity, renamed.balanced_accuracy) == (None, last.balanced_accuracy)


def test_balanced_accuracy_ranks_epochs_and_the_loss_those_that_are_equal() -> None:
    def score(accuracy: float, loss: float) -> tuple[float, float]:
        return loop.Score(balanced_accuracy=accuracy, sensitivity=None, loss=loss).rank

    assert score(0.8, 0.9) > score(0.7, 0.1)
    assert score(0.8, 0.4) > score(0.8, 0.5)
    # Sums of shares differ in their last bits.
    assert score(0.8 + 1e-9, 0.5) < score(0.8, 0.4)
    assert score(0.800002, 0.5) > score(0.8, 0.4)


def test_a_checkpoint_is_written_every_minute_within_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count(0, 25)
    monkeypatch.setattr(time, "monotonic", lambda: float(next(clock)))
    events = list(training(tmp_path, msgspec.structs.replace(RECIPE, epochs=1)))
    written = [event.batch for event in events if isinstance(event, CheckpointWritten)]
    assert loop.SECONDS_BETWEEN_CHECKPOINTS == 60
    assert written == [3, 6, 0]
    assert not (tmp_path / "checkpoint-within.safetensors").exists()


def test_a_checkpoint_of_another_recipe_is_refused(tmp_path: Path) -> None:
    first = training(tmp_path)
    next(first)
    first.close()
    other = msgspec.structs.replace(RECIPE, batch=6)
    with pytest.raises(LungcliError, match="belongs to another recipe"):
        next(training(tmp_path, other))


def test_early_stopping_counts_epochs_without_a_better_one(tmp_path: Path) -> None:
    """Labels drawn by lot cannot be learned, so the validation part soon stops getting better."""
    found = dataclasses.replace(material(), labels=np.random.default_rng(0).integers(0, 3, 60))
    recipe = msgspec.structs.replace(RECIPE, epochs=50, patience=2)
    epochs = [event for event in training(tmp_path, recipe, found) if isinstance(event, EpochDone)]
    best = max(event.epoch for event in epochs if event.best)
    assert len(epochs) == best + 2
    assert len(epochs) < 50


@given(st.integers(1, 50), st.integers(1, 20), st.floats(0, 5))
def test_learning_rate_warms_up_then_falls_to_zero(epochs: int, steps: int, warmup: float) -> None:
    recipe = recipes.make(data="d", model="m", epochs=epochs, warmup=warmup, learning_rate=0.1)
    rates = [loop.learning_rate(step, steps, recipe) for step in range(epochs * steps)]
    top = rates.index(max(rates))
    assert all(0 <= rate <= 0.1 + 1e-12 for rate in rates)
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)


def test_warm_up_rises_by_equal_steps_to_the_full_rate_just_after_it() -> None:
    recipe = recipes.make(data="d", model="m", epochs=3, warmup=1, learning_rate=1.0)
    rates = [loop.learning_rate(step, 4, recipe) for step in range(12)]
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert rates[8] == pytest.approx(0.5)
    assert rates[11] == pytest.approx((1 + math.cos(math.pi * 7 / 8)) / 2)


def weights_after(folder: Path, recipe: Recipe, criterion: criteria.Criterion) -> dict[str, torch.Tensor]:
    """Train a small net with every kind of weight; return what `start.`, `net.` and `average.` it went through."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 5, stride=4), torch.nn.BatchNorm2d(4), torch.nn.Flatten(), torch.nn.LazyLinear(3)
    )
    net(torch.zeros(2, 1, 64, 64))
    with torch.no_grad():
        for value in net.parameters():
            value.uniform_(0.5, 1.0)
    start = {f"start.{name}": value.clone() for name, value in net.named_parameters()}
    list(loop.train("train", net, criterion, recipe, material(), folder))
    return start | load_file(folder / "checkpoint.safetensors")


def test_weight_decay_applies_to_kernels_and_matrices_alone(tmp_path: Path) -> None:
    """No gradient reaches the net, so that decay is all that can move a weight."""
    recipe = msgspec.structs.replace(RECIPE, epochs=1, batch=42, warmup=0, learning_rate=0.1, weight_decay=0.5)
    found = weights_after(tmp_path, recipe, lambda logits, *_: (logits * 0).sum())
    for name, kept in (("0.weight", 0.95), ("3.weight", 0.95), ("0.bias", 1), ("1.weight", 1), ("1.bias", 1)):
        torch.testing.assert_close(found[f"net.{name}"], kept * found[f"start.{name}"])


@pytest.mark.parametrize(("ema", "kept"), [(0.99, (1 / 10, 2 / 11)), (0.15, (1 / 10, 0.15)), (0.05, (0.05, 0.05))])
def test_the_decay_of_the_average_grows_up_to_that_of_the_recipe(
    tmp_path: Path, ema: float, kept: tuple[float, float]
) -> None:
    """Weights that move by the same at every step: the average is then a known share of the way behind them."""
    recipe = msgspec.structs.replace(RECIPE, epochs=2, batch=42, warmup=0, ema=ema, keep="last", weight_decay=0)
    recipe = msgspec.structs.replace(recipe, learning_rate=0.1)
    found = weights_after(tmp_path, recipe, lambda logits, *_: logits.sum())
    # AdamW moves the last bias, whose gradient is constant, by the rate: the whole of it, then half of it.
    first, second = kept
    behind = second * (first * 0.1 + 0.05)
    torch.testing.assert_close(found["start.3.bias"] - found["net.3.bias"], torch.full((3,), 0.15))
    torch.testing.assert_close(found["average.3.bias"] - found["net.3.bias"], torch.full((3,), behind))
