"""The HTML of the page: a card for each picture, and the model card. Foreign names are always escaped."""

import base64
import html
import io
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli import DISCLAIMER
from lungcli.datasets.phantom import dataset
from lungcli.evaluation.acceptance import METRIC
from lungcli.imaging.picture import printable
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import sensitivity_of
from lungcli.modelfile import model_paths
from lungcli.modelfile.model_card import ModelCard
from lungcli.modelfile.model_file import Model
from lungcli.predict import explain, timed_reading
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Prediction, SliceImage, capture_and_predict
from lungcli.views import acceptance, prediction
from lungcli.views.evaluation import rests_on
from lungcli.views.figures import with_interval

# Every card embeds two pictures in the page.
MAX_PICTURES = 32
_MOST_SECONDS = 30.0
_SIDE = 448

STYLE = """
.lung-card { border: 1px solid var(--border-color-primary, #ccc); border-radius: 8px; padding: 1rem; margin: 0 0 1rem;
  display: flex; flex-wrap: wrap; gap: 1rem; }
.lung-pair { flex: 3 1 26rem; display: flex; flex-wrap: wrap; gap: 1rem; }
.lung-card figure { margin: 0; flex: 1 1 12rem; max-width: 22rem; }
.lung-card img { width: 100%; border-radius: 4px; display: block; background: #000; }
.lung-card figcaption, .lung-card small { opacity: .75; font-size: .85rem; }
.lung-card figcaption { overflow-wrap: anywhere; margin-top: .3rem; }
.lung-result { flex: 2 1 17rem; }
.lung-result h2 { margin: 0 0 .5rem; font-size: 1.3rem; }
.lung-result table, .lung-result td, .lung-result th, .lung-result tr { border: 0 !important; }
.lung-result td, .lung-result th { padding: .1rem .75rem .1rem 0; text-align: left; font-weight: normal;
  vertical-align: top; }
.lung-bar { display: inline-block; height: .8em; background: #3b6fb6; border-radius: 2px; vertical-align: middle; }
.lung-referred { border-left: 4px solid #d98200; padding-left: .6rem; font-weight: 600; }
.lung-result p::first-letter { text-transform: uppercase; }
.lung-clear { border-left: 4px solid #3b6fb6; padding-left: .6rem; }
.lung-failed { border-left: 4px solid #b3261e; padding-left: .6rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
"""

