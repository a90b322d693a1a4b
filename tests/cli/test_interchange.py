"""What other programs read: a run's epochs as CSV or for TensorBoard, a card for the Hugging Face Hub."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from lungcli.cli.app import program
from lungcli.core import runs
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.modelfile import model_file
from tests.cli.conftest import SMALL, call
from tests.export.test_curves import epoch, record, scalars
from tests.modelfile import graphs


@pytest.fixture
def run(home: Path) -> runs.Run:
    made = runs.create("mine", "train", Recipe(data="phantom", model="resnet18"))
    record(made, epoch("train", 1, 0.5), epoch("train", 2, 0.25))
    return made


def called(*arguments: object) -> str:
    done = CliRunner().invoke(program(), [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def test_epochs_go_to_stdout_or_to_a_file(run: runs.Run, tmp_path: Path) -> None:
    shown = called("runs", "export", "mine")
    assert [line.split(",")[:1] for line in shown.splitlines()] == [["run"], ["mine"], ["mine"]]
    called("runs", "export", "mine", "--to", "csv", "--output", tmp_path / "epochs.csv")
    assert (tmp_path / "epochs.csv").read_text() == shown


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--to", "tensorboard"], "need a folder"),
        (["--output", "taken.csv"], "exists already"),
        (["--output", "."], "exists already"),
        (["--output", ".", "--overwrite"], "is a folder"),
    ],
)
def test_what_cannot_be_written_is_refused(
    run: runs.Run, arguments: list[str], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "taken.csv").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=reason):
        called("runs", "export", "mine", *arguments)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("taken.csv", "mine")]


def test_a_run_goes_to_tensorboard(run: runs.Run, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    done = CliRunner().invoke(program(), ["runs", "export", "mine", "--to", "tensorboard", "--output", str(tmp_path)])
    assert done.stderr.splitlines() == [
        f"written: {tmp_path / 'mine'}, the curves of train",
        f"next: tensorboard --logdir '{tmp_path}'",
    ]
    assert scalars(tmp_path / "mine" / "train")["loss/training"] == [(1, 0.5), (2, 0.25)]
    runs.create("other", "train", Recipe(data="phantom", model="resnet18"))
    done = CliRunner().invoke(program(), ["runs", "export", "other", "--to", "tensorboard", "--output", str(tmp_path)])
    assert "the run 'other' has no epochs yet" in done.stderr


def test_the_card_of_a_model_is_a_page_of_the_hub(home: Path, tmp_path: Path) -> None:
    model_file.write(graphs.convolutional(tmp_path / "g.onnx"), graphs.card(), tmp_path / "m.onnx")
    page = called("models", "card", tmp_path / "m.onnx", "--format", "hf")
    assert page.startswith('---\npipeline_tag: "image-classification"\n')


@pytest.mark.long
def test_training_keeps_a_log_for_tensorboard(home: Path, tmp_path: Path) -> None:
    """Beside what the run itself keeps, so that it is there from the first epoch on."""
    pytest.importorskip("tensorboard", reason="needs the extra `tensorboard`")
    call(home, "data", "phantom", "--slices", 60)
    call(home, "train", "--model", "ownmodel", *SMALL, "--name", "logged", "--log-to", tmp_path / "logs")
    curves = scalars(tmp_path / "logs" / "logged" / "train")
    assert [step for step, _ in curves["loss/training"]] == [1, 2]


def test_a_log_that_cannot_be_kept_is_refused_before_training(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lungcli.cli import execution

    monkeypatch.setitem(__import__("sys").modules, "tensorboard.compat.proto", None)
    run = runs.create("mine", "train", Recipe(data="phantom", model="resnet18"))
    with pytest.raises(UsageError, match="the extra `tensorboard`"):
        execution.execute(run, log_to=tmp_path / "logs")
    assert runs.load("mine").info.state == "new"
