"""Work without end: do memory, open files, processes and threads stay flat?

Run: python -m tests.benchmarks.soak [PREDICTIONS] [VISITS] [HOURS]     (100,000, 10,000 and 24 where nothing is given)

`lungcli predict` reads a list of PREDICTIONS lines, which name a few phantoms again and again, in one process. The page
predicts VISITS pictures one after another, each in a visit of its own, asked for over HTTP as a browser does; every
tenth visitor is gone before the prediction is there (needs the extra `web`). The dashboard is open for HOURS by a
clock that runs 60 times as fast, while runs go on and its views change (needs Linux and libfaketime, which speeds up
what waits in an event loop, as all that waits in the dashboard does, but not `threading.Event.wait`). Each is watched
from outside, its child processes included; 0 leaves one out.
"""

import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import NamedTuple

import psutil
import requests

from tests.benchmarks import dashboard, machine

LUNGCLI = [sys.executable, "-m", "lungcli"]
SPEED, SECONDS = 60, 120
FAKETIME = "usr/lib/*/faketime/libfaketimeMT.so.1"
# Keys of the views of runs, models, data sets and the system.
VIEWS = "1236"


class Usage(NamedTuple):
    """What a process and its children use after so many `seconds`: MB of resident memory, and counts."""

    seconds: float
    megabytes: float
    files: int
    processes: int
    threads: int

    def __str__(self) -> str:
        return (
            f"{self.seconds:5.0f} s {self.megabytes:5.0f} MB {self.files:3} files {self.processes} processes "
            f"{self.threads} threads"
        )


def usage(pid: int, began: float) -> Usage | None:
    """Look at a process and its children; None where it has ended."""
    seen = []
    try:
        first = psutil.Process(pid)
        for process in (first, *first.children(recursive=True)):
            with process.oneshot():
                seen.append((process.memory_info().rss / 1e6, process.num_fds(), process.num_threads()))
    except psutil.Error:
        return None
    megabytes, files, threads = (sum(column) for column in zip(*seen, strict=True))
    # A process that has ended and is not waited for has no memory.
    return Usage(time.monotonic() - began, megabytes, int(files), len(seen), int(threads)) if megabytes else None


def report(what: str, seen: list[Usage]) -> None:
    """Print what was used after each tenth of what was seen, and the most."""
    for tenth in range(11):
        machine.say(f"{what}, {10 * tenth:3} %: {seen[tenth * (len(seen) - 1) // 10]}")
    machine.say(
        f"{what}, most: {', '.join(f'{max(row[at] for row in seen):.0f} {Usage._fields[at]}' for at in range(1, 5))}"
    )


def predict(pictures: list[Path], folder: Path, count: int, environment: dict[str, str]) -> None:
    """Predict a list of `count` lines with one call."""
    (folder / "list.txt").write_text("".join(f"{pictures[number % len(pictures)]}\n" for number in range(count)))
    seen: list[Usage] = []
    began = time.monotonic()
    with (folder / "list.txt").open("rb") as lines, (folder / "predictions.jsonl").open("wb") as out:
        command = [*LUNGCLI, "predict", "--jsonl", "-"]
        process = subprocess.Popen(command, env=environment, stdin=lines, stdout=out, stderr=subprocess.DEVNULL)
        while process.poll() is None:
            seen += filter(None, [usage(process.pid, began)])
            time.sleep(1.0)
    predicted = sum(1 for _ in (folder / "predictions.jsonl").open("rb"))
    report(f"predict, {predicted:,} predictions of {count:,} lines", seen[2:])


