"""The registry of nets, methods and data sets."""

import re
import subprocess
import sys

import pytest

from lungcli.core import package_data, registry
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError

NAMES = [
    "alexnet",
    "resnet18",
    "resnet50",
    "resnet101",
    "resnet152",
    "mobilenetv2",
    "shufflenetv2",
    "googlenet",
    "densenet121",
    "resnext50",
    "wideresnet50",
    "ownmodel",
    "mobilenetv3-small",
    "mobilenetv3-large",
    "efficientnet-b0",
]


@pytest.mark.parametrize("name", NAMES)
def test_known_nets(name: str) -> None:
    assert registry.net(name).name == name
    assert registry.net(name.upper().replace("-", "_")).name == name


def test_unknown_net() -> None:
    with pytest.raises(UsageError, match="unknown model 'resnet19'"):
        registry.net("resnet19")


@pytest.mark.parametrize("name", registry.DATA_SETS)
def test_a_published_data_set_says_whose_it_is_and_how_to_get_its_classes(name: str) -> None:
    row = registry.data_set(name.upper())
    assert (row.name, row.page.startswith("https://")) == (name, True)
    assert all((row.about, row.licence, row.citation, row.institutions))
    assert bool(row.mirrors) != bool(row.by_hand)
    if row.mirrors:
        assert row.size > 0
        assert sorted(row.classes) == sorted(dict(row.counts)) == sorted({label for _, label in row.folders})
        # Folders are compared in lower case, and known ones by their whole names.
        assert all(pattern == pattern.lower() and re.compile(pattern) for pattern, _ in row.folders)
    if row.distinctive_folder:
        assert any(re.fullmatch(pattern, row.distinctive_folder) for pattern, _ in row.folders)
    if row.hashes:
        assert (package_data.FOLDER / row.hashes).is_file()


def test_a_data_set_is_known_by_name() -> None:
    published = {"iqothnccd", "chest-ctscan", "lidc-idri", "luna16", "qin-lung-ct", "covid-ctset"}
    assert published <= registry.DATA_SETS.keys()
    assert registry.data_set("Chest_CTscan").slices == 1000
    with pytest.raises(UsageError, match="unknown published data set 'luna'") as caught:
        registry.data_set("luna")
    assert "lungcli data import PATH" in caught.value.hint


@pytest.mark.parametrize("name", ["kd", "dkd", "dist", "patient", "kd-mean", "attention"])
def test_known_methods(name: str) -> None:
    row = registry.method(name.upper())
    assert row.name == name
    assert row.about
    assert row.paper
    settled = recipes.make(data="d", model="m", method=name)
    assert {field: getattr(settled, field) for field in row.preset} == row.preset


def test_a_former_name_means_the_method_and_is_not_listed() -> None:
    assert registry.method("Seed").name == "kd-mean"
    assert "seed" not in registry.METHODS


def test_unknown_method() -> None:
    with pytest.raises(UsageError, match="unknown method 'dkt'") as caught:
        registry.method("dkt")
    assert "did you mean 'dkd'?" in caught.value.hint


def test_listing_names_imports_nothing_heavy() -> None:
    code = "import sys, lungcli.core.registry as c; list(c.NETS); print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
