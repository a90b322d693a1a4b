"""What each stage of a run follows."""

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.pipeline import stages, teachers

RECIPE = recipes.make(data="d", model="mobilenetv2", teacher=["resnet18", "resnet18", "alexnet"], seed=5, epochs=7)


def test_teachers_have_nets_and_seeds_of_their_own_and_the_same_budget() -> None:
    followed = [stages.recipe_of(RECIPE, stage) for stage in ("teacher", "teacher-2", "teacher-3")]
    assert [(each.model, each.seed) for each in followed] == [("resnet18", 6), ("resnet18", 7), ("alexnet", 8)]
    assert {(each.teacher, each.epochs) for each in followed} == {("", 7)}


def test_base_and_student_differ_in_the_teachers_alone() -> None:
    base, student = (stages.recipe_of(RECIPE, stage) for stage in ("base", "student"))
    assert student == RECIPE
    assert (base.model, base.seed, base.teachers) == ("mobilenetv2", 5, ())


def test_some_teachers_may_come_from_other_runs() -> None:
    run = runs.create("several", "distill", RECIPE, ("", "other/teacher", ""))
    origins = [teachers.reused_teacher(run, stage) for stage in ("teacher", "teacher-2", "teacher-3", "student")]
    assert origins == ["", "other/teacher", "", ""]
    alone = runs.create("alone", "distill", recipes.make(data="d", model="m", teacher="resnet18"), "other")
    assert teachers.reused_teacher(alone, "teacher") == "other"
