"""What the page shows of predictions, without the page."""

import base64
import csv
import dataclasses
import io
import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lungcli.core.recipe import Recipe
from lungcli.metrics.referral import Referral
from lungcli.modelfile import model_file
from lungcli.modelfile.model_file import Model
from lungcli.web import examples, results, slice_worker
from lungcli.web.slice_worker import SliceResult, Upload
from tests.modelfile import graphs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    return model_file.load(graphs.nodule_file(folder / "m.onnx"), threads=1)


@pytest.fixture(scope="module")
def of(model: Model) -> Callable[[str], SliceResult]:
    """Results by what the upload is: the class of a phantom, or `blank`, or `text`."""
    blank = io.BytesIO()
    Image.new("L", (64, 64), 120).save(blank, "PNG")
    uploads = {
        **{label: examples.phantom(label) for label in examples.CLASSES},
        "blank": Upload(name="b.png", content=blank.getvalue()),
        "text": Upload(name="a.png", content=b"text"),
    }
    predicted = {name: slice_worker.predict(upload, model) for name, upload in uploads.items()}
    suspicious = predicted["normal"].prediction
    assert suspicious
    clear = dataclasses.replace(
        suspicious, finding="clear", label="normal", probabilities={"benign": 0.1, "malignant": 0.2, "normal": 0.7}
    )
    predicted["normal"] = msgspec.structs.replace(predicted["normal"], prediction=clear)
    return predicted.__getitem__


def renamed(result: SliceResult, name: str, series: str = "", place: float = 0.0) -> SliceResult:
    changes: dict[str, object] = {"series": series, "place": (place, 0.0)}
    for field in ("prediction", "refusal", "failure"):
        if outcome := getattr(result, field):
            changes[field] = dataclasses.replace(outcome, source=name)
    return msgspec.structs.replace(result, **changes)


def pictures(shown: str, kind: str) -> list[Image.Image]:
    sources = re.findall(rf'src="data:image/{kind};base64,([^"]+)"', shown)
    return [Image.open(io.BytesIO(base64.b64decode(source))) for source in sources]


def download(shown: str, kind: str) -> str:
    (content,) = re.findall(rf'href="data:{kind};base64,([^"]+)"', shown)
    return base64.b64decode(content).decode()


def names(shown: str) -> list[str]:
    return re.findall(r'class="lung-open" data-slice="\d+">([^<]+)<', shown)


def test_a_card_has_prediction_probabilities_and_heat_map(model: Model, of: Callable[[str], SliceResult]) -> None:
    shown = results.shown([of("malignant")], model.card, "run/int8", visit=7)
    assert "<h2>suspicious for malignancy</h2>" in shown
    assert all(f'<th scope="row">{label}</th>' in shown for label in graphs.CLASSES)
    assert "not referred: this model has no limits by which it refers" in shown
    assert "run/int8 (tiny)" in shown
    assert "not a medical device" in shown
    (slice_,) = pictures(shown, "jpeg")
    assert slice_.mode == "L"
    assert 'data-heat="7-0"' in shown
    heat_input = of("malignant").heat_input
    assert heat_input
    heat_map = slice_worker.heat_map(heat_input, model)
    assert "regions that support malignant" in heat_map.caption
    heat = Image.open(io.BytesIO(heat_map.layer))
    assert heat.mode == "RGBA"
    assert max(heat.size) == slice_worker._HEAT_SIDE
    alpha = np.asarray(heat)[..., 3]
    assert alpha.max() > 150
    assert 0 < (alpha > 60).mean() < 0.05


def test_a_class_without_heat_has_no_overlay(model: Model, of: Callable[[str], SliceResult]) -> None:
    heat_input = of("malignant").heat_input
    assert heat_input
    # Of a slice in one grey nothing can be covered.
    even = msgspec.structs.replace(heat_input, prepared=zlib.compress(bytes(model.card.size**2)))
    heat_map = slice_worker.heat_map(even, model)
    assert heat_map.layer == b""
    assert "no region supports malignant" in heat_map.caption


def test_heat_maps_are_asked_for_once_all_findings_are_there(model: Model, of: Callable[[str], SliceResult]) -> None:
    assert "data-heat" not in results.shown([of("malignant")], model.card, "m")
    given = [msgspec.structs.replace(of(name), number=at) for at, name in enumerate(("normal", "text", "malignant"))]
    shown = results.shown(given, model.card, "m", visit=7)
    assert re.findall(r'data-heat="([^"]*)"', shown) == ["7-0", "7-2"]
    # Without a prediction there is nothing to explain.
    assert shown.count("lung-controls") == 2


def test_a_referral_says_why(model: Model) -> None:
    band = Referral(threshold=1.0, target="error", coverage=0.5, risk=0.1, n=10)
    card = msgspec.structs.replace(model.card, referral=band)
    unsure = Model(card=card, path=model.path, threads=1, session=model.session)
    shown = results.shown([slice_worker.predict(examples.phantom("malignant"), unsure)], card, "m")
    assert "referred to a radiologist: not sure enough" in shown
    assert "<h2>no answer: refer to a radiologist</h2>" in shown


