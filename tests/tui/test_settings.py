"""What the dashboard remembers."""

from pathlib import Path

import msgspec

from lungcli.tui import settings
from lungcli.tui.settings import Settings


def test_settings_are_remembered() -> None:
    assert settings.load() == Settings()
    changes = {"theme": "lungcli-light", "smoothing": 3, "log": True, "pinned": "one", "query": "bacc>0.5"}
    assert settings.keep(**changes) == ""
    assert msgspec.structs.asdict(settings.load()) == msgspec.structs.asdict(Settings()) | changes


def test_settings_that_cannot_be_read_or_written_are_no_reason_to_fail(home: Path) -> None:
    settings.path().write_bytes(b"{broken")
    assert settings.load() == Settings()
    settings.path().unlink()
    settings.path().mkdir()
    assert "cannot write" in settings.keep(log=True)
    assert [path.name for path in home.iterdir()] == ["dashboard.json"]


def test_what_one_view_keeps_another_does_not_undo() -> None:
    assert settings.keep(theme="lungcli-light") == ""
    assert settings.keep(columns=("model", "size")) == ""
    assert settings.load() == Settings(theme="lungcli-light", columns=("model", "size"))
