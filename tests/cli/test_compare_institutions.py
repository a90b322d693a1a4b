"""Models of several hospitals: compared, and checked by the gate, where each does worst."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, call, draw_phantoms

pytestmark = pytest.mark.long

COMPRESS = ["compress", "--student", "ownmodel", "--teacher", "ownmodel", *SMALL, "--metric", "worst-institution"]
COMPARE = ["compare", "both/teacher", "both", "--by", "institution"]
LIMITS = ["--max-drop", 1, "--max-int8-drop", 1]


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a model compressed on the slices of two hospitals, every other patient in one of them."""
    home, folder = tmp_path_factory.mktemp("hospitals"), tmp_path_factory.mktemp("slices")
    draw_phantoms(home, "--slices", 90)
    for label in ("malignant", "normal"):
        for path in sorted((home / "data" / "phantom" / "slices" / label).iterdir()):
            place = folder / ("north", "south")[int(path.name[1:4]) % 2] / label
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    for name in ("north", "south"):
        call(home, "data", "import", folder / name)
    done = call(home, *COMPRESS, *LIMITS, "-d", "north", "-d", "south", "--name", "both")
    assert "worst institution and " in done.stderr
    return home


def test_models_are_compared_by_institution(hospitals: Path) -> None:
    done = call(hospitals, *COMPARE)
    head, teacher, int8 = done.stdout.splitlines()
    assert head.split() == ["model", "north", "south", "worst"]
    for line, name in ((teacher, "both/teacher"), (int8, "both/int8")):
        model, *scores, worst = line.split()
        assert model == name
        assert float(worst) == min(map(float, scores))
    report, _ = json.loads(call(hospitals, *COMPARE, "--json").stdout)["models"]
    assert {item["institution"] for item in report["institutions"]} == {"north", "south"}
    assert "--flips and --by print a table or JSON" in call(hospitals, *COMPARE, "--csv", check=2).stderr


def test_differences_may_be_at_the_worst_institution(hospitals: Path) -> None:
    command = ["compare", "both/teacher", "both", "--seconds", 0, "--metric", "worst-institution"]
    assert "differences are in worst institution, paired, to both/teacher" in call(hospitals, *command).stderr
    comparison = json.loads(call(hospitals, *command, "--json").stdout)
    teacher, int8 = (row["figures"]["estimates"]["worst_institution"]["value"] for row in comparison["rows"])
    assert comparison["metric"] == "worst_institution"
    assert comparison["rows"][1]["difference"]["value"] == pytest.approx(int8 - teacher)


def test_one_institution_has_no_worst_and_is_refused_before_training(hospitals: Path) -> None:
    done = call(hospitals, *COMPRESS, "-d", "north", check=2)
    assert "--metric worst-institution takes slices of several institutions, and 'north' has one" in done.stderr
    assert [path.name for path in (hospitals / "runs").iterdir()] == ["both"]
