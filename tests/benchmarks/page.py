"""The page as a visitor has it: the first result after an upload, without and with its heat-map, and 40 slices.

Run with the extras `web` and `browser`: python -m tests.benchmarks.page [ROUNDS]     (default: 5)

The bundled model and a real server. Over HTTP by Gradio's own client of the queue, without drawing; in the system's
Chromium from the choice of the files until the answer is drawn. Without a heat-map a refused picture is sent, since the
page makes one of each slice that it predicts.
"""

import contextlib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

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


def visit(port: int, files: list[Path]) -> tuple[float, float]:
    """Seconds from the upload of `files` to the first result, and to the last, over HTTP."""
    root, session = f"http://127.0.0.1:{port}", uuid.uuid4().hex
    parts = requests.get(f"{root}/config", timeout=SECONDS).json()["dependencies"]
    number = next(part["id"] for part in parts if [target[1] for target in part["targets"]] == ["upload"])
    start = time.perf_counter()
    sent = [("files", (path.name, path.read_bytes())) for path in files]
    paths = requests.post(f"{root}/gradio_api/upload", files=sent, timeout=SECONDS).json()
    taken = [{"path": path, "meta": {"_type": "gradio.FileData"}} for path in paths]
    asked = {"data": [taken, "bundled"], "fn_index": number, "session_hash": session}
    requests.post(f"{root}/gradio_api/queue/join", json=asked, timeout=SECONDS).raise_for_status()
    first = 0.0
    events = f"{root}/gradio_api/queue/data?session_hash={session}"
    with requests.get(events, stream=True, timeout=SECONDS) as answer:
        for line in answer.iter_lines():
            first = first or (time.perf_counter() - start) * (b"<article" in line)
            if b"process_completed" in line:
                break
    return first, time.perf_counter() - start


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


def drawn(page: "Page", port: int, files: list[Path]) -> tuple[float, float]:
    """Seconds from the choice of `files` to the first result on screen, and to the last."""
    page.goto(f"http://127.0.0.1:{port}/")
    page.locator("#results", has_text="Drop axial").wait_for()
    start = time.perf_counter()
    page.locator("#drop input[type=file]").set_input_files(files)
    page.locator("#results article:visible").first.wait_for()
    first = time.perf_counter() - start
    page.locator("#status", has_text="done:").wait_for(state="attached")
    return first, time.perf_counter() - start


def report(way: str, measure: Callable[[list[Path]], tuple[float, float]], folder: Path, rounds: int) -> None:
    """Print the medians and the worst of each case."""
    slice_, refused = package_data.slices()["malignant"], folder / "refused.png"
    many = [folder / f"{number:02}.jpg" for number in range(MANY)]
    cases = {"a slice, heat-map": [slice_], "refused, no heat-map": [refused], f"{MANY} slices": many}
    for name, files in cases.items():
        measure(files)
        first, last = zip(*(measure(files) for _ in range(rounds)), strict=True)
        machine.say(
            f"{way:9} {name:22} first {statistics.median(first):6.2f} s (worst {max(first):.2f}), "
            f"all {statistics.median(last):6.2f} s (worst {max(last):.2f})"
        )


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
