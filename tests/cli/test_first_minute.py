"""What a newcomer meets first: the welcome, the demo, the doctor, the settings."""

import json
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from lungcli.cli import doctor, welcome
from lungcli.core import package_data, settings
from lungcli.core.errors import LungcliError
from tests.cli.conftest import RUN, call, environment


def test_lungcli_alone_says_what_is_here_in_ten_lines(home: Path, workshop: Path) -> None:
    empty, full = (call(folder).stdout.splitlines() for folder in (home, workshop))
    assert len(empty) == len(full) == 10
    assert empty[3:5] == ["data sets  none yet", "runs       none yet"]
    assert "phantom" in full[3]
    assert RUN in full[4]
    assert [line.split()[1] for line in empty[6:]] == ["demo", "predict", "data", "--help"]
    assert "lungcli compare" in full[8]


def test_many_names_are_counted() -> None:
    assert welcome._listed(["a", "b", "c", "d", "e"]) == "c, d, e, and 2 more"


def test_the_demo_predicts_a_real_slice_of_each_class(home: Path) -> None:
    assert list(package_data.slices()) == ["benign", "malignant", "normal"]
    done = call(home, "demo")
    assert all(str(path) in done.stdout for path in package_data.slices().values())
    assert "doi 10.17632/bhmdr45bh2.4, CC BY 4.0" in done.stderr
    assert done.stderr.count("not a medical device") == 1
    assert done.stdout.count("heat-map") + done.stdout.count("activation") >= 3


def test_the_doctor_finds_a_whole_installation_right(home: Path) -> None:
    done = call(home, "doctor")
    for subject in ("python", "processor", "memory", "home", "torch", "extras", "runtime", "terminal", "network"):
        assert f"\n{subject} " in f"\n{done.stdout}"
    assert f"{home}, " in done.stdout
    found = {item["subject"]: item for item in json.loads(call(home, "doctor", "--json").stdout)["findings"]}
    assert found["runtime"]["state"] == "ok"
    assert "layers on integers" in found["runtime"]["value"]


def test_the_doctor_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The tests' own home has no bundled model."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(LungcliError, match="something is wrong with: runtime"):
        doctor.doctor()
    shown = capsys.readouterr()
    assert "runtime: install it again, or name another model" in shown.err
    assert "little space is left; choose another: lungcli config set home FOLDER" in shown.err


def test_the_doctor_names_the_extras_that_a_user_may_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    optional = declared["project"]["optional-dependencies"]
    for_tests_or_empty = {"dicom-codecs", "sweep-postgresql", "browser", "s3", "dev"}
    assert set(doctor.EXTRAS) == set(optional) - for_tests_or_empty
    for extra, package in doctor.EXTRAS.items():
        assert any(re.split("[<>=[]", requirement)[0] == package for requirement in optional[extra])
    monkeypatch.setattr(doctor, "_version", lambda name: "1" if name == "gradio" else "")
    (finding,) = doctor._extras()
    assert finding.value.startswith("web (not here: pretrained, sweep, ")
    monkeypatch.setattr(doctor, "_version", lambda _: "1")
    assert "not here" not in next(doctor._extras()).value


@pytest.mark.parametrize(("has_gpu", "state"), [(True, "ok"), (False, "note")])
def test_a_torch_larger_than_needed_is_noted(has_gpu: bool, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "2.9" if name in ("torch", "nvidia-cublas") else "")
    monkeypatch.setattr(Path, "exists", lambda _: has_gpu)
    (found,) = doctor._torch()
    assert found.state == state
    monkeypatch.setattr(doctor, "_version", lambda _: "")
    assert next(doctor._torch()).state == "wrong"


def test_settings_are_written_shown_with_their_source_and_removed(home: Path) -> None:
    call(home, "config", "set", "Threads", 3)
    call(home, "config", "set", "model", "mine")
    rows = json.loads(call(home, "config", "list", "--json").stdout)["settings"]
    assert list(rows) == list(settings.SETTINGS)
    assert rows["threads"] == {"value": 3, "source": "file"}
    assert rows["home"] == {"value": str(home), "source": "environment"}
    assert rows["offline"] == {"value": False, "source": "default"}
    done = call(home, "config", "get", "model")
    assert (done.stdout, done.stderr) == ("mine\n", "from: file\n")
    call(home, "config", "unset", "model")
    assert call(home, "config", "get", "model").stdout == "bundled\n"
    assert "threads = 3" in (home / "config.toml").read_text()


def test_an_unknown_setting_and_a_wrong_value_change_nothing(home: Path) -> None:
    assert "did you mean 'threads'?" in call(home, "config", "set", "thread", 3, check=2).stderr
    assert "outside 0 to 1024" in call(home, "config", "set", "threads", 5000, check=2).stderr
    assert not (home / "config.toml").exists()


def test_a_variable_that_stands_before_the_file_is_said(home: Path) -> None:
    assert "LUNGCLI_HOME stands before the file" in call(home, "config", "set", "home", "/elsewhere").stderr


def test_the_settings_are_those_of_predict(workshop: Path, slices: list[Path], own_workshop: Path) -> None:
    """The user's threshold refers what the model's own would not, and the user's model is the one that predicts."""
    assert environment(own_workshop)["LUNGCLI_CONFIG"] == str(own_workshop / "config.toml")
    call(own_workshop, "config", "set", "model", RUN)
    call(own_workshop, "config", "set", "referral", 1)
    document = json.loads(call(own_workshop, "predict", "--json", slices[0]).stdout)
    assert f"{RUN}/int8" in json.dumps(document)
    (predicted,) = document["predictions"]
    assert predicted["referred"]
    assert "is below 100.0%" in predicted["reason"]
