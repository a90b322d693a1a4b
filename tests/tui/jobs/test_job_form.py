"""The form as values: its command is one that lungcli takes, and what is wrong is said beside the field."""

import shlex

import pytest
import typer.main
from hypothesis import given
from hypothesis import strategies as st

from lungcli.cli.app import app
from lungcli.tui.jobs import job_form

CHOICES = job_form.static_choices() | {
    "teachers": ("resnet18", "mine"),
    "data": ("phantom",),
    "models": ("mine/train",),
}
FULL = {"model": "mobilenetv2", "teacher": "resnet18", "data": "phantom"}


@pytest.mark.parametrize("kind", job_form.KINDS)
def test_the_form_has_exactly_the_options_of_the_command(kind: str) -> None:
    command = typer.main.get_command(app).commands[kind]  # type: ignore[attr-defined]
    taken = {parameter.opts[0] for parameter in command.params if parameter.name != "help"}
    offered = {field.option or "spec" for field in job_form.of_kind(kind)}
    assert offered == taken - set(job_form.LEFT_OUT.get(kind, ()))
    assert taken.issuperset(job_form.LEFT_OUT.get(kind, ()))


@pytest.mark.parametrize("kind", job_form.KINDS)
def test_the_choices_are_those_of_the_command(kind: str) -> None:
    command = typer.main.get_command(app).commands[kind]  # type: ignore[attr-defined]
    taken = {parameter.opts[0]: getattr(parameter.type, "choices", ()) for parameter in command.params}
    for field in job_form.of_kind(kind):
        if field.choice in job_form.CHOSEN and field.choice != "methods":
            assert tuple(taken[field.option]) == CHOICES[field.choice]


@pytest.mark.parametrize("kind", job_form.KINDS)
def test_the_usual_values_are_those_of_the_command(kind: str) -> None:
    command = typer.main.get_command(app).commands[kind]  # type: ignore[attr-defined]
    defaults = {parameter.opts[0]: parameter.default for parameter in command.params}
    for field in job_form.of_kind(kind):
        usual = defaults[field.option or "spec"]
        if isinstance(usual, list):
            assert ",".join(usual) == field.usual
        elif field.usual and not (kind == "quantize" and field.name == "data"):
            assert type(usual)(field.usual) == usual, field.label


def test_what_is_as_usual_is_left_out_of_the_command() -> None:
    values = FULL | {"epochs": "30", "size": "128", "name": "my run", "pretrained": "yes"}
    assert (
        job_form.command("compress", values)
        == "lungcli compress --student mobilenetv2 --size 128 --pretrained --name 'my run'"
    )
    assert job_form.command("distill", FULL) == "lungcli distill --student mobilenetv2 --teacher resnet18"
    assert job_form.command("quantize", {"source": "mine/train"}) == "lungcli quantize mine/train"


def test_several_teachers_are_as_many_options() -> None:
    assert job_form.command("distill", FULL | {"teacher": "resnet18, mine/teacher,"}).endswith(
        "--teacher resnet18 --teacher mine/teacher"
    )
    found = job_form.problems("distill", FULL | {"teacher": "resnet18, nobody"}, CHOICES)
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
        ("epochs", "0", "epochs is 0, outside 1 to 10000"),
        ("learning_rate", "1e-3", None),
        ("learning_rate", "fast", "'fast' is no number"),
        ("name", "a/b", "use up to 80 letters"),
        ("folds", "5", None),
        ("folds", "99", "folds is 99, outside 0 to 20"),
        ("fold", "1", "say how many folds there are"),
        ("fold", "-1", "outside 1 to 20"),
        ("protocol", "random", None),
        ("protocol", "mysplit", None),
        ("protocol", "no/such.json", "there is no file no/such.json"),
        ("mixup", "-1", "mixup is -1"),
    ],
)
def test_what_is_wrong_is_said_of_its_field(field: str, value: str, said: str | None) -> None:
    found = job_form.problems("compress", FULL | {field: value}, CHOICES)
    if said is None:
        assert found == {}
    else:
        assert said in found[field]
        assert list(found) == [field]


def test_a_fold_is_one_of_the_folds() -> None:
    assert job_form.problems("train", FULL | {"folds": "5", "fold": "5"}, CHOICES) == {}
    assert job_form.problems("train", FULL | {"folds": "5", "fold": "6"}, CHOICES) == {"fold": "there are 5 folds"}
    assert job_form.problems("train", FULL | {"protocol": "mysplit", "fold": "2"}, CHOICES) == {}


@pytest.mark.parametrize(("value", "said"), [("0.98", ""), ("1.1", "1.1 is outside 0 to 1"), ("x", "'x' is no number")])
def test_agreement_is_a_share(value: str, said: str) -> None:
    found = job_form.problems("quantize", {"source": "mine/train", "min_agreement": value}, CHOICES)
    assert found.get("min_agreement", "") == said


def test_without_data_the_form_says_how_to_make_some() -> None:
    found = job_form.problems("train", FULL, CHOICES | {"data": ()})
    assert found == {"data": "there is none yet: lungcli data phantom"}


@given(st.text(min_size=1, max_size=30))
def test_the_command_is_quoted_for_a_shell(name: str) -> None:
    command = job_form.command("train", FULL | {"name": name})
    assert shlex.split(command) == ["lungcli", *job_form.arguments("train", FULL | {"name": name})]
