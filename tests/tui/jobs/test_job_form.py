"""The form as values: its command is one that lungcli takes, and what is wrong is said beside the field."""

import shlex

import msgspec
import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from lungcli.cli.app import program
from lungcli.core import recipe, registry
from lungcli.tui.jobs import job_form

LEFT_OUT = {
    "compress": {"--recipe", "--from", "--final", "--devices", "--notify", "--log-to"},
    "train": {"--devices", "--notify", "--log-to"},
    "distill": {"--devices", "--notify", "--log-to"},
}
KNOWN = {
    "nets": tuple(registry.NETS),
    "teachers": ("resnet18", "mine"),
    "data": ("phantom",),
    "models": ("mine/train",),
}
FULL = {"model": "mobilenetv2", "teacher": "resnet18", "data": "phantom"}


@pytest.mark.parametrize("kind", job_form.KINDS)
def test_the_form_has_exactly_the_options_of_the_command(kind: str) -> None:
    command = typer.main.get_command(program()).commands[kind]  # type: ignore[attr-defined]
    taken = {parameter.opts[0] for parameter in command.params if parameter.name != "help"}
    offered = {field.names[0] if field.names else field.field for field in job_form.of_kind(kind)}
    assert offered == taken - LEFT_OUT.get(kind, set())
    assert taken.issuperset(LEFT_OUT.get(kind, set()))


@pytest.mark.parametrize("kind", job_form.KINDS)
def test_values_and_defaults_are_those_of_the_command(kind: str) -> None:
    command = typer.main.get_command(program()).commands[kind]  # type: ignore[attr-defined]
    taken = {parameter.name: parameter for parameter in command.params}
    for field in job_form.of_kind(kind):
        option = taken[field.field]
        assert tuple(getattr(option.type, "choices", field.values)) == field.values
        assert option.required == (field.default is msgspec.NODEFAULT)
        if isinstance(option.default, list):
            assert ", ".join(option.default) == field.default_text
        elif field.default_text:
            assert type(option.default)(field.default_text) == option.default, field.label


def test_every_setting_of_a_recipe_can_be_made_in_the_form_of_a_compression() -> None:
    in_files_alone = {"split", "final", "augment"} | {
        name for name, option in recipe.OPTIONS.items() if not option.group
    }
    offered = {field.field for field in job_form.of_kind("compress")} - {"name"}
    assert offered == {field.name for field in msgspec.structs.fields(recipe.Recipe)} - in_files_alone
    usual = {"resize", "weight_decay", "warmup", "ema", "label_smoothing", "freeze_norm", "stem_rate"}
    assert in_files_alone == {"split", "final", "augment", "mixstyle", "patches"} | usual


def test_a_field_says_its_range() -> None:
    shown = {field.field: job_form.about(field) for field in job_form.of_kind("compress")}
    assert shown["batch"] == "Batch size in slices (2 to 4096)"
    assert shown["seed"] == "Seed of weights, batches and augmentation"


def test_what_is_as_usual_is_left_out_of_the_command() -> None:
    values = FULL | {"epochs": "30", "size": "128", "name": "my run", "pretrained": "yes"}
    assert (
        job_form.command("compress", values)
        == "lungcli compress --data phantom --student mobilenetv2 --size 128 --pretrained --name 'my run'"
    )
    assert (
        job_form.command("distill", FULL) == "lungcli distill --data phantom --student mobilenetv2 --teacher resnet18"
    )
    assert job_form.command("quantize", {"source": "mine/train"}) == "lungcli quantize mine/train"


def test_several_teachers_are_as_many_options() -> None:
    assert job_form.command("distill", FULL | {"teacher": "resnet18, mine/teacher,"}).endswith(
        "--teacher resnet18 --teacher mine/teacher"
    )
    found = job_form.problems("distill", FULL | {"teacher": "resnet18, nobody"}, KNOWN)
    assert "unknown; known: mine, resnet18" in found["teacher"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("model", "", "needed"),
        ("model", "mobilenetv9", "did you mean 'mobilenetv2'?"),
        ("teacher", "nobody", "unknown; known: mine, resnet18"),
        ("teacher", "mine/teacher", None),
        ("model", "MobileNet_V2", None),
        ("data", "elsewhere", "known: phantom"),
        ("epochs", "many", "'many' is no whole number"),
        ("epochs", "0", "is 0, outside 1 to 10000"),
        ("learning_rate", "1e-3", None),
        ("learning_rate", "fast", "'fast' is no number"),
        ("name", "a/b", "use up to 80 letters"),
        ("folds", "5", None),
        ("folds", "99", "is 99, outside 0 to 20"),
        ("fold", "1", "say how many folds there are"),
        ("fold", "-1", "is -1, outside 0 to 20"),
        ("protocol", "random", None),
        ("protocol", "mysplit", None),
        ("protocol", "no/such.json", "there is no file no/such.json"),
        ("mixup", "-1", "is -1.0, outside 0 to 10"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(field: str, value: str, said: str | None) -> None:
    found = job_form.problems("compress", FULL | {field: value}, KNOWN)
    if said is None:
        assert found == {}
    else:
        assert said in found[field]
        assert list(found) == [field]


def test_a_fold_is_one_of_the_folds() -> None:
    assert job_form.problems("train", FULL | {"folds": "5", "fold": "5"}, KNOWN) == {}
    assert job_form.problems("train", FULL | {"folds": "5", "fold": "6"}, KNOWN) == {"fold": "there are 5 folds"}
    assert job_form.problems("train", FULL | {"protocol": "mysplit", "fold": "2"}, KNOWN) == {}


@pytest.mark.parametrize(
    ("value", "said"), [("0.98", ""), ("1.1", "is 1.1, outside 0 to 1"), ("x", "'x' is no number")]
)
def test_agreement_is_a_share(value: str, said: str) -> None:
    found = job_form.problems("quantize", {"source": "mine/train", "min_agreement": value}, KNOWN)
    assert found.get("min_agreement", "") == said


def test_without_data_the_form_says_how_to_make_some() -> None:
    found = job_form.problems("train", FULL, KNOWN | {"data": ()})
    assert found == {"data": "there is none yet: lungcli data phantom"}


@given(st.text(min_size=1, max_size=30))
def test_the_command_is_quoted_for_a_shell(name: str) -> None:
    command = job_form.command("train", FULL | {"name": name})
    assert shlex.split(command) == ["lungcli", *job_form.arguments("train", FULL | {"name": name})]
