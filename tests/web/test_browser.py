"""The page in a real browser: Chromium of the system, driven by Playwright."""

import gc
import importlib.util
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from lungcli.modelfile import model_file
from lungcli.views import prediction
from lungcli.web import app, examples, slice_worker
from lungcli.web.slice_worker import HeatInput, HeatMap, Upload
from lungcli.web.workers import Workers
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
LONG = "compress-mobilenetv2-of-several-hospitals-and-many-institutions-2/int8"


@pytest.fixture(scope="module", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with uploads_in(tmp_path_factory.mktemp("uploads")):
        yield


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Serve the net that knows nodules, and one with a long name that calls everything normal."""
    folder = tmp_path_factory.mktemp("models")
    models = {
        "nodules": graphs.nodule_file(folder / "nodules.onnx"),
        LONG: graphs.model_file(folder / "bright.onnx"),
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
        opened.set_default_timeout(120 * SECONDS)
        arguments: list[str] = []
        opened.on("request", lambda request: arguments.append(request.url))
        opened.goto(f"http://127.0.0.1:{served.service.port}/")
        yield opened, arguments
        browser.close()
    gc.collect()


def heads(opened: "Page") -> list[str]:
    """The heads of the visible cards."""
    opened.locator("#results article:visible").first.wait_for()
    texts: list[str] = opened.locator("#results article:visible h2").all_inner_texts()
    return texts


def send(opened: "Page", files: list[Path]) -> None:
    """Upload files, and wait until all have their results."""
    opened.locator("#drop input[type=file]").set_input_files(files)
    opened.locator("#status", has_text=f"done: {len(files)} slices").wait_for(state="attached")


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Two phantoms, one that is refused and one that is no picture."""
    for label in ("malignant", "normal"):
        (tmp_path / f"{label}.png").write_bytes(examples.phantom(label).content)
    grey = np.linspace(0, 255, 256 * 256).reshape(256, 256).astype(np.uint8)
    Image.fromarray(np.stack((grey, grey.T, 255 - grey), axis=2)).save(tmp_path / "photo.jpg")
    (tmp_path / "bad.png").write_text("no picture")
    return [tmp_path / name for name in ("malignant.png", "bad.png", "normal.png", "photo.jpg")]


def test_several_uploads_get_a_table_and_details_on_a_click(
    visit: tuple["Page", list[str]], served: Served, files: list[Path]
) -> None:
    opened, asked = visit
    send(opened, files)
    rows = opened.locator(".lung-table tbody tr")
    assert [text.split("\n")[0].strip() for text in rows.locator(".lung-open").all_inner_texts()] == [
        path.name for path in files
    ]
    script = "images => images.map(image => image.complete ? image.naturalWidth : 0)"
    assert all(opened.locator("#results img").evaluate_all(script))
    assert rows.locator("img").count() == 3
    model = model_file.load(served.service.models["nodules"])
    predicted = [slice_worker.predict(Upload(name="", content=path.read_bytes()), model).outcome for path in files]
    suspicious = [prediction.finding_of(outcome) for outcome in predicted].count("suspicious")
    assert f"{suspicious} suspicious" in opened.locator("#results h2").first.inner_text()
    rows.nth(1).locator(".lung-open").click()
    assert "annot read bad.png: it is not a picture" in opened.locator("#results article:visible").inner_text()
    assert opened.locator(".lung-slider output").inner_text() == "2 of 4"
    rows.nth(3).click()
    assert heads(opened) == ["refused"]
    assert "not an axial lung CT slice (a colour picture; score" in opened.locator("article:visible").inner_text()
    assert_nobody_else_was_asked(asked, served)


def test_a_slider_goes_through_the_slices_by_keyboard(visit: tuple["Page", list[str]], files: list[Path]) -> None:
    opened, _ = visit
    send(opened, files)
    slider = opened.locator(".lung-slice")
    slider.focus()
    opened.keyboard.press("Home")
    assert heads(opened) == ["suspicious for malignancy"]
    opened.keyboard.press("ArrowRight")
    assert heads(opened) == ["unreadable"]
    assert slider.get_attribute("aria-valuetext") == "2 of 4: unreadable"
    assert opened.locator("tr.lung-chosen .lung-open").inner_text() == "bad.png"


def test_the_table_is_sorted_by_what_is_clicked(visit: tuple["Page", list[str]], files: list[Path]) -> None:
    opened, _ = visit
    send(opened, files)
    head = opened.get_by_role("button", name="P(malignant)")
    column = opened.locator(".lung-table tbody td:nth-child(4)")
    head.click()
    shares = [float(text.replace("–", "-1").rstrip("%")) for text in column.all_inner_texts()]
    assert shares == sorted(shares)
    assert shares[0] == -1
    head.click()
    assert column.all_inner_texts()[-1] == "–"
    assert opened.locator("th[aria-sort=descending]").inner_text().startswith("P(malignant)")
    # A row still opens its own slice.
    opened.get_by_role("button", name="bad.png").click()
    assert heads(opened) == ["unreadable"]


def test_all_results_are_downloaded_as_csv_and_json(visit: tuple["Page", list[str]], files: list[Path]) -> None:
    opened, _ = visit
    send(opened, files)
    for name in ("CSV", "JSON"):
        with opened.expect_download() as awaited:
            opened.get_by_role("link", name=name).click()
        assert awaited.value.suggested_filename == f"lungcli-predictions.{name.lower()}"
        content = Path(awaited.value.path()).read_text()
        assert all(path.name in content for path in files)


def test_the_heat_map_fades_and_goes_off_and_stays_off(visit: tuple["Page", list[str]]) -> None:
    opened, _ = visit
    opacity = "image => Number(getComputedStyle(image).opacity)"
    opened.get_by_role("button", name="drawn malignant").click()
    heat = opened.locator("#results .lung-heat")
    assert heat.evaluate(opacity) == 1
    opened.get_by_label("strength").fill("40")
    assert heat.evaluate(opacity) == 0.4
    opened.get_by_label("heat-map").uncheck()
    assert heat.evaluate(opacity) == 0
    opened.get_by_role("button", name="drawn normal").click()
    opened.locator("figcaption", has_text="drawn phantom (normal)").wait_for()
    assert heat.evaluate(opacity) == 0
    assert not opened.get_by_label("heat-map").is_checked()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[str], threading.Event]]:
    """The classes that heat-maps were asked for, none of which is made until the event is set."""
    asked: list[str] = []
    let, explain = threading.Event(), Workers.explain

    def slowly(self: Workers, slice_: HeatInput, model: Path, visitor: str) -> HeatMap:
        asked.append(slice_.label)
        assert let.wait(60)
        return explain(self, slice_, model, visitor)

    monkeypatch.setattr(Workers, "explain", slowly)
    yield asked, let
    let.set()


