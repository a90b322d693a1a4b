"""Settings: what stands before what, and what is refused."""

from pathlib import Path

import pytest

from lungcli.core import paths, settings
from lungcli.core.errors import UsageError
from lungcli.core.settings import Resolved

FILE: dict[str, settings.Value] = {"threads": 2, "offline": True, "model": "mine"}


@pytest.mark.parametrize(
    ("environ", "file", "resolved"),
    [
        ({"LUNGCLI_THREADS": "3"}, FILE, Resolved(3, "environment")),
        ({"LUNGCLI_THREADS": ""}, FILE, Resolved(2, "file")),
        ({}, FILE, Resolved(2, "file")),
        ({}, {}, Resolved(0, "default")),
    ],
)
def test_the_environment_stands_before_the_file_and_the_default(
    environ: dict[str, str], file: dict[str, settings.Value], resolved: Resolved
) -> None:
    assert settings.resolve("threads", environ, file) == resolved


def test_no_in_the_environment_stands_before_yes_in_the_file() -> None:
    assert settings.resolve("offline", {"LUNGCLI_OFFLINE": "0"}, FILE) == Resolved(False, "environment")
    assert settings.resolve("offline", {}, FILE) == Resolved(True, "file")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("threads", "many", "threads is 'many', which is no number"),
        ("threads", "-1", "threads is -1, outside 0 to 1024"),
        ("referral", "1.5", "referral is 1.5, outside 0 to 1"),
        ("graphics", "yes", "graphics is 'yes', and can be auto, kitty, off"),
    ],
)
def test_a_wrong_value_is_refused(name: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        settings.parsed(name, text)


def test_a_wrong_variable_is_called_by_its_name() -> None:
    with pytest.raises(UsageError, match="LUNGCLI_THREADS is 'x'"):
        settings.resolve("threads", {"LUNGCLI_THREADS": "x"}, {})


@pytest.mark.parametrize(
    ("content", "message"), [("threads = ", "is no settings file"), ("thread = 2", "has an unknown setting 'thread'")]
)
def test_a_damaged_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "config.toml"
    file.write_text(content)
    with pytest.raises(UsageError, match=message):
        settings.load(file)


def test_the_file_says_where_things_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUNGCLI_HOME")
    settings.path().write_text(f'home = "{tmp_path}"\noffline = true\n')
    assert paths.home() == tmp_path
    assert paths.data_home() == tmp_path / "data"
    assert paths.is_offline()


def test_without_a_home_folder_there_is_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUNGCLI_CONFIG")
    monkeypatch.setattr("platformdirs.user_config_path", lambda *_, **__: Path("~/.config/lungcli"))
    assert settings.load(settings.path()) == {}
