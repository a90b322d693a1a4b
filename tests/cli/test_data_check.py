"""`lungcli data check` and `lungcli data show --sheet` as typed."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from lungcli.cli import data_check
from lungcli.datasets import manifest
from lungcli.datasets.audit import audit, features
from lungcli.datasets.phantom import dataset
from lungcli.imaging import picture
from tests.cli.conftest import call, draw_phantoms


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with phantoms and nothing else, for reading."""
    home = tmp_path_factory.mktemp("phantoms")
    draw_phantoms(home, "--slices", 72)
    return home


def copied(home: Path, into: Path) -> Path:
    """A copy of a home, to change at will."""
    return Path(shutil.copytree(home, into / "home"))


def test_the_keys_of_the_audit_json_stay(phantoms: Path) -> None:
    document = json.loads(call(phantoms, "data", "check", "phantom", "--json").stdout)

    assert set(document) == {
        "schema_version",
        "disclaimer",
        "name",
        "digest",
        "slices",
        "groups",
        "classes",
        "nearest_neighbour",
        "groupings",
        "shortcuts",
        "institutions",
        "copies",
        "conflicts",
        "findings",
    }
    assert set(document["findings"][0]) == {"id", "severity", "title", "detail", "examples"}
    assert set(document["shortcuts"][3]) == {"name", "about", "of_file", "before", "after", "oddity"}
    assert set(document["shortcuts"][3]["before"]) == {"balanced_accuracy", "chance", "chance_high", "p"}
    assert document["slices"] == 72
    assert {item["severity"] for item in document["findings"]} <= {"error", "warning", "note"}


def test_the_audit_is_printed_on_stdout(phantoms: Path) -> None:
    done = call(phantoms, "data", "check", "phantom")

    assert done.stdout.startswith("1-nearest-neighbour on 64×64 grey thumbnails, nothing learned\n")
    for part in ("benign", "as imported", "border grey", "  as prepared", "findings: 0 errors", "[leak.memory]"):
        assert part in done.stdout
    assert "--html audit.html" in done.stderr


def test_page_and_sheets_are_written(phantoms: Path, tmp_path: Path) -> None:
    done = call(
        phantoms, "data", "check", "phantom", "--html", tmp_path / "ü.html", "--png", tmp_path / "new" / "sheets"
    )

    assert (tmp_path / "ü.html").read_text().endswith("</html>\n")
    drawn = sorted((tmp_path / "new" / "sheets").iterdir())
    assert [path.name for path in drawn] == ["look-alikes-01.png", "look-alikes-02.png"]
    for path in drawn:
        with Image.open(path) as sheet:
            assert sheet.format == "PNG"
    assert done.stderr.count("written: ") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "ü.html"]


def test_strict_exits_with_1_only_for_errors(phantoms: Path, tmp_path: Path) -> None:
    home = copied(phantoms, tmp_path)
    call(home, "data", "check", "phantom", "--strict")
    victim = sorted((home / "data" / "phantom" / "slices" / "normal").iterdir())[0]
    victim.write_bytes(victim.read_bytes()[:2000])

    done = call(home, "data", "check", "phantom", "--strict", check=1)

    assert "error    1 slice can no longer be read  [files.unreadable]" in done.stdout
    assert f"slices/normal/{victim.name}: it is damaged or cut off" in done.stdout
    assert done.stderr.endswith("error: phantom has 1 error: files.unreadable\n")


def test_a_page_that_cannot_be_written_is_an_error(phantoms: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")

    done = call(phantoms, "data", "check", "phantom", "--html", tmp_path / "file" / "a.html", check=1)

    assert "choose another path with --html FILE" in done.stderr
    assert (tmp_path / "file").read_text() == "mine"


def test_an_audit_without_readable_slices_is_an_error(phantoms: Path, tmp_path: Path) -> None:
    home = copied(phantoms, tmp_path)
    for path in (home / "data" / "phantom" / "slices").rglob("*.png"):
        path.write_bytes(b"")

    assert "no slice of the data set 'phantom' can be read" in call(home, "data", "check", "phantom", check=4).stderr


def test_an_unknown_data_set_suggests_the_nearest(phantoms: Path) -> None:
    assert "did you mean 'phantom'?" in call(phantoms, "data", "check", "phantomm", check=2).stderr


def test_a_sheet_shows_prepared_slices(phantoms: Path, tmp_path: Path) -> None:
    done = call(phantoms, "data", "show", "phantom", "--sheet", tmp_path / "sheet.png")

    assert "SYNTHETIC" in done.stdout
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.height > 6 * 128
    assert (
        json.loads(call(phantoms, "data", "show", "phantom", "--sheet", tmp_path / "b.png", "--json").stdout)["slices"]
        == 72
    )
    assert (tmp_path / "b.png").is_file()


def test_an_interrupted_series_of_sheets_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset_ = dataset.make_dataset(30, side=64)
    found = audit.audit(dataset_, features.dataset_features(dataset_, manifest.folder(dataset_.name), 64))
    drawn: list[bytes] = []

    def interrupted(image: Image.Image) -> bytes:
        drawn.append(b"")
        raise KeyboardInterrupt

    monkeypatch.setattr(picture, "encoded", interrupted)

    with pytest.raises(KeyboardInterrupt):
        data_check._write_sheets(tmp_path / "sheets", found, dataset_)

    assert drawn
    assert list(tmp_path.iterdir()) == []
