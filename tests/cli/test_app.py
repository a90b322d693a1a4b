"""The command as such: help, version, completion, exit codes, errors a person can read."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer

import lungcli
from lungcli.cli import app, console
from lungcli.core import errors
from tests.cli.conftest import LUNGCLI, RUN, call, environment


def test_the_script_and_the_module_print_the_version() -> None:
    for start in ([LUNGCLI], [sys.executable, "-m", "lungcli"]):
        done = subprocess.run([*start, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout == f"lungcli {lungcli.__version__}\n"


def test_help_begins_with_examples(home: Path) -> None:
    text = call(home, "--help").stdout
    assert text.index("Examples:") < text.index("Predict:") < text.index("Options:")
    assert "lungcli compress --student mobilenetv2" in text
    for command in (
        "train",
        "distill",
        "quantize",
        "compress",
        "compare",
        "evaluate",
        "calibrate",
        "benchmark",
        "predict",
    ):
        assert f"\n  {command} " in text


@pytest.mark.parametrize("encoding", ["cp1252", "iso8859-1", "ascii", "cp932"])
def test_every_encoding_of_stdout_will_do(home: Path, tmp_path: Path, encoding: str) -> None:
    scan = tmp_path / "scän → 肺.png"
    scan.write_bytes(b"no picture")
    settings = environment(home) | {"PYTHONIOENCODING": encoding}

    def printed(*arguments: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run([LUNGCLI, *map(str, arguments)], env=settings, capture_output=True, check=False)

    card = printed("models", "card", "bundled")
    assert (card.returncode, card.stderr) == (0, b"")
    assert json.loads(card.stdout.decode(encoding))["referral"]["target"] == "relative risk ≤ 0.5"
    assert printed("--help").returncode == 0
    assert printed("models", "list").returncode == 0
    unread = printed("predict", "--jsonl", scan)
    assert unread.returncode == 4
    assert b"it is not a picture" in unread.stderr
    assert json.loads(unread.stdout.decode(encoding))["source"] == str(scan)


def test_signs_that_an_encoding_lacks_are_written_in_ascii() -> None:
    console.prepare_streams()
    assert "█▌░ a – b … 12 ≤ 13 肺é".encode("ascii", "lungcli") == b"##. a - b ... 12 <= 13 ??"


@pytest.mark.skipif(sys.platform == "win32", reason="the shell there cannot close a stream")
@pytest.mark.parametrize(("closed", "left"), [(">&-", "stderr"), ("2>&-", "stdout"), ("<&- >&- 2>&-", "")])
def test_a_closed_stream_is_no_crash(home: Path, closed: str, left: str) -> None:
    command = f"{shlex.quote(str(LUNGCLI))} models list {closed}"
    done = subprocess.run(["sh", "-c", command], env=environment(home), capture_output=True, text=True, check=False)
    assert done.returncode == 0
    if left == "stderr":
        assert done.stderr == "warning: stdout is closed: what would be printed there is lost\n"
    if left == "stdout":
        assert "ownmodel" in done.stdout


def test_completion_of_commands(home: Path) -> None:
    settings = environment(home) | {
        "_LUNGCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": "lungcli comp",
        "COMP_CWORD": "1",
    }
    done = subprocess.run([LUNGCLI], env=settings, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["compress", "compare"] or set(done.stdout.split()) == {"compare", "compress"}


def test_every_error_has_its_exit_code() -> None:
    kinds = [kind for kind, _ in app.EXIT_CODES]
    for name in dir(errors):
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, errors.LungcliError):
            assert kind in kinds
    for earlier, kind in enumerate(kinds):
        assert not any(issubclass(later, kind) for later in kinds[earlier + 1 :]), "a subclass would be shadowed"


def test_an_error_is_one_line_and_a_hint_without_traceback(home: Path) -> None:
    done = call(home, "train", "--model", "resnet19", "--data", "none", check=2)
    assert done.stdout == ""
    assert done.stderr.splitlines()[0].startswith("error: unknown data set 'none'")
    assert "lungcli data phantom" in done.stderr
    assert "Traceback" not in done.stderr


def test_debug_shows_where_an_error_came_from(home: Path) -> None:
    done = call(home, "--debug", "data", "show", "none", check=1)
    assert "Traceback" in done.stderr


@pytest.mark.long
def test_a_broken_pipe_is_silent(workshop: Path) -> None:
    command = f"'{LUNGCLI}' models list | head -1"
    done = subprocess.run(
        ["bash", "-c", command], env=environment(workshop), capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("net")
    assert "Traceback" not in done.stderr


def test_quiet_keeps_data_and_errors_only(workshop: Path, slices: list[Path]) -> None:
    assert call(workshop, "--quiet", "predict", "--model", RUN, slices[0], "--json").stderr.startswith("warning:")
    assert "Research software" in call(workshop, "predict", "--model", RUN, slices[0], "--json").stderr


def test_control_characters_of_foreign_names_are_made_visible(home: Path, tmp_path: Path) -> None:
    nasty = tmp_path / "scan\x1b[31m[bold]red.png"
    nasty.write_bytes(b"no picture")
    done = call(home, "data", "import", nasty, check=4)
    assert "\x1b" not in done.stderr
    assert "[bold]red.png" in done.stderr


@pytest.mark.skipif(os.name == "nt", reason="limits of file size are POSIX")
def test_a_full_disk_is_one_clear_line_and_loses_nothing(workshop: Path, tmp_path: Path) -> None:
    """A limit on file size makes every large write fail half way, as a full disk does."""
    output = tmp_path / "small.onnx"
    limited = f"ulimit -f 100; exec '{LUNGCLI}' quantize compress-ownmodel-phantom/student -o '{output}'"
    # A coverage measurement of the child would meet the limit too, and speak of it on stderr.
    settings = {key: value for key, value in environment(workshop).items() if not key.startswith("COV")}
    done = subprocess.run(["bash", "-c", limited], env=settings, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-2].startswith("error: ")
    assert "File too large" in done.stderr
    assert list(tmp_path.glob("*.onnx")) == []


def test_no_place_to_write_is_one_clear_line(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    done = call(blocked, "data", "phantom", "--slices", 60, check=1)
    assert done.stderr.splitlines()[-2].startswith("error: cannot write")


@pytest.mark.parametrize(
    ("words", "only"),
    [
        ([], ""),
        (["predict", "scan.png"], "predict"),
        (["-q", "--no-color", "data", "list"], "data"),
        (["--help", "predict"], ""),
        (["--version"], ""),
        (["help", "predict"], ""),
        (["predct"], ""),
    ],
)
def test_the_command_that_is_called_is_known_before_any_is_imported(words: list[str], only: str) -> None:
    assert app._called(words) == only


def test_every_option_before_a_command_is_known() -> None:
    """But for those that are answered at once, without a command."""
    for option in typer.main.get_command(app.program()).params:
        for name in option.opts:
            is_answered = option.is_eager or not option.expose_value
            assert app._called([name, "predict"]) == ("" if is_answered else "predict"), name


def test_what_is_not_called_is_not_imported(home: Path) -> None:
    code = "from lungcli.cli.app import main\ntry:\n    main()\nfinally:\n    import sys\n    print(*sys.modules)\n"
    done = subprocess.run([sys.executable, "-c", code, "config", "list"], env=environment(home), capture_output=True)
    loaded = {name for name in done.stdout.decode().split() if name.startswith("lungcli.cli.")}
    assert "lungcli.cli.config" in loaded
    assert loaded.isdisjoint({f"lungcli.cli.{name}" for name in ("predict", "train", "search", "data", "help_topics")})


def test_every_command_stands_alone() -> None:
    every = vars(typer.main.get_command(app.program()))["commands"]
    for name, command in every.items():
        alone = vars(typer.main.get_command(app.program(name)))["commands"]
        assert list(alone) == [name]
        assert alone[name].help == command.help
        assert list(getattr(alone[name], "commands", ())) == list(getattr(command, "commands", ()))
