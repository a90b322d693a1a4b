"""What stages a run has, and what a user may name."""

import pytest

from lungcli.core import paths, runs
from lungcli.core import recipe as recipes
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


def test_what_quantize_wrote_beside_a_model_is_known_by_its_form() -> None:
    """A stage of that name comes first; files that it did not name are left alone."""
    run = made("a", "train")
    int8, other = run.stage("train") / "model.int8.onnx", run.stage("train") / "model.old.onnx"
    for path in (int8, other):
        path.touch()
    assert model_paths.resolve("a/int8") == model_paths.files()["a/int8"] == int8
    assert model_paths.name_of(int8) == "a/int8"
    assert set(model_paths.files()) == {"a/train", "a/int8"}
    assert model_paths.resolve("a").name == model_paths.MODEL
    with pytest.raises(UsageError, match="'a/int8' is quantized"):
        model_paths.weights_folder("a/int8")
    compressed = made("c", "compress", "resnet18")
    (compressed.stage("student") / "model.int8.onnx").touch()
    assert model_paths.resolve("c/int8") == compressed.stage("int8") / model_paths.MODEL


def test_what_was_made_of_an_adopted_model_is_known_by_its_form() -> None:
    paths.models_home().mkdir(parents=True)
    int8 = paths.models_home() / "b.int8.onnx"
    for path in (int8, paths.models_home() / "b.onnx"):
        path.touch()
    assert model_paths.resolve("b/int8") == model_paths.resolve("b.int8") == int8
    for form in ("float16", "other", "../b"):
        with pytest.raises(UsageError, match=f"nothing called '{form}' was made of 'b'"):
            model_paths.resolve(f"b/{form}")


def test_a_run_comes_before_an_adopted_model_of_its_name() -> None:
    paths.models_home().mkdir(parents=True)
    for name in ("a", "b"):
        (paths.models_home() / f"{name}.onnx").touch()
    made("a", "train")
    assert model_paths.resolve("a").name == model_paths.MODEL
    assert model_paths.resolve("b") == paths.models_home() / "b.onnx"
    assert model_paths.teacher_file("a").parent.name == "train"
    assert model_paths.teacher_file("b") == paths.models_home() / "b.onnx"
    with pytest.raises(UsageError, match="unknown model file or run 'zz'") as refused:
        model_paths.resolve("zz")
    assert "b" in refused.value.hint
