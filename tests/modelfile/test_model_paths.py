"""What stages a run has, and what a user may name."""

import pytest

from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.core.runs import Kind, Run
from lungcli.modelfile import model_paths


def made(name: str, kind: Kind, *teachers: str) -> Run:
    run = runs.create(name, kind, recipes.make(data="d", model="mobilenetv2", teacher=teachers))
    for stage in model_paths.stages(run):
        run.stage(stage).mkdir()
        (run.stage(stage) / model_paths.MODEL).touch()
    return run


def test_every_teacher_has_a_stage_of_its_own() -> None:
    assert model_paths.stages(made("a", "train")) == ("train",)
    assert model_paths.stages(made("b", "distill", "resnet18")) == ("teacher", "student")
    several = made("c", "compress", "resnet18", "resnet18", "alexnet")
    assert model_paths.stages(several) == ("teacher", "teacher-2", "teacher-3", "base", "student", "int8")
    assert set(model_paths.files()) == {f"c/{stage}" for stage in model_paths.stages(several)} | {
        "a/train",
        "b/teacher",
        "b/student",
    }


def test_a_stage_is_found_by_its_name() -> None:
    run = made("c", "compress", "resnet18", "alexnet")
    assert model_paths.resolve("c") == run.stage("int8") / model_paths.MODEL
    assert model_paths.resolve("c/Teacher-2") == run.stage("teacher-2") / model_paths.MODEL
    with pytest.raises(UsageError, match="unknown stage of c 'teacher-3'"):
        model_paths.resolve("c/teacher-3")
    (run.stage("base") / model_paths.MODEL).unlink()
    with pytest.raises(ModelFileError, match="has not made its base model yet"):
        model_paths.resolve("c/base")


def test_a_run_with_several_teachers_stands_for_all_of_them() -> None:
    made("a", "train")
    made("b", "distill", "resnet18")
    made("c", "distill", "resnet18", "alexnet")
    assert model_paths.teachers("a") == ("a",)
    assert model_paths.teachers("b") == ("b",)
    assert model_paths.teachers("c") == ("c/teacher", "c/teacher-2")
    assert model_paths.teachers("c/student") == ("c/student",)
