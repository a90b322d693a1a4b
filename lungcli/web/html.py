"""What the page shows, as HTML: one card a picture, and the model's own. Foreign names are always escaped."""

import base64
import html
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli import DISCLAIMER
from lungcli.datasets.phantom import dataset
from lungcli.imaging.picture import printable
from lungcli.metrics.intervals import Estimate
from lungcli.modelfile.model_card import ModelCard
from lungcli.modelfile.model_file import Model
from lungcli.predict import explain
from lungcli.predict.explain import Explained
from lungcli.predict.inputs import Item
from lungcli.predict.predict import Prediction, Refusal, SliceImage, capture_and_predict

# Every card carries two pictures inside the page.
MOST = 32
_SIDE = 448
_HEADLINES = ("balanced_accuracy", "malignant_sensitivity", "accuracy")

STYLE = """
.lung-card { border: 1px solid var(--border-color-primary, #ccc); border-radius: 8px; padding: 1rem; margin: 0 0 1rem;
  display: flex; flex-wrap: wrap; gap: 1rem; }
.lung-pair { flex: 3 1 26rem; display: flex; flex-wrap: wrap; gap: 1rem; }
.lung-card figure { margin: 0; flex: 1 1 12rem; max-width: 22rem; }
.lung-card img { width: 100%; border-radius: 4px; display: block; background: #000; }
.lung-card figcaption, .lung-card small { opacity: .75; font-size: .85rem; }
.lung-card figcaption { overflow-wrap: anywhere; margin-top: .3rem; }
.lung-told { flex: 2 1 17rem; }
.lung-told h2 { margin: 0 0 .5rem; font-size: 1.3rem; }
.lung-flag { font-size: .8rem; font-weight: 600; color: #000; background: #f2b04c; border-radius: 4px;
  padding: .15rem .5rem; vertical-align: middle; }
.lung-told table, .lung-told td, .lung-told th, .lung-told tr { border: 0 !important; }
.lung-told td, .lung-told th { padding: .1rem .75rem .1rem 0; text-align: left; font-weight: normal;
  vertical-align: top; }
.lung-bar { display: inline-block; height: .8em; background: #3b6fb6; border-radius: 2px; vertical-align: middle; }
.lung-referred { border-left: 4px solid #d98200; padding-left: .6rem; font-weight: 600; }
.lung-clear { border-left: 4px solid #3b6fb6; padding-left: .6rem; }
.lung-failed { border-left: 4px solid #b3261e; padding-left: .6rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
"""

_WELCOME = """<p>Drop axial lung CT slices into the box, one or several, or try a drawn phantom.</p>
<p>Each slice gets a verdict with its probabilities and a heat-map of what speaks for it; a verdict that the model is
not sure enough of is referred to a radiologist, with the reason. Pictures that are no axial lung CT slices get none.
Uploads are deleted once read.</p>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A picture as it came: its name and its bytes."""

    name: str
    content: bytes


def judged(uploads: tuple[Upload, ...], model: Model) -> str:
    """Judge and explain each upload: HTML, a card each. Pictures beyond the first 32 are named, not judged."""
    shown = [_judged(upload, model) for upload in uploads[:MOST]]
    if len(uploads) > MOST:
        shown.append(
            f'<p class="lung-failed">{len(uploads) - MOST} more pictures were not judged: {MOST} at once are the most '
            "here; <code>lungcli predict FOLDER</code> has no limit</p>"
        )
    return "".join(shown) or _WELCOME


def failed(message: str, hint: str) -> str:
    """Say what failed and what to do."""
    return f'<p class="lung-failed" role="alert"><strong>{_safe(message)}</strong><br>{_safe(hint)}</p>'


def model_card(card: ModelCard, name: str) -> str:
    """Show where a model comes from and how well it works."""
    made = dict.fromkeys((card.model, card.stage, card.precision, f"{card.size} px"))
    rows = {
        "model": f"{name}: {', '.join(made)}",
        "classes": ", ".join(card.classes),
        "data": f"{card.data.name}, {card.data.slices} slices of {card.data.groups} look-alike groups; "
        f"licence {card.data.licence or 'unknown'}",
        "split": card.split.in_words(),
    }
    part, figures = _figures(card)
    for figure in (figure for figure in _HEADLINES if figure in figures):
        rows[figure.replace("_", " ")] = f"{_estimated(figures[figure])} on the {part} part"
    if not figures:
        rows["figures"] = "none in this file: nobody knows how well it works"
    if band := card.referral:
        rows["refers"] = (
            f"verdicts below {band.threshold:.1%}; of {band.n} validation slices {band.coverage:.0%} were not "
            f"referred, and {band.risk:.0%} of those verdicts were wrong"
        )
    if card.data.synthetic:
        rows["note"] = "learned from drawn phantoms: its verdicts say nothing about people"
    lines = "".join(f"<tr><th scope='row'>{_safe(key)}</th><td>{_safe(value)}</td></tr>" for key, value in rows.items())
    brackets = "In brackets: 95 % intervals over look-alike groups. " if figures else ""
    return f'<div class="lung-told"><table>{lines}</table><small>{brackets}{_safe(card.disclaimer)}</small></div>'


