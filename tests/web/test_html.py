"""What the page shows but for its results, without the page."""

from pathlib import Path

import msgspec

from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import Figures
from lungcli.metrics.referral import Referral
from lungcli.modelfile.model_card import Adoption, RobustnessFigures
from lungcli.views import acceptance
from lungcli.web import html
from tests.modelfile import graphs


def test_the_whole_name_of_a_model_stands_on_a_line() -> None:
    name = "compress-mobilenetv2-iqothnccd-of-several-hospitals-2/int8"
    assert f">{name}: tiny, student, float32, 32 px<" in html.model_line(graphs.card(), name)


def test_the_citation_links_its_source() -> None:
    assert (
        '<a href="https://doi.org/10.17632/bhmdr45bh2.4" target="_blank">10.17632/bhmdr45bh2.4</a>' in html.citation()
    )
    assert "CC BY 4.0" in html.citation()


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
        sensitivity=Estimate(value=0.9, low=0.8, high=1.0),
        specificity=Estimate(value=0.8, low=0.7, high=0.9),
        flips=0.0,
        positive_flips=0.0,
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


def test_a_model_of_any_picture_says_that_it_has_no_guard() -> None:
    card = graphs.card()
    shown = html.model_card(
        msgspec.structs.replace(card, data=msgspec.structs.replace(card.data, any_picture=True)), "m"
    )
    assert "it has no guard, and refuses none" in shown
    assert "guard" not in html.model_card(card, "m")