def test_a_refused_picture_is_shown_with_the_reason(model: Model, of: Callable[[str], SliceResult]) -> None:
    shown = results.shown([of("blank")], model.card, "m")
    assert "no prediction for b.png: not an axial lung CT slice (blank" in shown
    assert len(pictures(shown, "jpeg")) == 1
    assert "cannot read a.png: it is not a picture" in results.shown([of("text")], model.card, "m")


def test_several_are_counted_and_the_most_urgent_is_shown_first(model: Model, of: Callable[[str], SliceResult]) -> None:
    shown = results.shown([of(name) for name in ("normal", "text", "malignant", "blank")], model.card, "m")
    assert "<h2>4 slices: 1 clear, 1 unreadable, 1 suspicious, 1 refused</h2>" in shown
    cards = re.findall(r"<article[^>]*>", shown)
    assert [" hidden" in card for card in cards] == [True, True, False, True]
    assert 'min="1" max="4" value="3"' in shown


def test_the_table_has_thumbnails_and_keys_to_sort_by(model: Model, of: Callable[[str], SliceResult]) -> None:
    shown = results.shown([of(name) for name in ("normal", "text", "malignant", "blank")], model.card, "m")
    table = shown[shown.index('<table class="lung-table"') :]
    rows = re.findall(r"<tr>(.*?)</tr>", table)[1:]
    assert [row.count("<img") for row in rows] == [1, 0, 1, 1]
    # By finding: suspicious, clear, refused, unreadable.
    keys = [int(re.findall(r'data-key="(-?[\d.]+)"', row)[1]) for row in rows]
    assert sorted(range(4), key=keys.__getitem__) == [2, 0, 3, 1]
    assert "P(malignant)" in table
    assert "blank" in rows[3]


def test_a_series_is_shown_from_feet_to_head_and_as_a_whole(model: Model, of: Callable[[str], SliceResult]) -> None:
    given = [
        renamed(of("normal"), "top", "1.2.3", 9.0),
        renamed(of("normal"), "alone"),
        renamed(of("normal"), "foot", "1.2.3", -9.0),
        renamed(of("malignant"), "middle", "1.2.3", 0.0),
        renamed(of("normal"), "other", "1.2.4", -5.0),
    ]
    shown = results.shown(given, model.card, "m")
    assert names(shown) == ["foot", "middle", "top", "alone", "other"]
    assert "series 1: " in shown
    assert "3 of 3 slices used, 1 predicted malignant" in shown
    # Of one slice nothing is said as a whole.
    assert "series 2: " not in shown
    assert "1.2.3" not in shown
    whole = [row for row in csv.DictReader(io.StringIO(download(shown, "text/csv"))) if row["kind"] == "series"]
    assert [row["series"] for row in whole] == ["series 1"]


def test_all_results_can_be_downloaded(model: Model, of: Callable[[str], SliceResult]) -> None:
    given = [of("normal"), of("text"), renamed(of("malignant"), "=1+1.png"), of("blank")]
    shown = results.shown(given, model.card, "m")
    rows = list(csv.DictReader(io.StringIO(download(shown, "text/csv"))))
    assert [row["kind"] for row in rows] == ["prediction", "failure", "prediction", "refusal"]
    assert rows[2]["source"] == "'=1+1.png"
    report = json.loads(download(shown, "application/json"))
    assert [item["source"] for item in report["predictions"]] == [given[0].outcome.source, "=1+1.png"]
    assert len(report["refusals"]) == len(report["failures"]) == 1


def test_names_are_never_markup(model: Model, of: Callable[[str], SliceResult]) -> None:
    name = '<img src=x onerror="alert(1)">.png'
    given = [renamed(of(kind), name) for kind in ("malignant", "text", "blank")]
    for shown in (results.shown(given, model.card, name), *(results.shown([item], model.card, name) for item in given)):
        assert "<img src=x" not in shown
        assert "&lt;img src=x" in shown


@pytest.mark.parametrize("classes", [("nodule", "other"), tuple(f"kind {number}" for number in range(10))])
@pytest.mark.parametrize("positive", [True, False])
def test_any_classes_are_shown(tmp_path: Path, classes: tuple[str, ...], positive: bool) -> None:
    graph = graphs.brightness(tmp_path / "g", len(classes))
    recipe = Recipe(data="phantom", model="tiny", size=graphs.SIZE, positive_class=classes[0] if positive else "")
    card = graphs.card(classes=classes, recipe=recipe)
    model_file.write(graph, card, tmp_path / "m.onnx")
    loaded = model_file.load(tmp_path / "m.onnx", threads=1)
    given = [slice_worker.predict(examples.phantom(label), loaded) for label in ("malignant", "normal")]
    shown = results.shown(given, card, "m")
    assert all(f'<th scope="row">{name}</th>' in shown for name in classes)
    assert (f"P({classes[0]})" in shown) == positive
    assert "malignan" not in re.sub("phantom .malignant", "", shown)
    if not positive:
        assert f"<h2>{given[0].prediction and given[0].prediction.label} " in shown
