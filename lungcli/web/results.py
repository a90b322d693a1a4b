"""The HTML of results: a card for one picture; for several, their counts, a viewer with a slider, and a table."""

import base64
import dataclasses
from collections import Counter
from collections.abc import Sequence

import msgspec

from lungcli import DISCLAIMER
from lungcli.core.formatting import plain_json
from lungcli.modelfile.model_card import ModelCard
from lungcli.predict import prediction_csv, prediction_json, series
from lungcli.predict.predict import Outcome, Prediction
from lungcli.predict.series import SeriesVerdict
from lungcli.views import colours, prediction
from lungcli.web.html import safe
from lungcli.web.slice_worker import SliceResult

# From what a radiologist should see first to what says least.
_FINDINGS = ("suspicious", "refer", "clear", "refused", "unreadable")
_COLOURS = {"suspicious": colours.CLASSES["malignant"], "clear": colours.CLASSES["normal"], "refer": colours.REFER}
_NO_COLOUR = "#777777"


def shown(results: Sequence[SliceResult], card: ModelCard, name: str, visit: int | None = None) -> str:
    """Show results, predicted by the model called `name` with this card.

    With the number of their `visit` the page may ask for heat-maps; without, there are more results to come.
    """
    if len(results) == 1:
        return f'<div class="lung-results">{_card(results[0], card, name, visit)}</div>'
    ordered = _ordered(results)
    outcomes = [result.outcome for result in ordered]
    verdicts = _series(ordered, card)
    found: list[prediction_json.Found] = [*outcomes, *verdicts]
    first = min(range(len(ordered)), key=lambda at: _urgency(outcomes[at]))
    counts = prediction.counts(Counter(map(prediction.finding_of, outcomes)))
    cards = "".join(_card(result, card, name, visit, hidden=at != first) for at, result in enumerate(ordered))
    return (
        f'<div class="lung-results"><h2>{len(ordered)} slices: {safe(counts)}</h2>'
        f"{''.join(map(_series_line, verdicts))}"
        f'<div class="lung-viewer">{_slider(outcomes, card, first)}{cards}</div>'
        f"{_downloads(found, card, name)}{_table(ordered, card)}</div>"
    )


def _ordered(results: Sequence[SliceResult]) -> list[SliceResult]:
    """Results as they came, those of a DICOM series together from feet to head; series are called by number."""
    numbers: dict[str, str] = {}
    for result in results:
        if result.series:
            numbers.setdefault(result.series, f"series {len(numbers) + 1}")
    first = {name: at for at, name in reversed([(at, result.series) for at, result in enumerate(results)])}
    order = sorted(
        range(len(results)),
        key=lambda at: (first[results[at].series] if results[at].series else at, results[at].place, at),
    )
    return [_called(results[at], numbers.get(results[at].series, "")) for at in order]


def _called(result: SliceResult, name: str) -> SliceResult:
    predicted = result.prediction and dataclasses.replace(result.prediction, series=name)
    return msgspec.structs.replace(result, series=name, prediction=predicted)


def _series(ordered: Sequence[SliceResult], card: ModelCard) -> list[SeriesVerdict]:
    slices = Counter(result.series for result in ordered if result.series)
    return [
        series.of_slices(name, [result.outcome for result in ordered if result.series == name], card)
        for name, count in slices.items()
        if count > 1
    ]


def _series_line(verdict: SeriesVerdict) -> str:
    notes = "; ".join(part for part in (prediction.series_counts(verdict), prediction.referral(verdict)) if part)
    return f"<p><strong>{safe(verdict.series)}: {safe(prediction.headline(verdict))}</strong> ({safe(notes)})</p>"


def _urgency(outcome: Outcome) -> tuple[int, float]:
    """What sorts outcomes from the most urgent to the least: their finding, then the probability of what it is."""
    finding = prediction.finding_of(outcome)
    rank = _FINDINGS.index(finding) if finding in _FINDINGS else 0
    return rank, -(_probability(outcome) or 0.0)


def _probability(outcome: Outcome) -> float | None:
    """The probability of the positive class, without one that of the predicted class."""
    if not isinstance(outcome, Prediction):
        return None
    return outcome.probabilities[outcome.positive_class if outcome.finding else outcome.label]


def _colour(outcome: Outcome, card: ModelCard) -> str:
    if isinstance(outcome, Prediction) and not outcome.finding:
        return colours.of_class(outcome.label, card.classes)
    return _COLOURS.get(prediction.finding_of(outcome), _NO_COLOUR)


def _card(result: SliceResult, card: ModelCard, name: str, visit: int | None, *, hidden: bool = False) -> str:
    outcome = result.outcome
    heat = f' data-heat="{visit}-{result.number}"' if result.heat_input and visit is not None else ""
    answer = _answer(outcome, card, name) if isinstance(outcome, Prediction) else _no_answer(outcome)
    return (
        f'<article class="lung-card" aria-label="{safe(outcome.source)}"{heat}{" hidden" * hidden} '
        f'style="border-left-color: {_colour(outcome, card)}">{answer}{_figure(result)}</article>'
    )


