"""Paths as they are pasted, folders as they are leafed through, verdicts as they are read."""

import dataclasses
from pathlib import Path

import pytest

from lungcli.core import bundled, models
from lungcli.core.errors import ModelFileError, UnreadableInputError
from lungcli.inference import modelfile
from lungcli.inference.predict import Failure, Prediction, Refusal
from lungcli.tui import looking
from tests.inference import graphs
from tests.tui import fakes, stage

FOUND = Prediction(
    source="a.png",
    label="malignant",
    probabilities={"benign": 0.1, "malignant": 0.7, "normal": 0.2},
    model="tiny",
    seconds=0.0123,
    synthetic=False,
    referred=False,
    reason="",
    guard=0.0,
    forced=False,
)


def test_a_dropped_path_is_understood_in_every_terminals_way(tmp_path: Path) -> None:
    path = tmp_path / "a [1] b.png"
    path.touch()
    escaped = str(path).replace(" ", "\\ ").replace("[", "\\[").replace("]", "\\]")
    for text in (str(path), f"'{path}'", f'"{path}"', escaped, path.as_uri(), f" {path} \n"):
        assert looking.pasted(text) == path
    assert looking.pasted("  \n") is None
    assert looking.pasted("it's") == Path("it's")


def test_a_folder_from_its_first_and_a_file_from_itself(tmp_path: Path) -> None:
    for name in ("s10.png", "s9.png", "notes.txt"):
        stage.picture(tmp_path / name) if name.endswith("png") else (tmp_path / name).touch()
    assert looking.leaf(tmp_path) == ([tmp_path / "s9.png", tmp_path / "s10.png"], 0)
    assert looking.leaf(tmp_path / "s10.png")[1] == 1
    assert looking.leaf(tmp_path / "notes.txt") == ([tmp_path / "notes.txt"], 0)


def test_nothing_there_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="there are no pictures in"):
        looking.leaf(tmp_path)
    with pytest.raises(UnreadableInputError, match="there is no file or folder"):
        looking.leaf(tmp_path / "x")


def test_the_bundled_model_judges_else_that_of_the_newest_finished_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ModelFileError, match="there is no model on this machine yet"):
        looking.usual_model()
    stage.run("older")
    newer = stage.run("newer")
    unfinished = fakes.run("unfinished", end="running")
    folder = unfinished.stage("train")
    folder.mkdir(parents=True, exist_ok=True)
    graphs.model_file(folder / models.MODEL)
    assert looking.usual_model() == newer.stage("int8") / models.MODEL
    monkeypatch.setattr(bundled, "MODEL", graphs.model_file(tmp_path / "default.onnx"))
    assert looking.usual_model() == tmp_path / "default.onnx"


def test_a_look_is_picture_and_verdict(tmp_path: Path) -> None:
    model = modelfile.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    seen = looking.look(stage.picture(tmp_path / "a.png"), model)
    assert seen.pixels is not None
    assert seen.pixels.shape == (48, 48)
    assert isinstance(seen.found, Prediction)
    assert looking.look(tmp_path / "a.png", None).found is None
    (tmp_path / "b.png").write_bytes(b"no")
    assert isinstance(looking.look(tmp_path / "b.png", model).found, Failure)


def test_a_verdict_in_words() -> None:
    lines = looking.verdict(FOUND, "run/int8", 40).plain.splitlines()
    assert lines[0] == "malignant  70.0%"
    assert [line.split()[0] for line in lines[1:4]] == ["malignant", "normal", "benign"]
    assert max(map(len, lines[1:4])) <= 40
    assert lines[4] == "run/int8 · 12 ms"
    assert "not a medical" in lines[5]


def test_doubts_are_shown_where_a_prediction_has_some() -> None:
    doubtful = dataclasses.replace(FOUND, referred=True, reason="too close to call", guard=1.4)
    text = looking.verdict(doubtful, "m", 40).plain
    assert "→ radiologist" in text
    assert "! too close to call" in text
    assert looking.cells(doubtful)[0].plain == "malignant →"
    assert "acquisition 1.4 of the limit" in text
    assert "acquisition" not in looking.verdict(FOUND, "m", 40).plain


def test_a_refusal_says_why() -> None:
    refusal = Refusal(source="a", reason="a colour picture", score=3.0)
    assert looking.verdict(refusal, "m", 40).plain.splitlines()[1] == "a colour picture"
    assert looking.cells(refusal)[0].plain == "refused"


def test_phantoms_are_said_to_be_phantoms() -> None:
    assert "phantoms" in looking.verdict(dataclasses.replace(FOUND, synthetic=True), "m", 40).plain


def test_a_failure_says_why_and_what_to_do() -> None:
    failure = Failure(source="a", reason="cannot read a: it is empty", hint="copy it again")
    assert looking.verdict(failure, "m", 40).plain.splitlines()[1:] == ["cannot read a: it is empty", "copy it again"]
    assert looking.cells(failure)[0].plain == "unreadable"
    assert looking.verdict(None, "m", 40).plain == ""


def test_completions(tmp_path: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / ".hidden").mkdir()
    assert looking.completions(f"{tmp_path}/sc") == f"{tmp_path}/scans/"
    assert looking.completions(f"{tmp_path}/") == f"{tmp_path}/scans/"
    assert looking.completions(f"{tmp_path}/x") is None
    assert looking.completions("/no/such/place/") is None
    assert looking.completions("") is None
