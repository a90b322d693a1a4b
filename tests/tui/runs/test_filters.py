"""The language of the search box."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core.errors import UsageError
from lungcli.tui.runs import filters
from lungcli.tui.runs.event_reader import Best
from lungcli.tui.runs.run_row import Row

GOOD = Row(
    name="compress-Mobile [red]",
    kind="compress",
    state="done",
    model="mobilenetv2",
    teacher="resnet18",
    data="phantom",
    tags=("paper",),
    best=Best(balanced_accuracy=0.71, sensitivity=0.9, validation_loss=0.4, epoch=7, done=9),
)
NEW = Row(name="train-x", kind="train", state="running", model="resnet18", data="mine")


@pytest.mark.parametrize(
    ("query", "good", "new"),
    [
        ("", True, True),
        ("mobile", True, False),
        ("[red]", True, False),
        ("model:mobilenet*", True, False),
        ("model:net", True, True),
        ("bacc>0.7 model:mobilenet*", True, False),
        ("bacc>0.71", False, False),
        ("bacc>=0.71 sens>0.8 epoch=9", True, False),
        ("-state:running", True, False),
        ("tag:paper", True, False),
        ("-tag:paper", False, True),
        ("data:mine", False, True),
        ("name:train-?", False, True),
        ("-bacc>0.5", False, True),
    ],
)
def test_queries_let_through_what_they_say(query: str, good: bool, new: bool) -> None:
    test = filters.parse(query)
    assert (test(GOOD), test(NEW)) == (good, new)


@pytest.mark.parametrize(
    ("query", "message", "hint"),
    [
        ("colour:red", "there is no field 'colour'", "known: name, kind"),
        ("acc>0.5", "there is no figure 'acc'", "known: bacc"),
        ("bacc>high", "'high' is no number", "as in bacc>0.7"),
    ],
)
def test_a_part_that_means_nothing_is_named(query: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        filters.parse(query)
    assert message in caught.value.message
    assert hint in caught.value.hint


@given(st.text(max_size=40))
def test_whatever_is_typed_is_a_test_or_an_error_that_is_foreseen(query: str) -> None:
    with contextlib.suppress(UsageError):
        filters.parse(query)(GOOD)


@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("sta", "state:"),
        ("mobilenet sta", "mobilenet state:"),
        ("-da", "-data:"),
        ("bac", "bacc>"),
        ("state:fa", "state:failed"),
        ("-model:m", "-model:mobilenetv2"),
        ("model:x", None),
        ("colour:r", None),
        ("zzz", None),
        ("", None),
    ],
)
def test_fields_and_their_values_are_completed(typed: str, completed: str | None) -> None:
    rows = [Row(name="a", state="failed", model="mobilenetv2"), Row(name="b")]
    assert filters.suggestion(typed, rows) == completed
