"""`lungcli data download`, `verify`, `path` and `remove` as typed, against sources on loopback."""

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lungcli.cli.app import program
from lungcli.core import registry
from lungcli.core.errors import LungcliError
from tests.cli.conftest import LUNGCLI, call, environment
from tests.datasets import published
from tests.datasets.servers import Answer, Served, served
from tests.imaging.pictures import png, write, zipped

__all__ = ["served"]

BY_HAND = (
    "by hand: open https://doi.org/10.17632/bhmdr45bh2.4 in a browser, download the .zip file, "
    "then: lungcli data download iqothnccd --from-zip FILE"
)
DIRECT = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}


@pytest.fixture
def little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> registry.DataSet:
    """A published set of five files that the catalog knows."""
    row = published.row(tmp_path)
    monkeypatch.setitem(registry.DATA_SETS, row.name, row)
    return row


def test_one_command_downloads_verifies_and_imports(
    little: registry.DataSet, served: Served, home: Path, tmp_path: Path
) -> None:
    archive = zipped(tmp_path / "set.zip", published.files() | {"Test cases/1.png": png(60)}).read_bytes()
    url = served.give(Answer(body=archive))

    done = CliRunner().invoke(program(), ["data", "download", "little", "--url", url])

    assert done.exit_code == 0
    assert "complete: all 5 published files" in done.stdout
    assert "Test cases/1.png: not in a class folder" in done.stdout
    for line in ("licence  CC BY 4.0", "DOI      10.1234/little", "cite     Nobody (2020)"):
        assert line in done.stderr
    assert "Cite as: Nobody (2020)" in (home / "data" / "little" / "SOURCE.txt").read_text()

    (home / "data" / ".little.download").mkdir()
    (home / "data" / ".little.download" / "x.zip").write_bytes(archive)
    again = CliRunner().invoke(program(), ["data", "download", "Little", "--offline", "--json"])
    assert again.exit_code == 0
    assert not (home / "data" / ".little.download").exists()
    assert "the data set 'little' exists already: checking it" in again.stderr
    facts = json.loads(again.stdout)
    assert (facts["whole"], facts["known"], facts["published"]) == (True, 5, 5)
    assert len(served.asked) == 1


def test_an_incomplete_local_copy_is_imported_and_called_incomplete(little: registry.DataSet, tmp_path: Path) -> None:
    part = {name: content for name, content in published.files().items() if "(10)" not in name}
    source = write(tmp_path / "mine", part)

    done = CliRunner().invoke(program(), ["data", "download", "little", "--from-dir", str(source)])
    assert done.exit_code == 0
    assert "incomplete: 4 of the 5 published files" in done.stdout

    again = CliRunner().invoke(program(), ["data", "download", "little"])
    assert again.exit_code == 0
    assert "lungcli data remove little" in again.stderr


def test_damaged_files_are_named(little: registry.DataSet, home: Path, tmp_path: Path) -> None:
    archive = zipped(tmp_path / "set.zip", published.files())
    CliRunner().invoke(program(), ["data", "download", "little", "--from-zip", str(archive)])
    assert CliRunner().invoke(program(), ["data", "verify", "little"]).exit_code == 0
    (home / "data" / "little" / "slices" / "normal" / "Normal case (1).png").write_bytes(b"x")
    (home / "data" / "little" / "slices" / "normal" / "Normal case (2).png").unlink()

    done = CliRunner().invoke(program(), ["data", "verify", "little"])

    assert done.stdout.splitlines()[:2] == [
        "damaged: slices/normal/Normal case (1).png",
        "missing: slices/normal/Normal case (2).png",
    ]
    assert isinstance(done.exception, LungcliError)
    assert done.exception.message == "the data set 'little' has changed since it was created: 1 damaged, 1 missing"
    assert "lungcli data download little" in done.exception.hint
    assert isinstance(CliRunner().invoke(program(), ["data", "download", "little"]).exception, LungcliError)


def test_verify_and_path_work_for_imported_data(workshop: Path) -> None:
    folder = call(workshop, "data", "path", "phantom").stdout.strip()
    assert Path(folder) == workshop / "data" / "phantom"
    assert json.loads(call(workshop, "data", "verify", "phantom", "--json").stdout)["whole"] is True
    assert call(workshop, "data", "verify", "phantom").stdout == "phantom: 72 slices are unchanged since the import\n"


def test_a_damaged_download_exits_with_1(own_workshop: Path) -> None:
    next((own_workshop / "data" / "phantom" / "slices" / "normal").iterdir()).write_bytes(b"x")
    done = call(own_workshop, "data", "verify", "phantom", check=1)
    assert "1 damaged" in done.stderr
    (own_workshop / "data" / "phantom" / "manifest.json").write_text("{")
    assert "lungcli data remove 'phantom'" in call(own_workshop, "data", "verify", "phantom", check=4).stderr
    call(own_workshop, "data", "remove", "phantom", "--yes")


