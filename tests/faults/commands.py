"""The installed command in processes of their own: started, killed, signalled, cut off, and looked at afterwards."""

import contextlib
import hashlib
import json
import os
import random
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import psutil
from safetensors import safe_open

from lungcli.core import runs
from lungcli.core.events import BatchDone, EpochDone, Event
from lungcli.modelfile import model_file
from tests import forked
from tests.cli.conftest import LUNGCLI, environment

PATIENCE = 240.0
TINY = ("--size", 64, "--epochs", 2, "--batch", 8, "--precision", "float32", "--device", "cpu", "--threads", 1)

Begun = Callable[[], bool]


@dataclass(frozen=True, kw_only=True)
class Call:
    """A command line, its home, and what further stands in its environment."""

    home: Path
    arguments: tuple[object, ...]
    extra: tuple[tuple[str, str], ...] = ()

    def env(self) -> dict[str, str]:
        direct = {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
        return environment(self.home) | direct | dict(self.extra)

    def words(self) -> list[str]:
        return [str(LUNGCLI), *map(str, self.arguments)]


@contextlib.contextmanager
def started(call: Call, **options: object) -> "Iterator[subprocess.Popen[bytes]]":
    """Start the command in a session of its own; whatever of it is left at the end is killed."""
    settings: dict[str, object] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(call.words(), env=call.env(), start_new_session=True, **settings | options)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.communicate()


def wait_until(begun: Begun, process: "subprocess.Popen[bytes]") -> None:
    """Wait for `begun`, or for the end of the process."""
    end = time.monotonic() + PATIENCE
    while not begun() and process.poll() is None:
        assert time.monotonic() < end, "it did not begin"
        time.sleep(0.002)


def kill(call: Call, begun: Begun, within: float, rng: random.Random) -> bool:
    """Kill the command at a moment of the `within` seconds after it has begun; False when it was faster."""
    with started(call) as process:
        wait_until(begun, process)
        end = time.monotonic() + rng.uniform(0, within)
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.001)
        ended = process.poll()
        if ended is None:
            process.kill()
            process.wait()
            return True
        output, errors = process.communicate()
        assert ended == 0, f"exit {ended}\n{output.decode()}\n{errors.decode()}"
        return False


def finished(call: Call, code: int = 0) -> tuple[str, str]:
    """Run the command to its end: stdout and stderr."""
    done = forked.run(call.arguments, call.env(), PATIENCE)
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def kin(process: "subprocess.Popen[bytes]") -> list[psutil.Process]:
    """Every process that this one has started."""
    try:
        return list(psutil.Process(process.pid).children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def names_in(home: Path, folder: str) -> set[str]:
    """What lies in a folder of the home, hidden things too."""
    return {item.name for item in (home / folder).iterdir()} if (home / folder).is_dir() else set()


def require_whole(home: Path) -> None:
    """Every file under its final name is whole; every data set that is shown is complete."""
    for path in sorted(home.rglob("*")):
        inside = path.relative_to(home).parts
        if path.is_file() and not any(part.startswith(".") for part in inside):
            _require_whole_file(path)
    for folder in (home / "data").glob("[!.]*"):
        manifest = json.loads((folder / "manifest.json").read_bytes())
        for item in manifest["slices"]:
            assert hashlib.sha256((folder / item["path"]).read_bytes()).hexdigest() == item["sha256"]


def _require_whole_file(path: Path) -> None:
    match path.suffix:
        case ".json":
            json.loads(path.read_bytes())
        case ".toml":
            tomllib.loads(path.read_text())
        case ".jsonl":
            # Only the last line may be torn: it is the one file that grows.
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    json.loads(line)
        case ".safetensors":
            with safe_open(path, framework="np") as file:
                assert list(file.keys())
        case ".onnx":
            model_file.load(path)
        case ".npy":
            assert np.load(path, mmap_mode="r").ndim == 3
        case _:
            pass


OF_THE_MACHINE = ("time", "images_per_second", "load", "memory")
"""What an event says of the machine at that time, and not of the training."""


def events_of(home: Path, name: str) -> list[Event]:
    folder = home / "runs" / name
    return list(runs.events(runs.read(folder)))


def figures(events: Sequence[Event]) -> dict[tuple[str, int, int], tuple[object, ...]]:
    """Every figure of every event that a resumed run must repeat; what was done twice must have come out the same."""
    found: dict[tuple[str, int, int], tuple[object, ...]] = {}
    for event in events:
        if isinstance(event, BatchDone):
            key, values = (event.stage, event.epoch, event.batch), (event.loss, event.learning_rate)
        elif isinstance(event, EpochDone):
            plain = msgspec.to_builtins(event)
            key = (event.stage, event.epoch, 0)
            values = tuple(value for name, value in sorted(plain.items()) if name not in OF_THE_MACHINE)
        else:
            continue
        assert found.setdefault(key, values) == values, f"{key} came out differently"
    return found


def results(home: Path, name: str) -> dict[str, str]:
    """What a run has made: the digest of the weights and of the graph of every stage."""
    folder = home / "runs" / name
    made = {path.relative_to(folder).as_posix(): _digest(path) for path in sorted(folder.rglob("*.safetensors"))}
    made |= {path.relative_to(folder).as_posix(): model_file.graph_digest(path) for path in folder.rglob("*.onnx")}
    return made


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def grows(path: Path) -> Begun:
    """Whether a file has become larger than it is now."""
    before = path.stat().st_size if path.exists() else 0
    return lambda: path.exists() and path.stat().st_size > before


def appears(folder: Path, pattern: str) -> Begun:
    """Whether the folder has more entries of this pattern than now."""
    before = len(list(folder.glob(pattern)))
    return lambda: len(list(folder.glob(pattern))) > before


def kills(default: int) -> int:
    """How often an operation is killed: the environment may ask for more, as the long tests do."""
    return int(os.environ.get("LUNGCLI_TEST_KILLS", default))
