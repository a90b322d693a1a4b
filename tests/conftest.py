"""Every test runs in a home of its own, with no settings of the machine it runs on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from lungcli.core import package_data, settings

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

# Workers that each spin a thread a core wait for one another ten times longer than they compute.
os.environ["OMP_NUM_THREADS"] = "1"
# Some tests start the runtime themselves, before anything of the program does.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def pytest_make_parametrize_id(val: object) -> str | None:
    """Name files and long texts by their kind: some hold a date or a random uid, and workers must name a test alike."""
    return type(val).__name__ if isinstance(val, bytes | str) and len(val) > 100 else None


@pytest.fixture(scope="session", autouse=True)
def _heard() -> Iterator[None]:
    """Have the commands that tests start hear all signals, where `nohup` or a shell's `&` has this process ignore some.

    What is ignored is inherited, what is handled is not.
    """
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    ignored = [number for number in numbers if signal.getsignal(number) is signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, lambda *_: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture(scope="session", autouse=True)
def _home_of_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Cut fixtures that several tests share off, which are made before `home`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGCLI_HOME", str(tmp_path_factory.mktemp("home of all")))
        yield


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Cut the test off from the user's data, runs and settings."""
    folder = tmp_path_factory.mktemp("home")
    for name in (*(setting.variable for setting in settings.SETTINGS.values()), "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LUNGCLI_HOME", str(folder))
    monkeypatch.setenv("LUNGCLI_CONFIG", str(folder / "config.toml"))
    monkeypatch.setenv("COLUMNS", "120")
    # A list of all models is then that of the test's own; the bundled one has tests of its own.
    monkeypatch.setattr(package_data, "MODEL", folder / "no bundled model")
    return folder
