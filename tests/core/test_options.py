"""Declarations of settings: what is said once is filled in, and checked."""

from typing import Annotated, Literal

import msgspec
import pytest

from lungcli.core.options import Option, declared


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    nets: Annotated[str | tuple[str, ...], Option("Net", "Nets", many=True, default=("a", "b"))] = ""
    slices_at_once: Annotated[int, Option("Schedule", "Slices", 2, 10_000)] = 32
    rate: Annotated[float, Option("Schedule", "Rate", 1e-7, 10, names=("--learning-rate", "--lr"))] = 1e-3
    form: Annotated[Literal["int8", "float16"], Option("Output", "Form", names=("--to",))] = "int8"
    fast: Annotated[bool, Option("Hardware", "Fast")] = False
    source: Annotated[str, Option("Net", "File", argument=True)]
    undeclared: int = 3


OPTIONS = declared(Settings)


def test_what_the_field_says_is_filled_in() -> None:
    assert list(OPTIONS) == ["nets", "slices_at_once", "rate", "form", "fast", "source"]
    assert [option.names for option in OPTIONS.values()] == [
        ("--nets",),
        ("--slices-at-once",),
        ("--learning-rate", "--lr"),
        ("--to",),
        ("--fast",),
        (),
    ]
    assert [option.label for option in OPTIONS.values()] == [
        *("Nets", "Slices at once", "Learning rate", "To", "Fast", "Source"),
    ]
    assert [option.default_text for option in OPTIONS.values()] == ["a, b", "32", "0.001", "int8", "", ""]
    assert [option.kind for option in OPTIONS.values()][1:3] == [int, float]
    assert OPTIONS["form"].values == ("int8", "float16")
    assert OPTIONS["source"].default is msgspec.NODEFAULT


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("slices_at_once", 1, "is 1, outside 2 to 10000"),
        ("slices_at_once", 2, ""),
        ("slices_at_once", 10_000, ""),
        ("slices_at_once", 10_001, "is 10001, outside 2 to 10000"),
        ("rate", 0.0, "is 0.0, outside 1e-07 to 10"),
        ("rate", float("nan"), "is nan, outside 1e-07 to 10"),
        ("rate", "fast", ""),
        ("source", 7, ""),
    ],
)
def test_a_number_out_of_range_is_told(field: str, value: object, problem: str) -> None:
    assert OPTIONS[field].problem(value) == problem
