"""A full disk, closed folders, no home, a clock that jumps back: reported in one line, and nothing is lost."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lungcli.core import runs
from tests.faults.commands import TINY, Call, finished, require_whole, results
from tests.faults.conftest import RUN

pytestmark = pytest.mark.long

TRAIN = ("train", "--model", "ownmodel", "--name", "again", *TINY)


def refused(call: Call, code: int, before: Callable[[], None] | None = None) -> str:
    """Run the command, in a process that `before` has cut short, and return what it says on stderr."""
    if before is None:
        return finished(call, code)[1]
    done = subprocess.run(
        call.words(),
        env=call.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        preexec_fn=before,
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr


def small_files() -> None:
    """Let no file grow beyond 300 kB, which is what a full disk looks like to whoever writes."""
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))


def bound_by_modes() -> None:
    """Have the modes of folders bind this process even where it is root's."""
    if os.geteuid() == 0:
        import ctypes

        drop, override = 24, 1
        ctypes.CDLL(None, use_errno=True).prctl(drop, override, 0, 0, 0)


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of three megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(place)]
    if os.geteuid() != 0 or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root may make a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such limits")
def test_a_training_on_a_full_disk_says_so_and_goes_on_once_there_is_space(made: Path) -> None:
    call = Call(home=made, arguments=TRAIN)
    said = refused(call, 1, small_files)
    assert "error: cannot write" in said
    assert "free some space" in said
    require_whole(made)
    assert runs.state(runs.read(made / "runs" / "again")) in ("failed", "stopped")
    finished(call)
    assert results(made, "again") == results(made, RUN)


def test_an_import_onto_a_full_disk_leaves_nothing(slices: Path, little_disk: Path) -> None:
    said = refused(Call(home=little_disk, arguments=("data", "import", slices, "--name", "mine")), 1)
    assert "No space left on device" in said
    assert {item.name for item in (little_disk / "data").iterdir()} == {".locks"}


@pytest.mark.parametrize("command", [("export",), ("quantize", "--max-drop", 1, "--min-agreement", 0)], ids=str)
def test_a_model_onto_a_full_disk_is_whole_or_not_there(
    made: Path, little_disk: Path, command: tuple[object, ...]
) -> None:
    (little_disk / "rest").write_bytes(bytes(3 * 2**20 - 4 * 4096))
    said = refused(Call(home=made, arguments=(*command, RUN, "--output", little_disk / "m.onnx")), 1)
    assert "error: cannot write" in said
    assert "No space left on device" in said
    # The model comes last, so that what lies beside it may be there already.
    assert {item.name for item in little_disk.iterdir()} <= {"rest", "m.json"}


def test_predictions_onto_a_full_disk_are_whole_or_not_there(slices: Path, little_disk: Path, tmp_path: Path) -> None:
    to = little_disk / "to"
    to.mkdir()
    (little_disk / "rest").write_bytes(bytes(3 * 2**20 - 12 * 4096))
    said = refused(Call(home=tmp_path / "home", arguments=("predict", "--output", to, slices)), 1)
    assert "No space left on device" in said
    kept = list(to.iterdir())
    assert 0 < len(kept) < 36
    assert all(json.loads(path.read_bytes())["kind"] == "prediction" for path in kept)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="modes of folders bind nobody there")
def test_folders_that_may_not_be_written_can_be_looked_at_and_say_so_when_written(made: Path) -> None:
    folders = [made, *(path for path in made.rglob("*") if path.is_dir())]
    (made / "runs" / RUN / ".lock").unlink(missing_ok=True)
    for folder in folders:
        folder.chmod(0o500)
    try:
        for looking in (("runs", "list"), ("runs", "show", RUN), ("models", "list"), ("data", "show", "phantom")):
            assert "error" not in refused(Call(home=made, arguments=looking), 0, bound_by_modes)
        writing: tuple[tuple[object, ...], ...] = (
            ("data", "phantom", "--name", "p2"),
            ("runs", "remove", RUN, "--yes"),
            TRAIN,
        )
        for words in writing:
            said = refused(Call(home=made, arguments=words), 1, bound_by_modes)
            assert "Permission denied" in said
    finally:
        for folder in folders:
            folder.chmod(0o700)
    require_whole(made)
    assert finished(Call(home=made, arguments=("models", "card", RUN)))


def test_without_home_nothing_is_written_where_the_command_was_typed(tmp_path: Path) -> None:
    env = {key: value for key, value in os.environ.items() if not key.startswith(("LUNGCLI", "HOME", "XDG"))}
    nobody = "import os, pwd; pwd.getpwuid = lambda number: {}[number]\nfrom lungcli.cli.app import main; main()"
    for arguments in (("data", "phantom"), ("runs", "list")):
        done = subprocess.run(
            [sys.executable, "-c", nobody, *arguments], cwd=tmp_path, env=env, capture_output=True, text=True
        )
        assert done.returncode == 2, done.stderr
        assert "LUNGCLI_HOME=/a/folder" in done.stderr
    assert list(tmp_path.iterdir()) == []


# As if the clock had been set back ten years between two calls.
CLOCK = """
import datetime
from lungcli.core import events
events.now = lambda: datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=3650)
from lungcli.cli.app import main
main()
"""


def test_a_clock_that_jumps_back_changes_no_figure(made: Path) -> None:
    folder = made / "runs" / RUN
    whole = results(made, RUN)
    # Back to where nothing was trained yet, with events that lie in the future.
    shutil.rmtree(folder / "train")
    lines = (folder / "events.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "events.jsonl").write_bytes(b"".join(lines[:2]))
    info = json.loads((folder / "run.json").read_bytes())
    (folder / "run.json").write_text(json.dumps(info | {"state": "stopped"}))
    command = [sys.executable, "-c", CLOCK, "runs", "resume", RUN]
    env = Call(home=made, arguments=()).env()
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert results(made, RUN) == whole
    times = [event.time for event in runs.events(runs.read(folder))]
    assert times != sorted(times)
    for words in (("runs", "list"), ("runs", "show", RUN), ("dashboard", "--once")):
        finished(Call(home=made, arguments=words))


# As of a machine short of memory, and then of a loss that is no number, both in the first step of the second epoch.
TROUBLED = """
from lungcli.training.losses import criteria as losses
made = losses.label_loss
def troubled(recipe, labels, classes):
    right, calls = made(recipe, labels, classes), iter(range(10**6))
    def criterion(logits, slices, targets):
        call, loss = next(calls), right(logits, slices, targets)
        if call == 2:
            raise MemoryError
        return loss * float("nan") if call == 4 else loss
    return criterion
losses.label_loss = troubled
from lungcli.cli.app import main
main()
"""


def test_what_a_training_does_about_trouble_is_told_where_it_was_typed(made: Path) -> None:
    arguments = ("train", "--model", "ownmodel", "--name", "troubled", *TINY)
    done = subprocess.run(
        [sys.executable, "-c", TROUBLED, *map(str, arguments)],
        env=Call(home=made, arguments=()).env(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "warning: out of memory: epoch 2 again, with 4 slices in memory at once" in done.stderr
    assert re.search(
        r"warning: the loss became nan: epoch 2 again, with the learning rate at 0\.0005 "
        r"\(halved 1 of at most 3 times\)",
        " ".join(done.stderr.split()),
    )
    kinds = [type(event).__name__ for event in runs.events(runs.read(made / "runs" / "troubled"))]
    assert (kinds.count("BatchLowered"), kinds.count("RateLowered"), kinds[-1]) == (1, 1, "RunDone")
