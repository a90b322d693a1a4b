"""`lungcli data` as typed."""

import json
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.cli.conftest import SMALL, Done, call


def test_phantoms_say_that_they_are_synthetic(workshop: Path) -> None:
    shown = call(workshop, "data", "show", "phantom").stdout
    assert "SYNTHETIC" in shown
    facts = json.loads(call(workshop, "data", "show", "phantom", "--json").stdout)
    assert facts["schema_version"] == 1
    assert facts["source"]["synthetic"] is True
    assert facts["slices"] == 72
    assert set(facts["classes"]) == {"benign", "malignant", "normal"}
    assert facts["rejected"] == []
    assert "phantom" in call(workshop, "data", "list").stdout
    assert json.loads(call(workshop, "data", "list", "--json").stdout)["data"] == [
        {key: value for key, value in facts.items() if key not in ("schema_version", "disclaimer")}
    ]


def test_the_audit_shows_leakage_under_both_protocols(workshop: Path) -> None:
    leak = json.loads(call(workshop, "data", "check", "phantom", "--json").stdout)["nearest_neighbour"]
    assert leak["random_accuracy"] > leak["grouped_accuracy"] + 0.2
    assert "memory of the same bodies" in call(workshop, "data", "check", "phantom").stdout


def test_import_lists_rejected_files(home: Path, workshop: Path, tmp_path: Path) -> None:
    source = tmp_path / "Größe [1] set"
    shutil.copytree(workshop / "data" / "phantom" / "slices", source)
    (source / "normal" / "notes.txt").write_text("hello")
    (source / "normal" / "broken.png").write_bytes(next((source / "normal").glob("*.png")).read_bytes()[:3000])
    (source / "benign" / "empty.png").write_bytes(b"")
    done = call(home, "data", "import", source, "--name", "Größe [1]")
    assert "3 files rejected" in done.stdout
    facts = json.loads(call(home, "data", "show", "größe [1]", "--json").stdout)
    assert {item["path"] for item in facts["rejected"]} == {
        "normal/notes.txt",
        "normal/broken.png",
        "benign/empty.png",
    }
    assert facts["slices"] == 72
    assert facts["source"]["synthetic"] is False


def test_the_published_layout_alone_makes_no_published_set(home: Path, workshop: Path, tmp_path: Path) -> None:
    archive = tmp_path / "set.zip"
    folders = {"benign": "Bengin cases", "malignant": "Malignant cases", "normal": "Normal cases"}
    with zipfile.ZipFile(archive, "w") as file:
        for label, folder in folders.items():
            for path in (workshop / "data" / "phantom" / "slices" / label).iterdir():
                file.write(path, f"The set/{folder}/{path.name}")
    call(home, "data", "import", archive)
    facts = json.loads(call(home, "data", "show", "set", "--json").stdout)
    assert set(facts["classes"]) == set(folders)
    assert facts["source"]["licence"] == "unknown"
    assert facts["published"] == 0


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        ("missing", 4, "No such file"),
        ("one folder", 2, "not named after a class"),
        ("empty folder", 4, "cannot import"),
        ("no zip.zip", 4, "zip"),
        ("evil.zip", 4, ".."),
    ],
)
def test_unusable_sources_are_refused_with_a_reason(
    home: Path, workshop: Path, tmp_path: Path, name: str, code: int, says: str
) -> None:
    source = tmp_path / name
    normal = workshop / "data" / "phantom" / "slices" / "normal"
    if name == "one folder":
        shutil.copytree(normal, source / "some")
    elif name == "empty folder":
        source.mkdir()
    elif name == "no zip.zip":
        source.write_text("this is no zip")
    elif name == "evil.zip":
        with zipfile.ZipFile(source, "w") as file:
            file.writestr("../normal/a.png", next(normal.iterdir()).read_bytes())
    done = call(home, "data", "import", source, check=code)
    assert done.stderr.count("error: ") == 1
    assert says in done.stderr
    assert done.stdout == ""
    assert call(home, "data", "list", "--json").stdout.count('"digest"') == 0
    assert {path.name for path in (home / "data").glob("*")} <= {".locks"}


def test_a_class_with_one_group_cannot_be_split(home: Path, workshop: Path, tmp_path: Path) -> None:
    source = tmp_path / "set"
    shutil.copytree(workshop / "data" / "phantom" / "slices", source)
    benign = sorted((source / "benign").iterdir())
    for path in benign[1:]:
        path.unlink()
    call(home, "data", "import", source, "--name", "lonely")
    done = call(home, "train", "--model", "ownmodel", "--data", "lonely", check=2)
    assert "the class 'benign' has 1 near-duplicate group" in done.stderr


def test_a_taken_name_is_refused_and_removal_asks(own_workshop: Path) -> None:
    assert "there is a data set 'phantom' already" in call(own_workshop, "data", "phantom", check=2).stderr
    written = (own_workshop / "data" / "phantom" / "manifest.json").stat().st_mtime_ns
    call(own_workshop, "data", "phantom", "--slices", 72)
    assert (own_workshop / "data" / "phantom" / "manifest.json").stat().st_mtime_ns == written
    call(own_workshop, "data", "remove", "phantom", check=1)
    call(own_workshop, "data", "remove", "phantom", "--yes")
    assert "there are no data sets yet" in call(own_workshop, "data", "list").stderr


