"""A model's card as the `README.md` that the Hugging Face Hub reads: YAML metadata, then a page in Markdown.

Keys and their meaning: https://github.com/huggingface/hub-docs/blob/main/modelcard.md
"""

import json

from lungcli import DISCLAIMER
from lungcli.core.formatting import plain, plain_json
from lungcli.metrics.predictions import Figures
from lungcli.modelfile.model_card import ModelCard

_TASK = "image-classification"
_TAGS = ("onnx", "lungcli")
_CT_TAGS = ("medical", "computed-tomography", "lung")


def readme(card: ModelCard, name: str) -> str:
    """Return the page of a model called `name` there.

    There is no `license` among the metadata, and no `datasets`: the weights' licence is for whoever publishes them to
    choose, and those names would have to be of the Hub.
    """
    tags = [*_TAGS, *(() if card.data.any_picture else _CT_TAGS), card.model, card.precision]
    metadata: dict[str, object] = {"pipeline_tag": _TASK, "tags": tags}
    # Readers of metadata take its results for those of this model, and a final fit has none.
    if card.figures and not card.figures.of_run:
        metadata |= {"model-index": [_results(card, card.figures, name)]}
    # JSON is YAML, too.
    entries = [f"{key}: {plain_json(json.dumps(value, ensure_ascii=False))}" for key, value in metadata.items()]
    lines = ["---", *entries, "---", "", f"# {_text(name)}", "", f"**{DISCLAIMER}**", "", *_about(card)]
    return "\n".join([*lines, *_table(card.figures), *_use(card), ""])


def _results(card: ModelCard, figures: Figures, name: str) -> dict[str, object]:
    dataset = {"type": card.data.name, "name": card.data.name, "split": figures.part}
    metrics = [
        {"type": metric, "name": metric.replace("_", " "), "value": round(estimate.value, 4)}
        for metric, estimate in figures.estimates.items()
        if estimate.value is not None
    ]
    result = {"task": {"type": _TASK, "name": "Image Classification"}, "dataset": dataset, "metrics": metrics}
    return {"name": name, "results": [result]}


def _text(text: str) -> str:
    """Return a foreign text on one line, in which nothing is Markdown or HTML."""
    return "".join(f"\\{sign}" if sign in "\\`*_[]<>#|&" else sign for sign in plain(text))


def _about(card: ModelCard) -> list[str]:
    pictures = "pictures of any kind" if card.data.any_picture else "axial lung CT slices"
    facts = {
        "net": f"{card.model}, {card.parameters:,} parameters, {card.precision}",
        "classes": ", ".join(card.classes),
        "input": f"{pictures}, prepared by lungcli: {card.size} × {card.size} pixels ({card.recipe.resize})",
        "trained on": "drawn slices, which say nothing about people" if card.data.synthetic else card.data.name,
        "licence of the data": card.data.licence,
        "source of the data": card.data.citation,
        "split": card.split.in_words(),
        "teacher": card.teacher,
    }
    lines = [f"- {title}: {_text(fact)}" for title, fact in facts.items() if fact]
    if card.adopted:
        lines.append("- trained elsewhere: it may have seen any slice that it is evaluated on")
    if card.data.any_picture:
        lines.append("- it has no guard, and refuses no picture")
    return [*lines, ""]


def _table(figures: Figures | None) -> list[str]:
    if not figures:
        return ["It has not been evaluated.", ""]
    rows = [
        f"| {_text(name.replace('_', ' '))} | {estimate.value:.3f} | {estimate.low:.3f} to {estimate.high:.3f} |"
        for name, estimate in figures.estimates.items()
        if None not in (estimate.value, estimate.low, estimate.high)
    ]
    part = f"{figures.part} part, {figures.protocol} split"
    if figures.of_run:
        part += f"; of the same recipe without these slices, {_text(figures.of_run)}"
    return [
        f"On {figures.n} slices of {figures.groups} near-duplicate groups ({part}):",
        "",
        "| figure | value | 95 % interval |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _use(card: ModelCard) -> list[str]:
    referral = ["", "Slices below its referral threshold are referred to a radiologist."] if card.referral else []
    return ["```sh", "lungcli predict scan.png --model model.onnx", "```", *referral]
