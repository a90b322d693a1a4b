"""A small phantom data set, drawn once for all tests of this folder."""

import shutil
from pathlib import Path

import pytest

from lungcli.datasets.phantom import dataset
from tests import exporter

exporter.build_operators_once()


@pytest.fixture(scope="session")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the data sets of a home that has the phantom alone; tests must not change it: see `phantom`."""
    folder = tmp_path_factory.mktemp("drawn")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGCLI_HOME", str(folder))
        dataset.make_dataset(slices=45, side=64)
    return folder / "data"


@pytest.fixture
def phantom(drawn: Path, home: Path) -> None:
    """Give the test's home the data set `phantom` of 45 slices of 64 pixels."""
    shutil.copytree(drawn, home / "data")
