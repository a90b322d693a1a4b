"""Reading a file that another process writes: torn, cut, replaced, deleted, and fast."""

import datetime
import math
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core.events import BatchDone, EpochDone
from lungcli.tui.runs import event_reader
from lungcli.tui.runs.event_reader import Glance, Place
from tests.tui import fakes

BATCH = (
    b'{"type":"batch-done","time":"2026-03-01T08:00:00Z","stage":"train","epoch":1,"batch":1,"batches":4,'
    b'"loss":%b,"learning_rate":0.001,"images_per_second":30.0}'
)


def file_with(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "events.jsonl"
    path.write_bytes(content)
    return path


@given(cuts=st.lists(st.integers(0, 40), max_size=8), limit=st.integers(12, 60))
def test_however_it_is_cut_every_line_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], limit: int
) -> None:
    whole = b"".join(b"line %d\n" % i for i in range(5))
    path = tmp_path_factory.mktemp("feed") / "events.jsonl"
    lines: list[bytes] = []
    place = Place()
    for end in [*sorted(cuts), len(whole)]:
        path.write_bytes(whole[:end])
        more = True
        while more:
            news = event_reader.read_on(path, place, limit)
            place, more = news.place, news.more
            lines += news.lines
            assert not news.rewritten
    assert lines == whole.splitlines()


def test_a_line_still_being_written_waits_for_its_end(tmp_path: Path) -> None:
    path = file_with(tmp_path, b"one\ntw")
    news = event_reader.read_on(path, Place())
    assert news.lines == (b"one",)
    with path.open("ab") as file:
        file.write(b"o\n")
    assert event_reader.read_on(path, news.place).lines == (b"two",)


@pytest.mark.parametrize("content", [b"new\n", b"new one\nnew two\nnew three\n"], ids=["shorter", "longer"])
def test_a_file_written_anew_is_read_from_its_beginning(tmp_path: Path, content: bytes) -> None:
    path = file_with(tmp_path, b"old one\nold two\n")
    place = event_reader.read_on(path, Place()).place
    path.write_bytes(content)
    news = event_reader.read_on(path, place)
    assert news.rewritten
    assert news.lines == tuple(content.splitlines())


def test_a_replaced_file_is_noticed_though_it_begins_alike(tmp_path: Path) -> None:
    path = file_with(tmp_path, b"same\n")
    place = event_reader.read_on(path, Place()).place
    other = tmp_path / "other"
    other.write_bytes(b"same\nmore\n")
    other.replace(path)
    news = event_reader.read_on(path, place)
    assert news.rewritten
    assert news.lines == (b"same", b"more")


def test_a_deleted_file_has_no_lines_and_may_come_back(tmp_path: Path) -> None:
    path = file_with(tmp_path, b"one\n")
    place = event_reader.read_on(path, Place()).place
    path.unlink()
    gone = event_reader.read_on(path, place)
    assert gone.rewritten
    assert gone.lines == ()
    assert not event_reader.read_on(path, gone.place).rewritten
    path.write_bytes(b"back\n")
    assert event_reader.read_on(path, gone.place).lines == (b"back",)


def test_a_line_without_end_is_passed_over(tmp_path: Path) -> None:
    path = file_with(tmp_path, b"x" * 100 + b"\nafter\n")
    lines: list[bytes] = []
    place, more = Place(), True
    while more:
        news = event_reader.read_on(path, place, 32)
        place, more = news.place, news.more
        lines += news.lines
    assert lines[-1] == b"after"
    assert event_reader.decode(lines[0]) is None


def test_a_figure_that_is_null_was_no_number() -> None:
    event = event_reader.decode(BATCH % b"null")
    assert isinstance(event, BatchDone)
    assert math.isnan(event.loss)
    assert event.learning_rate == 0.001


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"type":"of-the-future"}', BATCH % b'"x"', b"\xff\xfe"])
def test_what_is_no_event_is_none(line: bytes) -> None:
    assert event_reader.decode(line) is None


def test_a_glance_knows_best_stage_and_pace(tmp_path: Path) -> None:
    path = file_with(tmp_path, fakes.encoded(fakes.story("compress", epochs=10, best=0.7, end="stopped")))
    seen = event_reader.glance(path, Glance())
    assert seen.stages == ("teacher", "base", "student", "evaluate")
    assert (seen.stage, seen.position, seen.epochs) == ("student", 5.0, 10)
    assert seen.best["student"].epoch == 5
    assert seen.best["teacher"].done == 10
    assert seen.seconds_per_epoch == pytest.approx(4.0)


def test_a_glance_costs_only_what_is_new(tmp_path: Path) -> None:
    events = fakes.story(epochs=200, batches=20)
    path = file_with(tmp_path, fakes.encoded(events[:2000]))
    first = event_reader.glance(path, Glance())
    fakes.append(path, events[2000:])
    assert first.place.offset > 200_000
    again = event_reader.glance(path, first)
    assert again.best == event_reader.glance(path, Glance()).best
    assert again.best["train"].done == 200


def test_a_glance_at_a_large_file_comes_in_parts(tmp_path: Path) -> None:
    path = file_with(tmp_path, fakes.encoded(fakes.story(epochs=100)))
    seen, parts = event_reader.glance(path, Glance(), limit=4096), 1
    while seen.more:
        seen, parts = event_reader.glance(path, seen, limit=4096), parts + 1
    assert parts > 5
    assert seen.best == event_reader.glance(path, Glance()).best


def test_a_glance_forgets_a_file_written_anew_and_one_deleted(tmp_path: Path) -> None:
    path = file_with(tmp_path, fakes.encoded(fakes.story(epochs=20)))
    seen = event_reader.glance(path, Glance())
    path.write_bytes(fakes.encoded(fakes.story(epochs=4, end="failed")))
    seen = event_reader.glance(path, seen)
    assert seen.best["train"].done == 2
    assert seen.error == "the loss became nan in epoch 6"
    path.unlink()
    assert event_reader.glance(path, seen) == Glance()


def test_the_pace_is_the_writers_own_clock() -> None:
    ahead = datetime.timedelta(days=400)
    batches = [event for event in fakes.epoch("train", 1, 10, 0.5) if isinstance(event, BatchDone)]
    import msgspec

    later = [msgspec.structs.replace(event, time=event.time + ahead) for event in batches]
    assert event_reader.pace(batches) == pytest.approx(4.0)
    assert event_reader.pace(later) == pytest.approx(4.0)
    assert event_reader.pace(batches[:1]) is None
    assert event_reader.pace(batches[::-1]) is None


def test_the_writer_says_which_epoch_is_best() -> None:
    import msgspec

    events = [event for event in fakes.epoch("train", 1, 10, 0.5) if isinstance(event, EpochDone)]
    best = event_reader.better(None, events[0])
    worse = event_reader.better(best, msgspec.structs.replace(events[0], epoch=2, balanced_accuracy=0.9, best=False))
    assert (worse.balanced_accuracy, worse.epoch, worse.done) == (0.5, 1, 2)


def test_a_glance_is_a_value() -> None:
    assert isinstance(Glance().best, MappingProxyType)


@given(st.lists(st.sampled_from([b"", b"b", b"a", b"ba", b"ab", b"aba"])))
def test_lines_with_a_word_are_those_of_all_lines_that_have_it(lines: list[bytes]) -> None:
    news = event_reader.News(place=event_reader.Place(), content=b"".join(line + b"\n" for line in lines))
    assert list(news.lines_with(b"a")) == [line for line in lines if b"a" in line]