def example(label: str) -> Upload:
    """Draw the phantom of a class that the page offers to try."""
    patient = next(patient for patient in dataset.patients(dataset.FEWEST, seed=7) if patient.label == label)
    pixels = dataset.render(patient, patient.positions()[0])
    return Upload(name=f"drawn phantom ({label})", content=_png(pixels))


def _judged(upload: Upload, model: Model) -> str:
    found, capture = capture_and_predict(Item(shown=upload.name, source=upload.content), model, capture=True)
    if isinstance(found, Prediction):
        return _verdict(found, capture.image, model) if capture.image else ""
    if isinstance(found, Refusal):
        why = f"{found.reason}; score {found.score:.2f}, limit 1"
        message = f"no verdict on {found.source}: not an axial lung CT slice ({why})"
        return failed(message, "drop an axial slice in a lung window; lungcli predict --force judges it all the same")
    return failed(found.reason, found.hint)


def _verdict(found: Prediction, image: SliceImage, model: Model) -> str:
    explained = explain.explained(model, image, found.label)
    bars = "".join(
        f'<tr><th scope="row">{_safe(label)}</th><td>{share:.1%}</td>'
        f'<td style="width:12rem"><span class="lung-bar" style="width:{100 * share:.1f}%"></span></td></tr>'
        for label, share in sorted(found.probabilities.items(), key=lambda item: -item[1])
    )
    told = (
        f'<p class="lung-referred">Referred to a radiologist: {_safe(found.reason)}</p>'
        if found.referred
        else '<p class="lung-clear">Not referred: familiar acquisition, sure enough</p>'
    )
    flag = ' <span class="lung-flag">referred</span>' if found.referred else ""
    if not model.card.guard:
        told += "<p><small>This model does not know how its training slices were acquired.</small></p>"
    else:
        told += f"<p><small>Distance to the training slices' acquisition: {found.guard:.2f} (limit 1)</small></p>"
    return (
        f'<article class="lung-card" aria-label="{_safe(found.source)}"><div class="lung-told">'
        f"<h2>{_safe(found.label)} {found.probabilities[found.label]:.1%}{flag}</h2>"
        f"<table>{bars}</table>{told}<small>{found.seconds * 1000:.0f} ms · {_safe(DISCLAIMER)}</small></div>"
        f'<div class="lung-pair">{_figure(explain.levels(image.grey), found.source)}'
        f"{_figure(explained.picture, _caption(explained))}</div></article>"
    )


def _figures(card: ModelCard) -> tuple[str, Mapping[str, Estimate]]:
    """Which part a model was judged on, and its figures there: its own, or else those under no change of `stress`."""
    if card.figures:
        return card.figures.part, card.figures.estimates
    unchanged = next((row for row in card.robustness if not row.strength), None)
    if unchanged is None:
        return "", {}
    return "test", {
        "balanced_accuracy": unchanged.balanced_accuracy,
        "malignant_sensitivity": unchanged.malignant_sensitivity,
    }


def _estimated(found: Estimate) -> str:
    value, low, high = ("–" if part is None else f"{part:.3f}" for part in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def _caption(found: Explained) -> str:
    if found.peak is None:
        return f"no place speaks for {found.label}"
    return f"heat-map: what speaks for {found.label}, violet to yellow; most at {found.peak.x}, {found.peak.y} px"


def _figure(pixels: NDArray[np.uint8], caption: str) -> str:
    source = base64.b64encode(_png(pixels, _SIDE)).decode()
    said = _safe(caption)
    return f'<figure><img alt="{said}" src="data:image/png;base64,{source}"><figcaption>{said}</figcaption></figure>'


def _png(pixels: NDArray[np.uint8], side: int = 0) -> bytes:
    image = Image.fromarray(pixels)
    if side:
        image.thumbnail((side, side), Image.Resampling.BILINEAR)
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _safe(text: str) -> str:
    return html.escape(printable(text))