def watch_dashboard(home: Path, hours: float) -> None:
    """Have the dashboard open for so many hours of a clock that runs faster, a run going on meanwhile."""
    library = next((str(path) for path in Path("/").glob(FAKETIME)), os.environ.get("FAKETIME_LIBRARY"))
    if library is None:
        machine.say("dashboard: left out, without libfaketime (apt install libfaketime, or FAKETIME_LIBRARY=FILE)")
        return
    live = dashboard.prepare(home, 20, 1000)
    clock = {"LD_PRELOAD": library, "FAKETIME": f"+0 x{SPEED}"}
    os.environ |= clock
    screen = dashboard.Screen()
    for name in clock:
        del os.environ[name]
    screen.wait(dashboard.SHOWN)
    stop = threading.Event()
    writing = threading.Thread(target=dashboard.feed, args=(live, stop))
    writing.start()
    seen: list[Usage] = []
    began = time.monotonic()
    try:
        while time.monotonic() - began < hours * 3600 / SPEED:
            screen.press(VIEWS[len(seen) % len(VIEWS)].encode())
            screen.drain(2.0)
            seen += filter(None, [usage(screen.pid, began)])
    finally:
        stop.set()
        writing.join()
    report(f"dashboard, {hours:g} h at {SPEED} times the speed", seen)
    machine.say(f"  leaving {screen.leave():.2f} s")


def serve(pictures: list[Path], folder: Path, count: int, environment: dict[str, str]) -> None:
    """Have the page predict `count` pictures, one visit after another."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command, said = [*LUNGCLI, "--debug", "serve", "--port", str(port)], folder / "said.txt"
    with said.open("wb") as words:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=words)
    try:
        address = f"http://127.0.0.1:{port}"
        _wait(address)
        seen: list[Usage] = []
        began = time.monotonic()
        for number in range(1, count + 1):
            visit(address, pictures[number % len(pictures)], stays=number % 10 > 0)
            seen += filter(None, [usage(process.pid, began)])
        report(f"page, {count:,} visits", seen)
    except (SystemExit, OSError):
        machine.say(said.read_text(errors="replace")[-4000:])
        raise
    finally:
        process.terminate()
        process.wait(60)


def visit(address: str, picture: Path, *, stays: bool) -> None:
    """Send one picture to the page, and wait for the prediction where the visitor stays.

    Raises RequestException, or SystemExit where there is no prediction.
    """
    session, api = uuid.uuid4().hex, f"{address}/gradio_api"
    with requests.get(f"{api}/heartbeat/{session}", stream=True, timeout=SECONDS):
        parts = requests.get(f"{address}/config", timeout=SECONDS).json()["dependencies"]
        number = next(part["id"] for part in parts if [target[1] for target in part["targets"]] == ["upload"])
        sent = requests.post(f"{api}/upload", files={"files": (picture.name, picture.read_bytes())}, timeout=SECONDS)
        [path] = sent.json()
        taken = {"path": path, "orig_name": picture.name, "meta": {"_type": "gradio.FileData"}}
        call = {"data": [[taken], "bundled"], "fn_index": number, "session_hash": session}
        requests.post(f"{api}/queue/join", json=call, timeout=SECONDS).raise_for_status()
        if stays:
            told = requests.get(f"{api}/queue/data", {"session_hash": session}, timeout=SECONDS).text
            if "process_completed" not in told or '"success":true' not in told.replace(" ", ""):
                raise SystemExit(f"the page gave no prediction: {told[-500:]}")


def _wait(address: str) -> None:
    for _ in range(600):
        try:
            requests.get(address, timeout=SECONDS).raise_for_status()
        except requests.RequestException:
            time.sleep(0.2)
        else:
            return
    raise SystemExit("the page does not answer")


def main() -> None:
    """Measure and print."""
    given = sys.argv[1:]
    predictions, visits, hours = (float(word) for word in (given + ["100000", "10000", "24"][len(given) :])[:3])
    machine.state()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"LUNGCLI_HOME": folder}
        subprocess.run(
            [*LUNGCLI, "data", "phantom", "--slices", "60"], check=True, env=environment, capture_output=True
        )
        pictures = sorted(Path(folder, "data", "phantom", "slices").rglob("*.png"))
        if predictions:
            predict(pictures, Path(folder), int(predictions), environment)
        if visits and importlib.util.find_spec("gradio"):
            serve(pictures, Path(folder), int(visits), environment)
        if hours:
            watch_dashboard(Path(folder, "dashboard"), hours)


if __name__ == "__main__":
    main()
