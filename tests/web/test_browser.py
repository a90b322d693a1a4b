"""The page in a real browser: Chromium of the system, driven by Playwright."""

import gc
import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lungcli.modelfile import model_file
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Prediction, capture_and_predict
from lungcli.web import app, html
from tests.modelfile import graphs
from tests.web.test_app import Served, free_port, uploads_in

if TYPE_CHECKING:
    from playwright.sync_api import Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
MISSING = [name for name in ("gradio", "playwright") if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)} (the extras `web` and `browser`)"),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine (Debian: apt install chromium)"),
    pytest.mark.filterwarnings("ignore"),
]
SECONDS = 1000


@pytest.fixture(scope="module", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with uploads_in(tmp_path_factory.mktemp("uploads")):
        yield


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the net that knows nodules, and one that calls everything normal."""
    folder = tmp_path_factory.mktemp("models")
    models = {
        "nodules": graphs.nodule_file(folder / "nodules.onnx"),
        "bright": graphs.model_file(folder / "bright.onnx"),
    }
    started = Served(app.Service(models=models, port=free_port()))
    started.start()
    yield started
    started.end()


@pytest.fixture
def visit(served: Served) -> Iterator[tuple["Page", list[str]]]:
    """Open the page; the list holds every address that the browser asked."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # Chromium's own sandbox is not to be had for root, as tests in containers often are.
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.set_default_timeout(60 * SECONDS)
        arguments: list[str] = []
        opened.on("request", lambda request: arguments.append(request.url))
        opened.goto(f"http://127.0.0.1:{served.service.port}/")
        yield opened, arguments
        browser.close()
    gc.collect()


def heads(opened: "Page") -> list[str]:
    """The verdicts on the page, without their probabilities."""
    return [text.split()[0] for text in opened.locator("#results h2").all_inner_texts()]


def drawn(opened: "Page") -> list[int]:
    """Widths of the pictures on the page, as the browser has decoded them."""
    script = "images => images.map(image => image.complete ? image.naturalWidth : 0)"
    widths: list[int] = opened.locator("#results img").evaluate_all(script)
    return widths


def test_uploads_get_predictions_with_heat_maps_and_bad_files_get_messages(
    visit: tuple["Page", list[str]], served: Served, tmp_path: Path
) -> None:
    opened, asked = visit
    model, verdicts = model_file.load(served.service.models["nodules"]), []
    for label in ("malignant", "normal"):
        content = html.example(label).content
        (tmp_path / f"{label}.png").write_bytes(content)
        found, _ = capture_and_predict(Item(shown=label, source=content), model)
        verdicts += [found.label] if isinstance(found, Prediction) else []
    (tmp_path / "bad.png").write_text("no picture")
    names = ("malignant.png", "bad.png", "normal.png")
    opened.locator("#drop input[type=file]").set_input_files([tmp_path / name for name in names])
    opened.locator("#results article").nth(1).wait_for()
    assert heads(opened) == verdicts
    assert drawn(opened) == [448] * 4
    assert opened.locator("#results figcaption", has_text="regions that support malignant").first.is_visible()
    assert "cannot read bad.png: it is not a picture" in opened.locator("#results [role=alert]").inner_text()
    assert re.search(r"malignant\s+\d+\.\d%", opened.locator("#results table").first.inner_text())
    assert_nobody_else_was_asked(asked, served)


def test_a_phantom_is_predicted_by_the_chosen_model(visit: tuple["Page", list[str]], served: Served) -> None:
    opened, asked = visit
    opened.get_by_role("button", name="malignant", exact=True).click()
    opened.locator("#results article").wait_for()
    assert heads(opened) == ["malignant"]
    opened.locator("#model input").click()
    opened.get_by_role("option", name="bright").click()
    opened.locator("#results h2", has_text="normal").wait_for()
    assert heads(opened) == ["normal"]
    assert_nobody_else_was_asked(asked, served)


def test_a_picture_that_is_no_slice_is_refused_with_the_reason(
    visit: tuple["Page", list[str]], served: Served, tmp_path: Path
) -> None:
    opened, asked = visit
    grey = np.linspace(0, 255, 256 * 256).reshape(256, 256).astype(np.uint8)
    Image.fromarray(np.stack((grey, grey.T, 255 - grey), axis=2)).save(tmp_path / "photo.jpg")
    opened.locator("#drop input[type=file]").set_input_files(tmp_path / "photo.jpg")
    output = opened.locator("#results [role=alert]")
    output.wait_for()
    assert "no prediction for photo.jpg: not an axial lung CT slice (a colour picture; score" in output.inner_text()
    assert heads(opened) == []
    assert_nobody_else_was_asked(asked, served)


def test_the_page_works_by_keyboard(visit: tuple["Page", list[str]]) -> None:
    opened, _ = visit
    opened.get_by_role("button", name="upload or drop").focus()
    with opened.expect_file_chooser() as chooser:
        opened.keyboard.press("Space")
    assert chooser.value.is_multiple()
    named = "(e => e.getAttribute('aria-label') || e.innerText)(document.activeElement)"
    reached = []
    for _ in range(5):
        opened.keyboard.press("Tab")
        reached.append(str(opened.evaluate(named)).split("\n")[0].strip())
    assert reached == ["Model", "malignant", "benign", "normal", "About this model"]
    opened.keyboard.press("Enter")
    opened.locator("th", has_text="split").wait_for()
    opened.keyboard.press("Shift+Tab")
    opened.keyboard.press("Enter")
    opened.locator("#results article").wait_for()


def test_a_phone_shows_the_prediction_without_sideways_scrolling(visit: tuple["Page", list[str]]) -> None:
    opened, _ = visit
    opened.set_viewport_size({"width": 390, "height": 844})
    opened.get_by_role("button", name="malignant", exact=True).click()
    opened.locator("#results article").wait_for()
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.wait_for_function("document.querySelector('#results h2').getBoundingClientRect().top < innerHeight")


def assert_nobody_else_was_asked(asked: list[str], served: Served) -> None:
    own = (f"http://127.0.0.1:{served.service.port}/", "data:", "blob:")
    assert len(asked) > 3
    assert [address for address in asked if not address.startswith(own)] == []