def test_the_finding_is_shown_before_its_heat_map(
    visit: tuple["Page", list[str]], slow: tuple[list[str], threading.Event]
) -> None:
    opened, _ = visit
    opened.get_by_role("button", name="drawn malignant").click()
    opened.locator("figcaption", has_text="computing the heat-map").wait_for()
    assert heads(opened) == ["suspicious for malignancy"]
    assert opened.locator("#status").inner_text() == "done: suspicious"
    assert opened.get_by_label("strength").is_disabled()
    slow[1].set()
    opened.locator("figcaption", has_text="regions that support malignant").wait_for()
    assert opened.locator("#results .lung-heat").evaluate("image => image.decode().then(() => image.naturalWidth)") > 99
    assert opened.get_by_label("strength").is_enabled()


def test_only_slices_that_were_opened_get_a_heat_map_and_each_one(
    visit: tuple["Page", list[str]], slow: tuple[list[str], threading.Event], tmp_path: Path
) -> None:
    opened, _ = visit
    names = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(names):
        path.write_bytes(examples.phantom("malignant" if number < 3 else "normal").content)
    send(opened, names)
    note = opened.locator("article:visible .lung-heat-note")
    note.filter(has_text="computing the heat-map").wait_for()
    slider = opened.locator(".lung-slice")
    # Past all of them while that of the first is made.
    slider.fill("6")
    slow[1].set()
    note.filter(has_text="regions that support").wait_for()
    assert len(slow[0]) == 2
    assert opened.locator("#results .lung-heat").count() == 2
    slider.fill("1")
    assert opened.locator("article:visible .lung-heat").count() == 1
    opened.wait_for_timeout(500)
    assert len(slow[0]) == 2
    # They are gone with their results.
    opened.get_by_role("button", name="drawn normal").click()
    opened.locator("figcaption", has_text="drawn phantom (normal)").wait_for()
    assert opened.locator(".lung-table").count() == 0
    note.filter(has_text="heat-map: ").wait_for()
    assert opened.locator("#results .lung-heat").count() <= 1


