"""What heat-maps are made from: whose, which, and how long it is kept."""

from pathlib import Path

import pytest

from lungcli.web import heat_inputs
from lungcli.web.heat_inputs import HeatInputs
from lungcli.web.slice_worker import HeatInput
from lungcli.web.uploads import KEPT_SECONDS

MODEL = Path("m.onnx")


def slice_(size: int = 1) -> HeatInput:
    return HeatInput(label="normal", prepared=bytes(size), box=(0, 0, 1, 1), outline=(), shape=(1, 1))


def test_a_slice_is_found_by_session_visit_and_number_alone() -> None:
    kept, first = HeatInputs(), slice_(2)
    kept.keep("s", 7, MODEL, [first, None])
    assert kept.find("s", 7, 0) == (first, MODEL)
    for asked in (("t", 7, 0), ("s", 6, 0), ("s", 7, 1), ("s", 7, 2), ("s", 7, -1)):
        assert kept.find(*asked) is None


def test_the_newest_results_of_a_session_replace_its_earlier_ones() -> None:
    kept = HeatInputs()
    kept.keep("s", 1, MODEL, [slice_()])
    kept.keep("s", 2, MODEL, [slice_()])
    assert kept.find("s", 1, 0) is None
    assert kept.find("s", 2, 0)
    kept.drop("s")
    kept.drop("never seen")
    assert kept.find("s", 2, 0) is None


def test_slices_are_dropped_some_time_after_their_last_use() -> None:
    now = 0.0
    kept = HeatInputs(lambda: now)
    kept.keep("left", 1, MODEL, [slice_()])
    kept.keep("stays", 2, MODEL, [slice_(), slice_()])
    now = KEPT_SECONDS - 1
    assert kept.find("stays", 2, 0)
    now = KEPT_SECONDS + 1
    kept.sweep()
    assert list(kept._kept) == ["stays"]
    # All of a visit that is looked at stay, not only those that were opened.
    assert kept.find("stays", 2, 1)


def test_beyond_the_limit_those_go_that_were_not_used_for_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heat_inputs, "MOST_BYTES", 10)
    kept = HeatInputs()
    for session in ("a", "b"):
        kept.keep(session, 1, MODEL, [slice_(2), slice_(2)])
    assert kept.find("a", 1, 0)
    kept.keep("c", 1, MODEL, [slice_(4)])
    assert list(kept._kept) == ["a", "c"]
