"""Commands in processes of their own that need not import everything again, which costs each 0.3 to 8 s of CPU time.

A server imports once what commands import, and forks for each that it is sent: the copy has its own environment,
input and output, and ends as an interpreter ends. What is to be killed, signalled or looked at while it starts is
started by the installed script instead.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import select
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

LUNGCLI = Path(sys.executable).with_name("lungcli")
# Commands that export nets: the exporter then has done what takes it seconds the first time.
_EXPORTING = {"train", "distill", "compress", "search", "resume"}
# The exporter imports the last ones. Not onnxruntime: it begins a thread, which copies wait for at their end.
_IMPORTED = (
    *("lungcli.cli.app", "rich.progress", "rich.table", "PIL.Image", "pydicom", "onnx"),
    *("torchvision", "torch.export", "torch.onnx", "onnxscript"),
)

Done = subprocess.CompletedProcess[str]


def run(arguments: Sequence[object], env: Mapping[str, str], timeout: float) -> Done:
    """Run `lungcli` to its end, with nothing to read. Raises subprocess.TimeoutExpired."""
    words = [str(LUNGCLI), *map(str, arguments)]
    if hasattr(os, "fork"):
        return _server().run(words, dict(env), timeout)
    return subprocess.run(
        words, env=env, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout, check=False
    )


class _Server:
    """The server, as the tests' process sees it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._said = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        command = [sys.executable, "-c", "from tests import forked; forked.serve()"]
        # As the commands are run: a warning of the program's own is an error.
        env = os.environ | {"PYTHONWARNINGS": "error::DeprecationWarning:lungcli"}
        root = Path(__file__).parents[1]
        self._process = subprocess.Popen(
            command, env=env, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def run(self, words: list[str], env: dict[str, str], timeout: float) -> Done:
        """Have the server run one command."""
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        request = {"words": words, "env": env, "folder": str(Path.cwd()), "said": list(map(str, self._said))}
        asked.write(json.dumps(request) + "\n")
        asked.flush()
        if not select.select([answers], [], [], timeout)[0]:
            self.end()
            _server.cache_clear()
            raise subprocess.TimeoutExpired(words, timeout)
        code = json.loads(answers.readline())
        return Done(words, code, *(path.read_text(encoding="utf-8") for path in self._said))

    def end(self) -> None:
        """End the server, and what it may still be running."""
        os.killpg(self._process.pid, 9)
        self._process.communicate()
        self._folder.cleanup()


@functools.cache
def _server() -> _Server:
    server = _Server()
    atexit.register(server.end)
    return server


def serve() -> None:
    """Run commands that are asked for on stdin, one JSON object a line; answer each with its exit code."""
    from lungcli.cli import app, run_job
    from tests import exporter

    for name in _IMPORTED:
        importlib.import_module(name)
    app.program()
    # What was made is timed, which shows no more for two seconds a model.
    run_job.SECONDS = 0.1
    # What is here by now is not looked through, and so not copied, in every copy.
    gc.freeze()
    warm = False
    for line in sys.stdin:
        request = json.loads(line)
        if not warm and not _EXPORTING.isdisjoint(request["words"]):
            exporter.warm_up()
            gc.freeze()
            warm = True
        pid = os.fork()
        if not pid:
            _become(**request)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(words: list[str], env: dict[str, str], folder: str, said: list[str]) -> NoReturn:
    """Be from here on what the installed script is when it is started."""
    from lungcli.cli.app import main

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    # Where temporary files go is asked for once, and was for the server.
    tempfile.tempdir = None
    for stream, path in zip((sys.stdin, sys.stdout, sys.stderr), (os.devnull, *said), strict=True):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, stream.fileno())
        os.close(opened)
    sys.argv = words
    code: object = 1
    try:
        main()
    except SystemExit as ending:
        code = ending.code
    finally:
        if sys.exc_info()[0]:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        # To take down all that was imported would take longer than most commands.
        os._exit(code if isinstance(code, int) else int(code is not None))