@pytest.mark.parametrize("how", ["option", "environment"])
def test_offline_never_uses_the_network(home: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    extra = {"LUNGCLI_OFFLINE": "1"} if how == "environment" else {}
    done = subprocess.run(
        [LUNGCLI, "data", "download", "iqothnccd", *(["--offline"] if how == "option" else [])],
        env=environment(home) | extra,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 7
    assert BY_HAND in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (Answer(status=403), "it answers 403 Forbidden"),
        (Answer(body=b"<html>Log in</html>"), "a web page (for logging in?) instead of a .zip file"),
        (Answer(body=b"PK\x03\x04 and no more"), "not a whole .zip file"),
    ],
)
def test_failing_mirrors_are_listed(
    home: Path, served: Served, monkeypatch: pytest.MonkeyPatch, answer: Answer, why: str
) -> None:
    url = served.give(answer)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    done = call(home, "data", "download", "iqothnccd", "--url", url, check=7)
    assert f"error: no source of iqothnccd works: {url}: " in done.stderr
    assert why in done.stderr
    assert BY_HAND in done.stderr
    assert done.stdout == ""


def test_phantoms_are_no_published_set(home: Path, workshop: Path, tmp_path: Path) -> None:
    names = {"Bengin cases": "benign", "Normal cases": "normal"}
    files = {
        f"{folder}/{path.name}": path.read_bytes()
        for folder, label in names.items()
        for path in sorted((workshop / "data" / "phantom" / "slices" / label).iterdir())[:3]
    }
    archive = zipped(tmp_path / "a.zip", files)
    done = call(home, "data", "download", "iqothnccd", "--from-zip", archive, check=7)
    assert "none of its files is one of the 1,097 published files of iqothnccd" in done.stderr
    fake = {name.replace(name.rpartition("/")[2], "Bengin case (1).jpg"): content for name, content in files.items()}
    done = call(home, "data", "import", zipped(tmp_path / "b.zip", fake), check=7)
    assert "are not as iqothnccd was published: Bengin cases/Bengin case (1).jpg" in done.stderr
    assert "--name OTHER" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["iqothncd"], 2, "did you mean 'iqothnccd'?"),
        (["iqothnccd", "--from-zip", "a", "--url", "http://127.0.0.1:1"], 2, "exclude each other"),
        (["iqothnccd", "--url", "set.zip"], 2, "no http or https address"),
        (["iqothnccd", "--from-zip", "nowhere.zip"], 4, "No such file"),
    ],
)
def test_contradictory_options_are_refused(home: Path, arguments: list[str], code: int, says: str) -> None:
    done = call(home, "data", "download", *arguments, check=code)
    assert says in done.stderr
    assert not (home / "data" / "iqothnccd").exists()


def test_interrupt_keeps_what_arrived_and_remove_clears_it(home: Path, served: Served) -> None:
    # A tenth of it, and no more for as long as anybody waits.
    url = served.give(Answer(body=b"PK\x03\x04" + bytes(20_000_000), stuck=2_000_000))
    with subprocess.Popen(
        [LUNGCLI, "data", "download", "iqothnccd", "--url", url],
        env=environment(home) | DIRECT,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        part = home / "data" / ".iqothnccd.download"
        deadline = time.monotonic() + 30
        while not any(path.stat().st_size for path in part.glob("*.part")) and time.monotonic() < deadline:
            time.sleep(0.02)
        running.send_signal(signal.SIGINT)
        output = running.stderr.read() if running.stderr else ""
    assert running.returncode == 130
    assert "MB have arrived and are kept" in output
    assert list(part.glob("*.part"))
    assert "unfinished download" in call(home, "data", "remove", "iqothnccd").stderr
    assert not part.exists()


def test_a_table_gives_classes_and_patients(home: Path, workshop: Path, tmp_path: Path) -> None:
    slices = workshop / "data" / "phantom" / "slices"
    rows = [
        f"{path.relative_to(slices).as_posix()},{label},patient {i // 3}"
        for label in ("malignant", "normal")
        for i, path in enumerate(sorted((slices / label).iterdir())[:9])
    ]
    table = tmp_path / "slices.csv"
    table.write_text("\n".join(["path,label,patient", *rows]))
    done = call(home, "data", "import", slices, "--labels", table, "--name", "lidc", "--json")
    facts = json.loads(done.stdout)
    assert facts["classes"] == {"malignant": 9, "normal": 9}
    assert all(item["reason"] == "not in the table" for item in facts["rejected"])
    table.write_text("path,label,patient\nnormal/../../x.png,normal,p")
    done = call(home, "data", "import", slices, "--labels", table, "--name", "bad", check=4)
    assert "slices.csv, line 2: the path 'normal/../../x.png' leads outside" in done.stderr
