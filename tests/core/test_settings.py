"""Forbidding the network by a variable."""

import pytest

from lungcli.core import settings


@pytest.mark.parametrize(("said", "meant"), [("1", True), ("yes", True), ("0", False), (" No ", False), ("", False)])
def test_what_a_user_may_set_it_to(monkeypatch: pytest.MonkeyPatch, said: str, meant: bool) -> None:
    monkeypatch.setenv("LUNGCLI_OFFLINE", said)
    assert settings.forbidden() is meant


def test_the_network_is_allowed_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LUNGCLI_OFFLINE", raising=False)
    assert not settings.forbidden()
