"""`lungcli serve` as typed, as far as it goes without the page itself."""

import contextlib
import importlib.util
import json
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lungcli.cli import serve
from lungcli.core import paths
from lungcli.core.errors import LungcliError, UsageError
from tests.cli.conftest import LUNGCLI, call, environment
from tests.modelfile import graphs
from tests.web.test_app import free_port

NEEDS_WEB = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason="the extra `web` (gradio) is not installed"
)


def test_a_file_that_is_no_model_is_refused(home: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("no net")
    done = call(home, "serve", "--model", tmp_path / "m.onnx", check=3)
    assert "is not an ONNX file" in done.stderr


def test_help_says_that_nothing_leaves_the_machine(home: Path) -> None:
    shown = " ".join(call(home, "serve", "--help").stdout.split())
    assert "Nothing leaves this machine" in shown
    assert "[default 127.0.0.1]" in shown


def test_the_page_does_not_tell_where_a_model_lies(tmp_path: Path) -> None:
    path = graphs.model_file(tmp_path / "mine.onnx")
    assert serve._models(str(path)) == {"mine": path}


@contextlib.contextmanager
def serving(
    home: Path, folder: Path, *options: str, debug: bool = False
) -> "Iterator[tuple[subprocess.Popen[str], str, str]]":
    """The page of a tiny model in `folder` once it answers: its process, where it is, and what was said until then."""
    port, model = free_port(), graphs.model_file(folder / "m.onnx")
    arguments: list[str | Path] = [
        LUNGCLI,
        *["--debug"] * debug,
        "serve",
        "--model",
        model,
        "--port",
        str(port),
        *options,
    ]
    settings = environment(home) | {"TMPDIR": str(folder)}
    with subprocess.Popen(arguments, env=settings, stderr=subprocess.PIPE, text=True) as served:
        assert served.stderr is not None
        output = ""
        while "serving at" not in output:
            line = served.stderr.readline()
            assert line, output
            output += line
        yield served, f"http://127.0.0.1:{port}", output


@NEEDS_WEB
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_server_stops_on_signals_and_leaves_no_upload(ending: signal.Signals, home: Path, tmp_path: Path) -> None:
    with serving(home, tmp_path, "--host", "0.0.0.0") as (served, _, told):
        assert list(tmp_path.glob("lungcli-scratch-uploads-*"))
        served.send_signal(ending)
        assert served.stderr is not None
        told += served.stderr.read()
    assert served.returncode == 0
    assert "warning: 0.0.0.0 is open to other machines" in told
    assert "--auth FILE" in told
    assert "stopped; all uploads are deleted" in told
    assert not list(tmp_path.glob("lungcli-scratch-uploads-*"))


@NEEDS_WEB
@pytest.mark.parametrize("debug", [False, True], ids=["quiet", "debug"])
def test_visitors_cannot_write_on_the_terminal(debug: bool, home: Path, tmp_path: Path) -> None:
    """The page's libraries tell of a broken request in a traceback, with the visitor's words in it."""
    with serving(home, tmp_path, debug=debug) as (served, page, told):
        config = json.loads(answer(f"{page}/config"))
        number = next(row["id"] for row in config["dependencies"] if [each[1] for each in row["targets"]] == ["upload"])
        file = {"path": "/\x1b]0;mine\x07", "meta": {"_type": "gradio.FileData"}}
        call = {"data": [[file], "m"], "fn_index": number, "session_hash": "s"}
        answer(f"{page}/gradio_api/queue/join", json.dumps(call).encode())
        assert b'"success":false' in answer(f"{page}/gradio_api/queue/data?session_hash=s").replace(b" ", b"")
        served.terminate()
        assert served.stderr is not None
        told += served.stderr.read()
    assert "\x1b" not in told
    assert ("Traceback" in told) == ("\\x1b]0" in told) == debug
    assert told.splitlines()[-1] == "stopped; all uploads are deleted"


def answer(address: str, body: bytes | None = None) -> bytes:
    """What the page answers, asked without any proxy."""
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=120) as told:
        content: bytes = told.read()
    return content


def test_accounts_are_lines_of_name_and_password(tmp_path: Path) -> None:
    file = tmp_path / "accounts"
    file.write_text("ada:secret\n\ngrace:with:colon\n")
    assert serve._accounts(file) == (("ada", "secret"), ("grace", "with:colon"))


@pytest.mark.parametrize("content", ["", "ada\n", ":secret\n", "ada:\n"])
def test_accounts_of_another_form_are_refused(content: str, tmp_path: Path) -> None:
    file = tmp_path / "accounts"
    file.write_text(content)
    with pytest.raises(UsageError, match="not NAME:PASSWORD"):
        serve._accounts(file)
    with pytest.raises(LungcliError, match="cannot read"):
        serve._accounts(paths.home() / "none")