_WELCOME = """<p>Drop axial lung CT slices into the box, one or several, or try a drawn phantom.</p>
<p>Each slice gets a predicted class, probabilities, and a heat-map of the regions that support the class. Predictions
that the model is not sure of are referred to a radiologist, with the reason. Pictures that are no axial lung CT slices
are refused. Uploads are deleted once read.</p>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """An uploaded picture: its name and its bytes."""

    name: str
    content: bytes


def prediction_cards(uploads: tuple[Upload, ...], model: Model) -> str:
    """Predict and explain each upload: HTML, a card each. Pictures beyond the first 32 are only counted.

    So are those whose turn comes only after 30 s: others wait for the page, too.
    """
    ends = time.monotonic() + _MOST_SECONDS
    shown: list[str] = []
    for upload in uploads[:MAX_PICTURES]:
        if time.monotonic() > ends:
            left = len(uploads[:MAX_PICTURES]) - len(shown)
            shown.append(error_message(f"{left} more pictures have no prediction: these took too long", "send fewer"))
            break
        shown.append(_card(upload, model))
    if len(uploads) > MAX_PICTURES:
        shown.append(
            f'<p class="lung-failed">{len(uploads) - MAX_PICTURES} more pictures have no prediction: the page takes '
            f"{MAX_PICTURES} at once; <code>lungcli predict FOLDER</code> has no limit</p>"
        )
    return "".join(shown) or _WELCOME


def error_message(message: str, hint: str) -> str:
    """Show what failed and what to do."""
    return f'<p class="lung-failed" role="alert"><strong>{_safe(message)}</strong><br>{_safe(hint)}</p>'


def model_card(card: ModelCard, name: str) -> str:
    """Show the origin of a model, and its figures."""
    description = dict.fromkeys((card.model, card.stage, card.precision, f"{card.size} px"))
    rows = {
        "model": f"{name}: {', '.join(description)}",
        "classes": ", ".join(card.classes),
        "data": f"{card.data.name}, {rests_on(card.data.slices, card.data.groups)}; "
        f"licence {card.data.licence or 'unknown'}",
        "split": card.split.in_words(),
    }
    part, figures = _figures(card)
    headlines = (METRIC, sensitivity_of(card.positive_class), "accuracy")
    for figure in (figure for figure in headlines if figure in figures):
        rows[figure.replace("_", " ")] = f"{with_interval(figures[figure])} on the {part} part"
    if not figures:
        rows["figures"] = "none in this file: it was never evaluated"
    if point := card.operating_point:
        rows["suspicious"] = (
            f"for {prediction.condition(card.positive_class)} from a probability of {point.threshold:.1%} "
            f"({point.target}); on {point.n} validation slices sensitivity {point.sensitivity:.0%}, "
            f"specificity {point.specificity:.0%}"
        )
    if band := card.referral:
        rows["refers"] = (
            f"predictions below a confidence of {band.threshold:.1%}; of {band.n} validation slices "
            f"{band.coverage:.0%} were not referred, and {band.risk:.0%} of those were wrong"
        )
    if notes := [prediction.SYNTHETIC] * card.data.synthetic + [acceptance.ADOPTED] * (card.adopted is not None):
        rows["note"] = "; ".join(notes)
    if card.data.any_picture:
        rows["guard"] = prediction.UNGUARDED
    lines = "".join(f"<tr><th scope='row'>{_safe(key)}</th><td>{_safe(value)}</td></tr>" for key, value in rows.items())
    brackets = "In brackets: 95 % intervals over near-duplicate groups. " if figures else ""
    return f'<div class="lung-result"><table>{lines}</table><small>{brackets}{_safe(card.disclaimer)}</small></div>'


def example(label: str) -> Upload:
    """Draw the phantom of a class that the page offers to try."""
    patient = next(patient for patient in dataset.patients(dataset.FEWEST, seed=7) if patient.label == label)
    pixels = dataset.render(patient, patient.positions()[0])
    return Upload(name=f"drawn phantom ({label})", content=_png(pixels))


def _card(upload: Upload, model: Model) -> str:
    item = Item(shown=upload.name, source=upload.content)
    outcome, capture = capture_and_predict(item, model, capture=True, seconds=timed_reading.SECONDS)
    if isinstance(outcome, Prediction):
        return _prediction_card(outcome, capture.image, model) if capture.image else ""
    return error_message(*prediction.unpredicted(outcome))


def _prediction_card(result: Prediction, image: SliceImage, model: Model) -> str:
    explained = explain.explained(model, image, result.label)
    bars = "".join(
        f'<tr><th scope="row">{_safe(label)}</th><td>{share:.1%}</td>'
        f'<td style="width:12rem"><span class="lung-bar" style="width:{100 * share:.1f}%"></span></td></tr>'
        for label, share in prediction.ranked(result.probabilities)
    )
    notes = (
        f'<p class="lung-referred">{_safe(prediction.referral(result))}</p>'
        if result.referred
        else '<p class="lung-clear">Not referred: familiar acquisition, confidence above the threshold</p>'
    )
    notes += "".join(f"<p><small>{_safe(line)}</small></p>" for line in prediction.limits(result))
    notes += f"<p><small>{_safe(prediction.acquisition(result))}</small></p>"
    about = prediction.provenance(result, model_paths.name_of(model.path))
    caption = prediction.heat_map(explained.label, peak=explained.peak, coloured=True)
    return (
        f'<article class="lung-card" aria-label="{_safe(result.source)}"><div class="lung-result">'
        f"<h2>{_safe(prediction.headline(result))}</h2>"
        f"<table>{bars}</table>{notes}<small>{_safe(about)} · {_safe(DISCLAIMER)}</small></div>"
        f'<div class="lung-pair">{_figure(explain.levels(image.grey), result.source)}'
        f"{_figure(explained.picture, caption)}</div></article>"
    )


def _figures(card: ModelCard) -> tuple[str, Mapping[str, Estimate]]:
    """The part a model was evaluated on, with its own figures there, or those of the unchanged slices of `stress`."""
    if card.figures:
        return card.figures.part, card.figures.estimates
    unchanged = next((row for row in card.robustness if not row.strength), None)
    if unchanged is None:
        return "", {}
    return "test", {
        METRIC: unchanged.balanced_accuracy,
        sensitivity_of(card.positive_class): unchanged.malignant_sensitivity,
    }


def _figure(pixels: NDArray[np.uint8], caption: str) -> str:
    source = base64.b64encode(_png(pixels, _SIDE)).decode()
    text = _safe(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{source}"><figcaption>{text}</figcaption></figure>'


def _png(pixels: NDArray[np.uint8], side: int = 0) -> bytes:
    image = Image.fromarray(pixels)
    if side:
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _safe(text: str) -> str:
    return html.escape(printable(text))
