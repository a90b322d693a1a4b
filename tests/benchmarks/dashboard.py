"""The dashboard over many runs: first screen, new points, key to repaint, processor, memory, leaving.

Run: python -m tests.benchmarks.dashboard [RUNS] [EVENTS]     (default: 200 runs of 10,000 events, 160×50 cells)

It is driven through a pseudo-terminal, as a person would: a screen counts when its bytes have come out.
"""

import datetime
import fcntl
import os
import pty
import re
import select
import shutil
import statistics
import struct
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lungcli.core.events import BatchDone
from lungcli.core.runs import Run
from tests.benchmarks import machine
from tests.tui import fakes

WIDTH, HEIGHT = 160, 50
IDLE_SECONDS, LIVE_SECONDS, LIVE_RUNS, EVENTS_A_SECOND = 10.0, 10.0, 5, 10
TICKS = os.sysconf("SC_CLK_TCK")
# The legend under the curves of the run that is shown first.
SHOWN = rb" in epoch \d"


class Screen:
    """The dashboard in a pseudo-terminal."""

    def __init__(self) -> None:
        self.begun = time.perf_counter()
        self.pid, self.handle = pty.fork()
        if self.pid == 0:
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
            os.environ.pop("COLUMNS", None)
            os.execv(sys.executable, [sys.executable, "-m", "lungcli", "dashboard"])
        fcntl.ioctl(self.handle, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))

    def wait(self, pattern: bytes, seconds: float = 30.0) -> float:
        """Seconds until bytes like these come out."""
        start, seen = time.perf_counter(), b""
        while not re.search(pattern, seen):
            left = start + seconds - time.perf_counter()
            if left <= 0:
                raise TimeoutError(pattern, seen[-2000:])
            if select.select([self.handle], [], [], left)[0]:
                seen += os.read(self.handle, 1 << 16)
        return time.perf_counter() - start

    def quiet(self, seconds: float = 0.3) -> None:
        """Read on until nothing has come for so long."""
        while select.select([self.handle], [], [], seconds)[0]:
            os.read(self.handle, 1 << 16)

    def drain(self, seconds: float) -> None:
        """Read whatever comes for so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            if select.select([self.handle], [], [], left)[0]:
                os.read(self.handle, 1 << 16)

    def press(self, keys: bytes) -> float:
        """Seconds from a key to the first bytes that answer it."""
        start = time.perf_counter()
        os.write(self.handle, keys)
        select.select([self.handle], [], [], 5.0)
        return time.perf_counter() - start

    def processor(self) -> float:
        """Seconds of processor time used so far."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def memory(self) -> float:
        """Resident memory in MB, and its peak so far."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return max(int(found) for found in re.findall(r"VmHWM:\s+(\d+)", status)) / 1024

    def leave(self) -> float:
        """Seconds from `q` to the end of the process."""
        start = time.perf_counter()
        os.write(self.handle, b"q")
        while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
            if select.select([self.handle], [], [], 0.002)[0]:
                try:
                    os.read(self.handle, 1 << 16)
                except OSError:
                    break
        return time.perf_counter() - start


def prepare(home: Path, count: int, events: int) -> list[Run]:
    """Put `count` runs with `events` events each on disk."""
    os.environ["LUNGCLI_HOME"] = str(home)
    first = fakes.run("run-0", epochs=50, batches=max(1, events // 50 - 1), age=9e5)
    files = {path.name: path.read_bytes() for path in first.folder.iterdir() if path.is_file()}
    for i in range(1, count):
        folder = home / "runs" / f"run-{i}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
    live = [fakes.run(f"live-{i}", epochs=50, batches=20, end="stopped", age=i) for i in range(LIVE_RUNS)]
    return [fakes.stand(run, "running", age=i) for i, run in enumerate(live)]


def batches() -> Iterator[BatchDone]:
    """Batches without end, of this moment."""
    template = next(event for event in fakes.epoch("train", 26, 50, 0.5) if isinstance(event, BatchDone))
    for number in range(1, 100_000):
        now = datetime.datetime.now(datetime.UTC)
        epoch, batch = 26 + number // 200, number % 200 + 1
        yield msgspec.structs.replace(template, time=now, epoch=epoch, batch=batch, batches=200)


def feed(live: list[Run], stop: threading.Event) -> None:
    """Write events to all live runs at the promised rate."""
    for batch in batches():
        for run in live:
            fakes.append(run.events, [batch])
        if stop.wait(1 / EVENTS_A_SECOND):
            return


def main() -> None:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    events = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    home = Path(tempfile.mkdtemp(prefix="lungcli-dashboard-"))
    try:
        live = prepare(home, count, events)
        machine.state()
        machine.say(f"{count} runs of {events} events, {WIDTH}×{HEIGHT} cells")
        first, used = (min(times) for times in zip(*(_first_screen() for _ in range(5)), strict=True))
        machine.say(f"first screen                    {first:6.3f} s ({used:.2f} s of a core)")
        _measure(live)
    finally:
        shutil.rmtree(home)


def _first_screen() -> tuple[float, float]:
    """Seconds to the first screen, and of processor time: what others do on the machine lengthens only the first."""
    screen = Screen()
    screen.wait(SHOWN)
    taken, used = time.perf_counter() - screen.begun, screen.processor()
    screen.quiet()
    screen.leave()
    return taken, used


def _measure(live: list[Run]) -> None:
    screen = Screen()
    screen.wait(SHOWN)
    screen.drain(12.0)
    before = screen.processor()
    screen.drain(IDLE_SECONDS)
    machine.say(f"nothing moves                   {(screen.processor() - before) / IDLE_SECONDS:6.1%} of a core")
    for _ in live:
        screen.press(b" \x1b[B")
        screen.quiet()
    stop = threading.Event()
    writing = threading.Thread(target=feed, args=(live, stop))
    writing.start()
    screen.drain(3.0)
    before = screen.processor()
    screen.drain(LIVE_SECONDS)
    used = (screen.processor() - before) / LIVE_SECONDS
    stop.set()
    writing.join()
    machine.say(f"{LIVE_RUNS} live runs overlaid           {used:6.1%} of a core")
    screen.drain(2.0)
    delays = sorted(_delay(screen, live[0], 30 + i) for i in range(5))
    machine.say(f"new point to screen             {delays[2]:6.3f} s (worst {delays[-1]:.3f} s)")
    _keys(screen)
    machine.say(f"peak memory                     {screen.memory():6.1f} MB")
    _views(screen)
    screen.quiet()
    machine.say(f"leaving                         {screen.leave() * 1e3:6.1f} ms")


def _keys(screen: Screen) -> None:
    """Say how soon keys are answered, and what all repaints that they lead to cost."""
    waited, cost = [], []
    for key in (b"\x1b[B", b"\x1b[A", b"\x1b[D", b"\x1b[D", b"+", b"0", b"l", b"l") * 3:
        screen.quiet(0.15)
        before = screen.processor()
        waited.append(screen.press(key))
        screen.quiet(0.05)
        cost.append(screen.processor() - before)
    median = statistics.median(waited)
    machine.say(f"key to repaint                  {median * 1e3:6.1f} ms (worst {max(waited) * 1e3:.1f} ms)")
    machine.say(f"processor time a key            {statistics.mean(cost) * 1e3:6.1f} ms (mean)")


def _views(screen: Screen) -> None:
    """Say how soon a view is there that was opened before; of the models it is what is bundled."""
    waited = []
    for key in (b"2", b"3", b"6", b"1") * 4:
        screen.quiet(0.5)
        waited.append(screen.press(key))
    again = waited[4:]
    machine.say(
        f"view to repaint                 {statistics.median(again) * 1e3:6.1f} ms (worst {max(again) * 1e3:.1f} ms)"
    )


def _delay(screen: Screen, run: Run, epoch: int) -> float:
    """Seconds from an event in the file to its figure on screen."""
    screen.quiet(0.4)
    figure = 0.8 + epoch / 1000
    fakes.append(run.events, [event for event in fakes.epoch("train", epoch, 50, figure) if event])
    return screen.wait(f"{figure:.3f}".encode())


if __name__ == "__main__":
    main()
