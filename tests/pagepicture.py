"""Draw the README's picture of the page: two slices and their predictions, in the system's Chromium.

Run with the extras `web` and `browser`: python -m tests.pagepicture FILE
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from lungcli.core import package_data
from lungcli.modelfile import model_paths
from lungcli.web import app
from tests.web.test_app import Served, free_port
from tests.web.test_browser import CHROMIUM

SIZE = (1200, 860)


def slices(into: Path) -> list[Path]:
    """Save the malignant slice that comes with the program, and the same with its greys inverted, which is refused."""
    pixels = np.asarray(Image.open(package_data.slices()["malignant"]).convert("L"))
    files = [into / "malignant.png", into / "inverted.png"]
    for path, greys in zip(files, (pixels, np.uint8(255) - pixels), strict=True):
        Image.fromarray(greys).save(path)
    return files


def shoot(address: str, files: list[Path], into: Path) -> None:
    """Drop `files` on the page at `address`, and save what it shows then."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        opened.goto(address)
        opened.locator("#drop input[type=file]").set_input_files(files)
        opened.locator("#results .lung-table").wait_for()
        opened.get_by_text("regions that support").first.wait_for()
        # Until what moves has come to rest.
        opened.wait_for_timeout(2000)
        opened.evaluate("scrollTo(0, 0)")
        opened.screenshot(path=into)
        browser.close()


def main() -> None:
    """Serve the bundled model, and take the picture."""
    served = Served(app.Service(models={model_paths.BUNDLED: model_paths.bundled()}, port=free_port()))
    served.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            shoot(f"http://127.0.0.1:{served.service.port}/", slices(Path(folder)), Path(sys.argv[1]))
    finally:
        served.end()


if __name__ == "__main__":
    main()
