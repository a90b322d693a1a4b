"""Keeping runs in order: nothing is lost, and nothing that is worked on is moved."""

from pathlib import Path

import pytest

from lungcli.core import recipe as recipes
from lungcli.core import run_trash, runs
from lungcli.core.errors import LungcliError, UsageError
from lungcli.core.runs import Run


def new(name: str, teacher_run: str = "") -> Run:
    recipe = recipes.make(data="phantom", model="resnet18", teacher="resnet18" if teacher_run else "")
    return runs.create(name, "distill" if teacher_run else "train", recipe, teacher_run)


def test_tags_are_kept_once_each_and_a_run_has_none_at_first() -> None:
    run = new("first")
    assert run_trash.tags(run.folder) == ()
    run_trash.tag(run.folder, ("good", "paper", "good"))
    assert run_trash.tags(run.folder) == ("good", "paper")
    with pytest.raises(UsageError, match="'two words' cannot be a tag"):
        run_trash.tag(run.folder, ("two words",))
    assert run_trash.tags(run.folder) == ("good", "paper")


def test_damaged_tags_are_none() -> None:
    run = new("first")
    (run.folder / run_trash.TAGS).write_bytes(b"{")
    assert run_trash.tags(run.folder) == ()


def test_a_renamed_run_keeps_everything_and_its_students_follow() -> None:
    run, pupil = new("first"), new("pupil", "first/teacher")
    renamed = run_trash.rename(run, "second")
    assert (renamed.name, renamed.info, renamed.recipe) == ("second", run.info, run.recipe)
    assert runs.load("pupil").info.teacher_run == "second/teacher"
    assert pupil.info.teacher_run == "first/teacher"
    assert sorted(runs.known()) == ["pupil", "second"]


def test_a_renaming_cut_off_half_way_is_done_by_the_same_call_again(monkeypatch: pytest.MonkeyPatch) -> None:
    run = new("first")
    new("pupil", "first/teacher")

    def killed(here: Path, there: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(run_trash, "_move", killed)
        with pytest.raises(KeyboardInterrupt):
            run_trash.rename(run, "second")
    assert run_trash.rename(runs.load("first"), "second").name == "second"
    assert runs.load("pupil").info.teacher_run == "second/teacher"


def test_a_renaming_that_is_refused_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    run = new("first")
    new("pupil", "first/teacher")

    def refused(here: Path, there: Path) -> None:
        raise LungcliError("cannot write")

    monkeypatch.setattr(run_trash, "_move", refused)
    with pytest.raises(LungcliError, match="cannot write"):
        run_trash.rename(run, "second")
    assert runs.load("pupil").info.teacher_run == "first/teacher"


@pytest.mark.parametrize(("name", "message"), [("other", "there is a run 'other' already"), ("../x", "cannot be")])
def test_names_that_cannot_be_given_leave_the_run_alone(name: str, message: str) -> None:
    run = new("first")
    new("other")
    with pytest.raises(UsageError, match=message):
        run_trash.rename(run, name)
    assert runs.load("first") == run


def test_a_run_in_the_trash_is_restored_whole() -> None:
    run = new("first")
    place = run_trash.move_to_trash(run)
    assert runs.known() == {}
    assert run_trash.restore_from_trash(place) == "first"
    assert runs.load("first") == run


def test_a_restored_run_gets_a_new_name_if_its_own_is_taken() -> None:
    place = run_trash.move_to_trash(new("first"))
    new("first")
    assert run_trash.restore_from_trash(place) == "first-2"
    assert sorted(runs.known()) == ["first", "first-2"]


def test_the_trash_has_a_size_and_can_be_emptied() -> None:
    assert run_trash.trashed_runs() == ()
    assert run_trash.trash_size() == 0
    for name in ("first", "second"):
        run = new(name)
        (run.folder / "model.onnx").write_bytes(b"x" * 1000)
        run_trash.move_to_trash(run)
    assert [place.name.partition(" ")[2] for place in run_trash.trashed_runs()] == ["first", "second"]
    assert 2000 < run_trash.trash_size() < 10_000
    run_trash.empty_trash()
    assert run_trash.trashed_runs() == ()
    assert run_trash.trash_size() == 0