def test_without_a_heat_map_its_controls_go(visit: tuple["Page", list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    opened, _ = visit
    monkeypatch.setattr(Workers, "explain", lambda *_: HeatMap(layer=b"", caption="heat-map: no region supports <b>x"))
    opened.get_by_role("button", name="drawn malignant").click()
    opened.locator("figcaption", has_text="no region supports <b>x").wait_for()
    assert opened.locator("#results .lung-heat").count() == 0
    assert opened.locator("#results .lung-controls:visible").count() == 0


def test_examples_are_predicted_by_the_chosen_model(visit: tuple["Page", list[str]], served: Served) -> None:
    opened, asked = visit
    opened.get_by_role("button", name="normal", exact=True).click()
    opened.locator("figcaption", has_text="real slice (normal)").wait_for()
    opened.get_by_role("button", name="drawn malignant").click()
    opened.locator("figcaption", has_text="drawn phantom (malignant)").wait_for()
    assert heads(opened) == ["suspicious for malignancy"]
    opened.locator("#model input").click()
    opened.get_by_role("option", name=LONG).click()
    opened.locator("#results h2", has_text="no sign of malignancy").wait_for()
    assert opened.locator(".lung-model").inner_text().startswith(f"{LONG}: tiny")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert_nobody_else_was_asked(asked, served)


def test_the_page_works_by_keyboard(visit: tuple["Page", list[str]]) -> None:
    opened, _ = visit
    opened.locator("#results", has_text="Drop axial").wait_for()
    opened.get_by_role("button", name="upload or drop").focus()
    with opened.expect_file_chooser() as chooser:
        opened.keyboard.press("Space")
    assert chooser.value.is_multiple()
    named = "(e => e.getAttribute('aria-label') || e.innerText)(document.activeElement)"
    outlined = "getComputedStyle(document.activeElement).outlineStyle"
    reached = []
    for _ in range(9):
        opened.keyboard.press("Tab")
        reached.append(str(opened.evaluate(named)).split("\n")[0].strip())
        assert opened.evaluate(outlined) != "none", reached[-1]
    labels = ("malignant", "benign", "normal")
    drawn = [f"drawn {label}" for label in labels]
    assert reached == ["Model", *labels, *drawn, "10.17632/bhmdr45bh2.4", "About this model"]
    opened.keyboard.press("Enter")
    opened.locator("th", has_text="split").wait_for()
    for _ in range(3):
        opened.keyboard.press("Shift+Tab")
    opened.keyboard.press("Enter")
    opened.locator("figcaption", has_text="drawn phantom (benign)").wait_for()


def test_on_a_phone_the_answer_is_in_view_after_a_tap(visit: tuple["Page", list[str]], files: list[Path]) -> None:
    opened, _ = visit
    opened.set_viewport_size({"width": 390, "height": 844})
    in_view = """() => {
      const box = document.querySelector('%s')?.getBoundingClientRect();
      return box && box.top >= 0 && box.bottom <= innerHeight;
    }"""
    opened.get_by_role("button", name="drawn malignant").click()
    opened.wait_for_function(in_view % "#results h2")
    opened.wait_for_function(in_view % "#results .lung-stack")
    opened.evaluate("scrollTo(0, 0)")
    send(opened, files)
    opened.wait_for_function(in_view % "#results h2")
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.locator(".lung-open").last.click()
    opened.wait_for_function(in_view % "#results .lung-slider")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_objects_to_nothing(visit: tuple["Page", list[str]], files: list[Path], scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    opened, _ = visit
    opened.emulate_media(color_scheme=scheme)
    opened.reload()
    opened.locator("#results", has_text="Drop axial").wait_for()
    objections = axe.Axe().run(opened).response["violations"]
    send(opened, files)
    opened.get_by_role("button", name="About this model").click()
    opened.locator("th", has_text="split").wait_for()
    objections += axe.Axe().run(opened).response["violations"]
    assert [(item["id"], [node["html"] for node in item["nodes"]]) for item in objections] == []


UNNAMED = """() => [...document.querySelectorAll("a, button, input, select, textarea, img, progress")]
  .filter(e => e.getClientRects().length && e.type !== "file")
  .filter(e => !(e.labels?.length || e.getAttribute("aria-label") || e.hasAttribute("alt") || e.innerText?.trim()
    || e.title))
  .map(e => e.outerHTML)"""
# Relative luminance and contrast: WCAG 2.2.
FAINT = """() => {
  const rgba = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = rgb => rgb.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [.2126, .7152, .0722][at], 0);
  const ground = e => { for (; e; e = e.parentElement) {
    const c = rgba(getComputedStyle(e).backgroundColor); if (c.length === 3 || c[3] > .99) return c; }
    return [255, 255, 255]; };
  return [...document.querySelectorAll("body *")]
    .filter(e => e.getClientRects().length && [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim()))
    .filter(e => { const a = light(rgba(getComputedStyle(e).color)), b = light(ground(e));
      return (Math.max(a, b) + .05) / (Math.min(a, b) + .05) < 4.5; })
    .map(e => e.outerHTML.slice(0, 200));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_has_a_name_and_every_text_contrast(
    visit: tuple["Page", list[str]], files: list[Path], scheme: str
) -> None:
    """As axe sees it, where there is none."""
    opened, _ = visit
    opened.emulate_media(color_scheme=scheme)
    opened.reload()
    opened.locator("#results", has_text="Drop axial").wait_for()
    assert opened.evaluate(UNNAMED) + opened.evaluate(FAINT) == []
    send(opened, files)
    opened.get_by_role("button", name="About this model").click()
    opened.locator("th", has_text="split").wait_for()
    assert opened.evaluate(UNNAMED) + opened.evaluate(FAINT) == []
    for control in (".lung-slice", ".lung-heat-strength:visible", ".lung-open"):
        opened.locator(control).first.focus()
        opened.keyboard.press("Shift")
        style = opened.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert style != "none", control


def assert_nobody_else_was_asked(asked: list[str], served: Served) -> None:
    own = (f"http://127.0.0.1:{served.service.port}/", "data:", "blob:")
    assert len(asked) > 3
    assert [address for address in asked if not address.startswith(own)] == []
