"""Names people type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lungcli.core import names
from lungcli.core.errors import UsageError

KNOWN = {"mobilenetv2": 1, "resnet18": 2, "mobilenetv3-small": 3}


@pytest.mark.parametrize("typed", ["MobileNetV2", "mobilenet_v2", "mobilenet-v2", "Mobile Net V2", "mobilenetv2"])
def test_spellings_are_forgiven(typed: str) -> None:
    assert names.find(typed, KNOWN, "model") == 1


def test_unknown_name_suggests_the_nearest_and_lists_all() -> None:
    with pytest.raises(UsageError) as caught:
        names.find("mobilnetv2", KNOWN, "model", "see the list")
    assert caught.value.message == "unknown model 'mobilnetv2'"
    assert "did you mean 'mobilenetv2'?" in caught.value.hint
    assert "known: mobilenetv2, mobilenetv3-small, resnet18" in caught.value.hint
    assert caught.value.hint.endswith("see the list")


def test_only_what_is_offered_is_suggested_but_all_is_found() -> None:
    with pytest.raises(UsageError) as caught:
        names.find("mobilnetv2", KNOWN, "model", offered=lambda: ["resnet18"])
    assert caught.value.hint == "known: resnet18"
    assert names.find("mobilenetv2", KNOWN, "model", offered=lambda: ["resnet18"]) == 1


def test_nothing_near_suggests_nothing() -> None:
    assert "did you mean" not in names.suggestion("xyz", KNOWN)


@pytest.mark.parametrize("name", ["phantom", "my data (2)", "Lunge ä", "肺 CT", "a[b]", "v1.2_x+y"])
def test_folder_names_people_use(name: str) -> None:
    assert names.checked(name, "run") == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "-x", ".hidden", "a\nb", "a\x1b[0m", "x" * 81, "dot.", "sp "]
)
def test_names_that_cannot_be_folders(name: str) -> None:
    with pytest.raises(UsageError):
        names.checked(name, "run")


@given(st.text(max_size=20))
def test_accepted_names_stay_in_their_folder(name: str) -> None:
    try:
        accepted = names.checked(name, "run")
    except UsageError:
        return
    assert "/" not in accepted
    assert "\\" not in accepted
    assert not accepted.startswith(".")


def test_natural_order() -> None:
    assert sorted(["a10", "a9", "A1", "b", "a"], key=names.natural) == ["a", "A1", "a9", "a10", "b"]
    assert sorted(["a010b2", "a10b1", "a00", f"a{'9' * 5_000}", "a9"], key=names.natural) == [
        "a00",
        "a9",
        "a10b1",
        "a010b2",
        f"a{'9' * 5_000}",
    ]
