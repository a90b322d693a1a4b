"""The HTML of the page but for its results, see `results`. Foreign names are always escaped."""

import html
from collections.abc import Mapping
from pathlib import Path

from lungcli.core import package_data
from lungcli.evaluation.acceptance import METRIC
from lungcli.imaging.picture import printable
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.predictions import sensitivity_of
from lungcli.modelfile.model_card import ModelCard
from lungcli.views import acceptance, prediction
from lungcli.views.evaluation import rests_on
from lungcli.views.figures import with_interval

STYLE = Path(__file__).with_name("page.css").read_text("utf-8")
# Between the component that asks the server for heat-maps and page.js.
HEAT_SCRIPT = """
document.addEventListener("lung-heat-wanted", (event) => trigger("input", event.detail));
watch("value", () => document.dispatchEvent(new CustomEvent("lung-heat", { detail: props.value })));
"""
HEAD = f"<script>{Path(__file__).with_name('page.js').read_text('utf-8')}</script>"

WELCOME = """<p>Drop axial lung CT slices into the box, one or several, or try an example.</p>
<p>Each slice gets a finding, probabilities, and a heat-map of the regions that support the predicted class. Predictions
that the model is not sure of are referred to a radiologist, with the reason. Pictures that are no axial lung CT slices
are refused. Uploads are deleted once read, and forgotten within ten minutes of their last use.</p>"""


def error_message(message: str, hint: str) -> str:
    """Show what failed and what to do."""
    return f'<p class="lung-failed" role="alert"><strong>{safe(message)}</strong><br>{safe(hint)}</p>'


def progress(done: int, total: int) -> str:
    """Say how many pictures of all have a prediction."""
    return (
        f'<div class="lung-progress"><span>{done} of {total}</span>'
        f'<progress max="{total}" value="{done}" aria-label="predicted slices"></progress></div>'
    )


def unseen(text: str) -> str:
    """A text for those who hear the page."""
    return f'<span class="lung-unseen">{safe(text)}</span>'


def citation() -> str:
    """Say where the examples come from."""
    source = html.escape(package_data.SLICES_SOURCE)
    linked = source.replace(
        doi := package_data.SLICES_DOI, f'<a href="https://doi.org/{doi}" target="_blank">{doi}</a>'
    )
    return (
        f'<p class="lung-citation">Real slices: {linked}; a model trained on that set may have seen them. Drawn '
        "ones are phantoms, and a model trained on real slices may be wrong about them.</p>"
    )


def model_line(card: ModelCard, name: str) -> str:
    """The whole name of a model and what it is, on a line."""
    return f'<p class="lung-model">{safe(name)}: {safe(_description(card))}</p>'


def model_card(card: ModelCard, name: str) -> str:
    """Show the origin of a model, and its figures."""
    rows = {
        "model": f"{name}: {_description(card)}",
        "classes": ", ".join(card.classes),
        "data": f"{card.data.name}, {rests_on(card.data.slices, card.data.groups)}; "
        f"licence {card.data.licence or 'unknown'}",
        "split": card.split.in_words(),
    }
    part, figures = _figures(card)
    headlines = (METRIC, sensitivity_of(card.positive_class), "accuracy")
    for figure in (figure for figure in headlines if figure in figures):
        rows[figure.replace("_", " ")] = f"{with_interval(figures[figure])} on the {part}"
    if not figures:
        rows["figures"] = "none in this file: it was never evaluated"
    if point := card.operating_point:
        rows["suspicious"] = (
            f"for {prediction.condition(card.positive_class)} from a probability of {point.threshold:.1%} "
            f"({point.target}); on {point.n} {card.chosen_on} sensitivity {point.sensitivity:.0%}, "
            f"specificity {point.specificity:.0%}"
        )
    if band := card.referral:
        rows["refers"] = (
            f"predictions below a confidence of {band.threshold:.1%}; of {band.n} {card.chosen_on} "
            f"{band.coverage:.0%} were not referred, and {band.risk:.0%} of those were wrong"
        )
    if notes := [prediction.SYNTHETIC] * card.data.synthetic + [acceptance.ADOPTED] * (card.adopted is not None):
        rows["note"] = "; ".join(notes)
    if card.data.any_picture:
        rows["guard"] = prediction.UNGUARDED
    lines = "".join(f"<tr><th scope='row'>{safe(key)}</th><td>{safe(value)}</td></tr>" for key, value in rows.items())
    brackets = "In brackets: 95 % intervals over near-duplicate groups. " if figures else ""
    return f'<div class="lung-about"><table>{lines}</table><small>{brackets}{safe(card.disclaimer)}</small></div>'


def _description(card: ModelCard) -> str:
    return ", ".join(dict.fromkeys((card.model, card.stage, card.precision, f"{card.size} px")))


def _figures(card: ModelCard) -> tuple[str, Mapping[str, Estimate]]:
    """The part a model was evaluated on, with its own figures there, or those of the unchanged slices of `stress`."""
    if card.figures:
        of_run = f" of {card.figures.of_run}, of the same recipe" if card.figures.of_run else ""
        return f"{card.figures.part} part{of_run}", card.figures.estimates
    unchanged = next((row for row in card.robustness if not row.strength), None)
    if unchanged is None:
        return "", {}
    return "test part", {
        METRIC: unchanged.balanced_accuracy,
        sensitivity_of(card.positive_class): unchanged.sensitivity,
    }


def safe(text: str) -> str:
    """Make a foreign text harmless within HTML."""
    return html.escape(printable(text))
