"""Points of a run: gaps, what was done again after a crash, and smoothing."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core.events import BatchDone
from lungcli.tui.runs.history import Curve, History, weight
from tests.tui import fakes


def curve(*points: tuple[float, float]) -> Curve:
    made = Curve()
    for x, y in points:
        made.add(x, y)
    return made


def test_what_is_no_number_leaves_a_gap() -> None:
    made = curve((1, 0.5), (2, float("nan")), (3, float("inf")), (4, 0.7), (5, 0.8))
    assert list(made.xs) == [1, 4, 5]
    assert made.gaps == [1]


def test_steps_done_again_replace_those_that_were_lost() -> None:
    made = curve((1, 0.1), (2, 0.2), (3, 0.3), (2, 0.25), (3, 0.35))
    assert list(made.xs) == [1, 2, 3]
    assert list(made.ys) == [0.1, 0.25, 0.35]


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=30), st.sampled_from([0.0, 0.6, 0.9]))
def test_smoothing_bit_by_bit_is_smoothing_at_once(values: list[float], strength: float) -> None:
    bit_by_bit, at_once = Curve(), Curve()
    for x, y in enumerate(values):
        bit_by_bit.add(x, y)
        bit_by_bit.smoothed(strength)
        at_once.add(x, y)
    assert list(bit_by_bit.smoothed(strength)) == pytest.approx(list(at_once.smoothed(strength)))
    assert min(values) - 1e-9 <= at_once.smoothed(strength)[-1] <= max(values) + 1e-9


def test_smoothing_starts_without_bias() -> None:
    assert list(curve((1, 3.0), (2, 3.0), (3, 3.0)).smoothed(0.9)) == pytest.approx([3.0, 3.0, 3.0])


def test_a_learning_rate_is_never_smoothed() -> None:
    assert [weight("learning rate", strength) for strength in range(4)] == [0.0] * 4
    assert weight("training loss", 1) > weight("validation balanced accuracy", 1) == 0.0


def written(tmp_path: Path, content: bytes) -> History:
    path = tmp_path / "events.jsonl"
    path.write_bytes(content)
    return History(path)


def test_a_history_has_every_figure_of_every_stage(tmp_path: Path) -> None:
    history = written(tmp_path, fakes.encoded(fakes.story("compress", epochs=3)))
    assert not history.read()
    assert history.stages == ["teacher", "base", "student"]
    assert list(history.curves["student", "validation balanced accuracy"].xs) == [1, 2, 3]
    assert len(history.curves["base", "training loss"].xs) == 12
    assert history.curves["base", "training loss"].xs[0] == 0.25


def test_the_final_value_is_that_of_the_epoch_whose_weights_are_kept(tmp_path: Path) -> None:
    story = fakes.story(epochs=4, best=0.8)
    history = written(tmp_path, fakes.encoded(story))
    history.read()
    curve = history.curves["train", "validation balanced accuracy"]
    assert history.final("train", "validation balanced accuracy") == curve.ys[3]
    assert history.final("train", "images/s") is None
    assert history.final("nothing", "loss") is None


def test_a_history_follows_a_file_that_is_written_anew(tmp_path: Path) -> None:
    history = written(tmp_path, fakes.encoded(fakes.story(epochs=9)))
    history.read()
    before = history.version
    history.path.write_bytes(fakes.encoded(fakes.story(epochs=2)))
    history.read()
    assert history.version > before
    assert list(history.curves["train", "validation balanced accuracy"].xs) == [1, 2]


def test_lines_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    history = written(tmp_path, b"nonsense\n" + fakes.encoded(fakes.story(epochs=2)))
    history.read()
    assert list(history.curves["train", "validation balanced accuracy"].xs) == [1, 2]


def test_a_thousand_events_a_second_are_kept_up_with(tmp_path: Path) -> None:
    history = written(tmp_path, b"")
    template = next(event for event in fakes.epoch("train", 1, 1, 0.5) if isinstance(event, BatchDone))
    for second in range(3):
        events = [
            msgspec.structs.replace(template, batch=second * 1000 + i + 1, batches=3000, loss=1.0) for i in range(1000)
        ]
        fakes.append(history.path, events)
        while history.read():
            pass
    assert len(history.curves["train", "training loss"].xs) == 3000
