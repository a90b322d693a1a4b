"""What the page shows, without the page."""

import base64
import io
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import Figures
from lungcli.metrics.referral import Referral
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import Adoption, RobustnessFigures
from lungcli.modelfile.model_file import Model
from lungcli.views import acceptance
from lungcli.web import html
from lungcli.web.html import Upload
from tests.modelfile import graphs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("model")
    return model_file.load(graphs.nodule_file(folder / "m.onnx"), threads=1)


@pytest.fixture(scope="module")
def phantom() -> Upload:
    return html.example("malignant")


def _pictures(shown: str) -> list[Image.Image]:
    sources = re.findall(r'src="data:image/png;base64,([^"]+)"', shown)
    return [Image.open(io.BytesIO(base64.b64decode(source))) for source in sources]


def test_a_card_has_prediction_probabilities_and_heat_map(model: Model, phantom: Upload) -> None:
    shown = html.prediction_cards((phantom,), model)
    assert "<h2>suspicious for malignancy</h2>" in shown
    assert all(f'<th scope="row">{label}</th>' in shown for label in graphs.CLASSES)
    assert "Not referred" in shown
    assert "not a medical device" in shown
    slice_, heat = _pictures(shown)
    assert slice_.mode == "L"
    assert heat.mode == "RGB"
    colour = np.ptp(np.asarray(heat).astype(int), axis=2)
    assert 0 < (colour > 30).mean() < 0.05
    assert "regions that support malignant" in shown


def test_a_referral_says_why(model: Model, phantom: Upload) -> None:
    band = Referral(threshold=0.999, target="error", coverage=0.5, risk=0.1, n=10)
    card = msgspec.structs.replace(model.card, referral=band)
    shown = html.prediction_cards((phantom,), Model(card=card, path=model.path, threads=1, session=model.session))
    assert "referred to a radiologist: not sure enough" in shown
    assert "<h2>no answer: refer to a radiologist</h2>" in shown


def test_bad_files_become_messages_in_their_place(model: Model, phantom: Upload) -> None:
    blank = io.BytesIO()
    Image.new("L", (64, 64), 120).save(blank, "PNG")
    uploads = (Upload(name="a.png", content=b"text"), phantom, Upload(name="b.png", content=blank.getvalue()))
    shown = html.prediction_cards(uploads, model)
    assert shown.index("cannot read a.png: it is not a picture") < shown.index("<article")
    assert shown.index("<article") < shown.index("no prediction for b.png: not an axial lung CT slice (blank")
    assert "limit 1)</strong>" in shown
    assert shown.count('role="alert"') == 2


def test_names_are_never_markup(model: Model, phantom: Upload) -> None:
    name = '<img src=x onerror="alert(1)">.png'
    for upload in (Upload(name=name, content=phantom.content), Upload(name=name, content=b"x")):
        shown = html.prediction_cards((upload,), model)
        assert "<img src=x" not in shown
        assert "&lt;img src=x" in shown


def test_pictures_beyond_the_limit_of_the_page_are_counted(model: Model) -> None:
    uploads = tuple(Upload(name=f"{number}.png", content=b"x") for number in range(html.MAX_PICTURES + 3))
    shown = html.prediction_cards(uploads, model)
    assert f"{html.MAX_PICTURES - 1}.png" in shown
    assert f"{html.MAX_PICTURES}.png" not in shown
    assert "3 more pictures have no prediction" in shown


def test_the_model_card_names_data_figures_and_limits(tmp_path: Path) -> None:
    figures = Figures(
        n=10,
        groups=4,
        part="test",
        protocol="grouped",
        estimates={
            "balanced_accuracy": Estimate(value=0.5, low=0.25, high=None),
            "kappa": Estimate(value=0.1, low=0.0, high=0.2),
        },
        ece=0.1,
        nll=0.1,
        brier=0.1,
    )
    shown = html.model_card(graphs.card(figures=figures), "run/<b>int8")
    assert "<td>0.500 [.250, –] on the test part</td>" in shown
    assert "kappa" not in shown
    assert "run/&lt;b&gt;int8" in shown
    assert "trained on drawn phantoms" in shown
    assert "not a medical device" in shown


def test_a_card_without_figures_shows_those_of_unchanged_slices_under_stress(tmp_path: Path) -> None:
    whole = RobustnessFigures(
        change="none",
        strength=0,
        setting="as it is",
        balanced_accuracy=Estimate(value=0.6, low=0.5, high=0.7),
        malignant_sensitivity=Estimate(value=0.9, low=0.8, high=1.0),
        malignant_specificity=Estimate(value=0.8, low=0.7, high=0.9),
        flips=0.0,
        malignant_flips=0.0,
    )
    blurred = msgspec.structs.replace(whole, strength=1, balanced_accuracy=Estimate(value=0.1, low=0.0, high=0.2))
    shown = html.model_card(msgspec.structs.replace(graphs.card(), figures=None, robustness=(blurred, whole)), "m")
    assert "<td>0.600 [.500, .700] on the test part</td>" in shown
    assert "<td>0.900 [.800, 1.000] on the test part</td>" in shown
    assert "0.100" not in shown


def test_a_model_from_elsewhere_is_marked_and_so_is_its_student() -> None:
    """On the page and wherever models are named."""
    origin = Adoption(
        sha256="", layout="NCHW", channels=3, mean=(0.0,), std=(1.0,), activation="logits", largest_change=0.0
    )
    adopted = graphs.card(adopted=origin)
    assert "was trained elsewhere, on slices that are not known" in html.model_card(adopted, "mine")
    assert acceptance.ADOPTED in acceptance.reservations(adopted)
    (said,) = acceptance.reservations(graphs.card(teacher="adopted:mine"))
    assert "distilled from a model that was trained elsewhere, which may have seen the test slices" in said
    assert acceptance.reservations(graphs.card(teacher="resnet18")) == []


def test_a_card_without_figures_says_so_and_shows_its_referral() -> None:
    band = Referral(threshold=0.5, target="risk", coverage=0.7, risk=0.25, n=132)
    shown = html.model_card(msgspec.structs.replace(graphs.card(), figures=None, referral=band), "m")
    assert "it was never evaluated" in shown
    assert "of 132 validation slices 70% were not referred, and 25% of those were wrong" in shown
