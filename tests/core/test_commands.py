"""Which options a command has."""

from typing import get_args

import msgspec
import pytest

from lungcli.core import commands
from lungcli.core.options import Group

RUN = ("train", "distill", "compress", "search")


@pytest.mark.parametrize("command", [*RUN, "quantize"])
def test_options_come_group_by_group_and_no_name_stands_for_two(command: str) -> None:
    found = commands.options(command)
    order = [get_args(Group).index(option.group) for option in found]
    names = [name for option in found for name in option.names]
    assert order == sorted(order)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("command", "lacking"),
    [
        ("compress", set()),
        ("distill", {"max_drop", "max_int8_drop", "metric", "prune", "qat_epochs"}),
        ("search", {"max_drop", "max_int8_drop", "metric", "prune", "qat_epochs", "folds", "fold", "start"}),
        (
            "train",
            {"max_drop", "max_int8_drop", "metric", "prune", "qat_epochs", "teacher", "method", "alpha", "temperature"},
        ),
    ],
)
def test_a_command_lacks_what_it_does_not_do(command: str, lacking: set[str]) -> None:
    every = {option.field for option in commands.options("compress")}
    assert {option.field for option in commands.options(command)} == every - lacking


def test_a_distilled_net_is_called_a_student_and_both_must_be_named() -> None:
    names = {command: {option.field: option.names for option in commands.options(command)} for command in RUN}
    assert {command: found["model"] for command, found in names.items()} == {
        "train": ("--model", "-m"),
        **dict.fromkeys(RUN[1:], ("--student", "-s")),
    }
    needed = {
        command: [option.field for option in commands.options(command) if option.default is msgspec.NODEFAULT]
        for command in (*RUN, "quantize")
    }
    assert needed == {
        "train": ["model"],
        "distill": ["model", "teacher"],
        "compress": [],
        "search": [],
        "quantize": ["source"],
    }
