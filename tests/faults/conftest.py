"""A home with phantoms and one finished training, made once through the installed command."""

import shutil
from pathlib import Path

import pytest

from tests.datasets.servers import served
from tests.faults.commands import TINY, Call, finished

__all__ = ["served"]

RUN = "made"


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("faults")
    finished(Call(home=home, arguments=("data", "phantom", "--slices", 36)))
    train = ("train", "--model", "ownmodel", "--name", RUN, *TINY)
    finished(Call(home=home, arguments=train))
    return home


@pytest.fixture
def made(_made: Path, tmp_path: Path) -> Path:
    """A copy of that home, to harm at will."""
    shutil.copytree(_made, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def phantoms(_made: Path, tmp_path: Path) -> Path:
    """A home with phantoms only, and what is known of nets."""
    home = tmp_path / "phantoms"
    for name in ("data", "exportable"):
        shutil.copytree(_made / name, home / name)
    return home


@pytest.fixture
def slices(_made: Path) -> Path:
    """A folder of 36 pictures."""
    return _made / "data" / "phantom" / "slices"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep these tests on one worker: what they time must not be slowed down by themselves."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.xdist_group("faults"))