def _answer(result: Prediction, card: ModelCard, name: str) -> str:
    bars = "".join(
        f'<tr><th scope="row">{safe(label)}</th><td>{share:.1%}</td><td class="lung-track"><span class="lung-bar" '
        f'style="width: {100 * share:.1f}%; background: {colours.of_class(label, card.classes)}"></span></td></tr>'
        for label, share in prediction.ranked(result.probabilities)
    )
    decided = (
        f'<p class="lung-referred">{safe(prediction.referral(result))}</p>'
        if result.referred
        else f'<p class="lung-clear">{_why_not_referred(card)}</p>'
    )
    notes = "".join(f"<p>{safe(line)}</p>" for line in (*prediction.limits(result), prediction.acquisition(result)))
    about = f"{prediction.provenance(result, name)} · {DISCLAIMER}"
    return (
        f'<div class="lung-answer"><h2>{safe(prediction.headline(result))}</h2><table>{bars}</table></div>'
        f'<div class="lung-notes">{decided}{notes}<div>{safe(about)}</div></div>'
    )


def _why_not_referred(card: ModelCard) -> str:
    met = ["familiar acquisition"] * bool(card.guard) + ["confidence above the threshold"] * bool(card.referral)
    return f"not referred: {', '.join(met) or 'this model has no limits by which it refers'}"


def _no_answer(outcome: Outcome) -> str:
    message, hint = prediction.unpredicted(outcome)  # type: ignore[arg-type]
    return (
        f'<div class="lung-answer"><h2>{safe(prediction.finding_of(outcome))}</h2>'
        f'<p class="lung-failed" role="alert"><strong>{safe(message)}</strong><br>{safe(hint)}</p></div>'
    )


def _figure(result: SliceResult) -> str:
    """The slice, over which the page lays a heat-map that can be made weaker and switched off."""
    name = safe(result.outcome.source)
    if not result.picture:
        return ""
    controls, note = "", ""
    if result.heat_input:
        controls = (
            '<div class="lung-controls"><label><input type="checkbox" class="lung-heat-on" checked disabled> heat-map'
            '</label><label>strength <input type="range" class="lung-heat-strength" min="10" max="100" value="100" '
            "disabled></label></div>"
        )
        note = '<br><span class="lung-heat-note" role="status">heat-map: after the findings of all slices</span>'
    return (
        f'<figure><div class="lung-stack"><img alt="{name}" src="{_data("image/jpeg", result.picture)}"></div>'
        f"{controls}<figcaption>{name}{note}</figcaption></figure>"
    )


def _slider(outcomes: Sequence[Outcome], card: ModelCard, first: int) -> str:
    """A slider over all slices, with a strip of their findings' colours above it."""
    strip = "".join(f'<span style="background: {_colour(outcome, card)}"></span>' for outcome in outcomes)
    count = len(outcomes)
    return (
        f'<div class="lung-strip" aria-hidden="true">{strip}</div><label class="lung-slider"><span>slice</span>'
        f'<input type="range" class="lung-slice" min="1" max="{count}" value="{first + 1}">'
        f"<output>{first + 1} of {count}</output></label>"
    )


def _downloads(found: list[prediction_json.Found], card: ModelCard, name: str) -> str:
    table = prediction_csv.head(card.classes, [name]) + "".join(
        prediction_csv.row(outcome, card.classes, [name]) for outcome in found
    )
    report = prediction_json.report(found, [name], synthetic=card.data.synthetic)
    document = plain_json(msgspec.json.format(msgspec.json.encode(report)).decode())
    links = "".join(
        f' <a download="lungcli-predictions.{suffix}" href="{_data(kind, text.encode())}">{suffix.upper()}</a>'
        for suffix, kind, text in (("csv", "text/csv", table), ("json", "application/json", document))
    )
    return f'<p class="lung-downloads">Download all results:{links}</p>'


def _table(ordered: Sequence[SliceResult], card: ModelCard) -> str:
    heads = "".join(
        f'<th scope="col"{wide}><button type="button">{safe(head)}</button></th>'
        for head, wide in (
            ("slice", ""),
            ("finding", ""),
            (prediction.probability_head(card.positive_class), ""),
            ("confidence", ' class="lung-wide"'),
        )
    )
    rows = "".join(_row(at, result, card) for at, result in enumerate(ordered))
    return (
        '<table class="lung-table"><thead><tr><th scope="col"><span class="lung-unseen">picture</span></th>'
        f"{heads}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _row(at: int, result: SliceResult, card: ModelCard) -> str:
    """A row of the table; `data-key` is what a column is sorted by."""
    outcome = result.outcome
    probability = _probability(outcome)
    rank, _ = _urgency(outcome)
    why = outcome.reason and f"<small>{safe(outcome.reason)}</small>"
    thumbnail = f'<img alt="" src="{_data("image/jpeg", result.thumbnail)}">' if result.thumbnail else ""
    confidence = outcome.confidence if isinstance(outcome, Prediction) else None
    series_name = f"<small>{safe(result.series)}</small>" if result.series else ""
    return (
        f'<tr><td>{thumbnail}</td><td data-key="{at}"><button type="button" class="lung-open" data-slice="{at + 1}">'
        f"{safe(outcome.source)}</button>{series_name}</td>"
        f'<td data-key="{rank}" style="border-left-color: {_colour(outcome, card)}">'
        f"{safe(prediction.finding_of(outcome))}{why}</td>"
        f"{_share(probability)}{_share(confidence, 'lung-wide')}</tr>"
    )


def _share(value: float | None, style: str = "") -> str:
    text = "–" if value is None else f"{value:.1%}"
    return f'<td class="lung-number {style}" data-key="{-1 if value is None else value}">{text}</td>'


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
