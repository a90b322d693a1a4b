"""The page as a visitor has it: from an upload to its first finding, to all of them, and to the heat-map in view.

Run with the extras `web` and `browser`: python -m tests.benchmarks.page [ROUNDS]     (default: 5)

The bundled model and a real server: one slice, one picture that is refused, and 40 slices. Over HTTP as Gradio's own
client of the queue does, without drawing; in the system's Chromium from the choice of the files until it is drawn.
"""

import contextlib
import re
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

from lungcli.core import package_data
from lungcli.modelfile import model_paths
from lungcli.web import app
from tests.benchmarks import machine
from tests.web.test_app import Served, free_port
from tests.web.test_browser import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Page

MANY, SECONDS = 40, 600
Times = tuple[float, float, float]
"""Seconds from an upload to its first finding, to all of them, and to the heat-map in view (0 where there is none)."""


def visit(port: int, files: list[Path]) -> Times:
    """Upload `files` over HTTP, and ask for the heat-map of one."""
    root, session = f"http://127.0.0.1:{port}", uuid.uuid4().hex
    parts = requests.get(f"{root}/config", timeout=SECONDS).json()["dependencies"]
    numbers = {part["targets"][0][1]: part["id"] for part in parts if len(part["targets"]) == 1}

    def answers(event: str, body: dict[str, Any]) -> Iterator[bytes]:
        asked = {**body, "fn_index": numbers[event], "session_hash": session}
        requests.post(f"{root}/gradio_api/queue/join", json=asked, timeout=SECONDS).raise_for_status()
        events = f"{root}/gradio_api/queue/data?session_hash={session}"
        with requests.get(events, stream=True, timeout=SECONDS) as answer:
            # In smaller pieces, putting together a line of megabytes would take seconds.
            for line in answer.iter_lines(chunk_size=1 << 20):
                yield line
                if b"process_completed" in line:
                    return

    start = time.perf_counter()
    sent = [("files", (path.name, path.read_bytes())) for path in files]
    paths = requests.post(f"{root}/gradio_api/upload", files=sent, timeout=SECONDS).json()
    taken = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    first, named = 0.0, None
    for line in answers("upload", {"data": [taken, "bundled"]}):
        first = first or (time.perf_counter() - start) * (b"<article" in line)
        named = named or re.search(rb'data-heat=."([0-9-]+)', line)
    last = time.perf_counter() - start
    if not named:
        return first, last, 0.0
    *_, heat = answers("input", {"data": [], "event_data": {"of": named[1].decode()}})
    if b'"layer"' not in heat:
        raise SystemExit(f"no heat-map: {heat[:500]!r}")
    return first, last, time.perf_counter() - start


@contextlib.contextmanager
def browser() -> Iterator["Page"]:
    """Open the page in Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = opened.new_page()
        page.set_default_timeout(1000 * SECONDS)
        yield page
        opened.close()


def drawn(page: "Page", port: int, files: list[Path]) -> Times:
    """Choose `files` on the page, and wait for what is drawn."""
    page.goto(f"http://127.0.0.1:{port}/")
    page.locator("#results", has_text="Drop axial").wait_for()
    start = time.perf_counter()
    page.locator("#drop input[type=file]").set_input_files(files)
    page.locator("#results article:visible").first.wait_for()
    first = time.perf_counter() - start
    page.locator("#status", has_text="done:").wait_for(state="attached")
    last = time.perf_counter() - start
    if not page.locator("#results article:visible .lung-heat-note").count():
        return first, last, 0.0
    page.locator("#results article:visible .lung-heat").wait_for()
    return first, last, time.perf_counter() - start


def report(way: str, measure: Callable[[list[Path]], Times], folder: Path, rounds: int) -> None:
    """Print the medians and the worst of each case."""
    slice_, refused = package_data.slices()["malignant"], folder / "refused.png"
    many = [folder / f"{number:02}.jpg" for number in range(MANY)]
    cases = {"a slice": [slice_], "a refused picture": [refused], f"{MANY} slices": many}
    for name, files in cases.items():
        measure(files)
        times = zip(*(measure(files) for _ in range(rounds)), strict=True)
        shown = (
            f"{what} {statistics.median(seconds):6.2f} s (worst {max(seconds):.2f})"
            for what, seconds in zip(("first finding", "all", "heat-map"), times, strict=True)
            if max(seconds)
        )
        machine.say(f"{way:9} {name:17} {', '.join(shown)}")


def prepare(folder: Path) -> None:
    """Write the slices that come with the program under 40 names, and noise, which is refused."""
    from PIL import Image

    real = [path.read_bytes() for path in package_data.slices().values()]
    for number in range(MANY):
        (folder / f"{number:02}.jpg").write_bytes(real[number % len(real)])
    Image.effect_noise((512, 512), 80).save(folder / "refused.png")


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    machine.state()
    served = Served(app.Service(models={"bundled": model_paths.bundled()}, port=free_port()))
    served.start()
    port = served.service.port
    try:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            prepare(folder)
            report("HTTP", lambda files: visit(port, files), folder, rounds)
            if CHROMIUM:
                with browser() as page:
                    report("Chromium", lambda files: drawn(page, port, files), folder, rounds)
    finally:
        served.end()


if __name__ == "__main__":
    main()