def test_too_few_phantoms_are_refused(home: Path) -> None:
    assert "error: " in call(home, "data", "phantom", "--slices", 5, check=2).stderr


def test_combining_renames_classes_and_counts_institutions(home: Path, workshop: Path, tmp_path: Path) -> None:
    slices = workshop / "data" / "phantom" / "slices"
    for name, label in (("north", "malignant"), ("south", "normal")):
        shutil.copytree(slices / label, tmp_path / name / label)
        imported = call(home, "data", "import", tmp_path / name)
        assert f"combine it with others: lungcli data combine '{name}'" in imported.stderr

    done = call(home, "data", "combine", "north", "south", "--map", "normal=tumour-free", "--name", "both")

    counts = {label: len(list((slices / label).iterdir())) for label in ("malignant", "normal")}
    assert [line.split()[:2] for line in done.stdout.splitlines() if line.startswith(("north", "south"))] == [
        ["north", str(counts["malignant"])],
        ["south", str(counts["normal"])],
    ]
    assert "institutions with one class only: north (malignant), south (tumour-free)" in done.stderr
    facts = json.loads(call(home, "data", "show", "both", "--json").stdout)
    assert facts["classes"] == {"malignant": counts["malignant"], "tumour-free": counts["normal"]}
    assert [item["name"] for item in facts["institutions"]] == ["north", "south"]


@pytest.fixture(scope="module")
def two_sets(made: tuple[Path, Done], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the data sets `north` and `south`, for reading."""
    home = tmp_path_factory.mktemp("two sets")
    for name in ("north", "south"):
        call(home, "data", "import", made[0] / "data" / "phantom" / "slices", "--name", name)
    return home


@pytest.mark.parametrize(
    ("renamings", "says"),
    [
        (["lesion=malignant"], "unknown class 'lesion'"),
        (["normal"], "--map 'normal' does not rename a class"),
        (["normal=clear", "Normal=benign"], "--map renames the class 'Normal' to 'clear' and to 'benign'"),
    ],
)
def test_a_bad_renaming_is_one_line(two_sets: Path, renamings: list[str], says: str) -> None:
    maps = [word for renaming in renamings for word in ("--map", renaming)]
    done = call(two_sets, "data", "combine", "north", "south", *maps, "--name", "both", check=2)

    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_split_of_its_own_is_kept_and_used(home: Path, workshop: Path, tmp_path: Path) -> None:
    slices = workshop / "data" / "phantom" / "slices"
    for label in ("malignant", "normal"):
        for number, path in enumerate(sorted((slices / label).iterdir())):
            folder = tmp_path / "set" / ("train", "val", "test")[number % 3] / label
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder)

    imported = call(home, "data", "import", tmp_path / "set")

    assert "its own split is kept" in imported.stderr
    assert "to use it: --split given" in imported.stderr
    assert "a given split leaks" in imported.stderr
    call(home, "data", "verify", "set")
    done = call(home, "train", "--model", "ownmodel", *SMALL, "--epochs", "1", "--split", "given")
    assert "the given split with seed 0" in done.stderr
    assert "a given split leaks" in done.stderr


def test_data_left_out_is_the_only_data_set_or_an_error_that_lists_them(home: Path, two_sets: Path) -> None:
    assert "there is none on this machine yet" in call(home, "train", "--model", "ownmodel", check=2).stderr
    done = call(two_sets, "train", "--model", "ownmodel", check=2)
    assert "no data set is named with --data, and there are several: north, south" in done.stderr


def test_the_catalog_says_how_to_get_each_published_set(home: Path) -> None:
    rows = json.loads(call(home, "data", "list", "--published", "--json").stdout)["published"]
    assert {row["name"] for row in rows} >= {"iqothnccd", "lidc-idri", "luna16", "qin-lung-ct", "covid-ctset"}
    assert all(row["licence"] and row["citation"] and row["get"] for row in rows)
    text = call(home, "data", "list", "--published").stdout
    assert "lungcli data download iqothnccd" in text
    assert "idc download qin_lung_ct --download-dir DIR" in text


def test_a_set_that_is_to_be_got_by_hand_says_how_and_is_imported_with_its_licence(
    home: Path, workshop: Path, tmp_path: Path
) -> None:
    refused = call(home, "data", "download", "qin-lung-ct", check=7)
    assert "lungcli does not download qin-lung-ct itself" in refused.stderr
    assert "then: lungcli data download qin-lung-ct --from-dir DIR" in refused.stderr
    slices = workshop / "data" / "phantom" / "slices"
    table = ["path,label,patient"]
    for label in ("malignant", "normal"):
        for path in sorted((slices / label).iterdir())[:6]:
            (tmp_path / "pack").mkdir(exist_ok=True)
            shutil.copy(path, tmp_path / "pack")
            table.append(f"{path.name},{label},QIN-{path.name[:4]}")
    (tmp_path / "pack" / "labels.csv").write_text("\n".join(table))

    call(home, "data", "download", "qin-lung-ct", "--from-dir", tmp_path / "pack")

    facts = json.loads(call(home, "data", "show", "qin-lung-ct", "--json").stdout)
    assert facts["source"]["licence"] == "CC BY 3.0"
    assert "Goldgof" in facts["source"]["citation"]
    assert facts["patients"] > 0
    call(home, "data", "verify", "qin-lung-ct")
