"""Output of `lungcli predict`: lines for people; JSON, JSON lines or CSV for programs; one JSON file per picture."""

import contextlib
import re
import sys
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lungcli.cli import console
from lungcli.core import paths
from lungcli.views import prediction

if TYPE_CHECKING:
    from lungcli.modelfile.model_file import Model
    from lungcli.predict.predict import Prediction
    from lungcli.predict.prediction_json import Found
    from lungcli.predict.series import SeriesVerdict

Format = Literal["lines", "json", "jsonl", "csv"]
Write = Callable[["Found"], None]

NOT_PREDICTED, REFERRED = 4, 6

# Cells of a line with a bar.
_WIDTH = 48

# What some platform forbids in the name of a file.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]')


@contextlib.contextmanager
def output_writer(form: Format, models: "tuple[Model, ...]", *, single: bool, top: int) -> Iterator[Write]:
    """Yield a function that writes an outcome to stdout; `json` writes them all at the end."""
    from lungcli.modelfile import model_paths
    from lungcli.predict import ensemble, prediction_csv

    names = [model_paths.name_of(model.path) for model in models]
    card = ensemble.card(models)
    if form == "json":
        from lungcli.predict.prediction_json import report

        outcomes: list[Found] = []
        yield outcomes.append
        console.print_json(report(outcomes, names, synthetic=card.data.synthetic))
    elif form == "jsonl":
        yield _write_line
    elif form == "csv":
        console.print_text(prediction_csv.head(card.classes, names))
        yield lambda outcome: console.print_text(prediction_csv.row(outcome, card.classes, names))
    elif single:
        yield lambda outcome: _show(outcome, " + ".join(names), top or len(card.classes), alone=True)
    else:
        if sys.stdout.isatty():
            head = prediction.summary_head(card.positive_class) if top < 2 else f"{'finding':<11} classes"
            console.out().print("  ".join([head, *["models"] * (len(models) > 1), "picture"]), style="dim")
        yield lambda outcome: _show(outcome, " + ".join(names), top or 1, alone=False)


def report_problem(outcome: "Found") -> int:
    """Say on stderr why there is no prediction; return the exit code of an outcome."""
    from lungcli.predict.predict import Failure, Refusal

    if isinstance(outcome, Failure | Refusal):
        console.error(*prediction.unpredicted(outcome))
        return NOT_PREDICTED
    return REFERRED if outcome.referred else 0


def exit_code(codes: Collection[int], *, strict: bool) -> int:
    """Return the exit code of a call from those of its outcomes."""
    if NOT_PREDICTED in codes:
        return NOT_PREDICTED
    return REFERRED if strict and REFERRED in codes else 0


def file_writer(folder: Path) -> Write:
    """Return a function that writes an outcome to its own file in `folder`: `scan.png.json`, `scan.png (2).json`."""
    from lungcli.predict import prediction_json
    from lungcli.predict.series import SeriesVerdict

    used_names: dict[str, int] = {}
    paths.remove_partial(folder)

    def write(outcome: "Found") -> None:
        shown = outcome.series if isinstance(outcome, SeriesVerdict) else outcome.source
        plain = _FORBIDDEN.sub("_", re.split(r"[/\\]", shown)[-1]).strip(" .")[:200] or "picture"
        key = plain.casefold()
        used_names[key] = used_names.get(key, 0) + 1
        number = f" ({used_names[key]})" if used_names[key] > 1 else ""
        paths.atomic_write(folder / f"{plain}{number}.json", prediction_json.line(outcome) + b"\n")

    return write


def _show(outcome: "Found", model: str, top: int, *, alone: bool) -> None:
    from lungcli.predict.predict import Prediction
    from lungcli.predict.series import SeriesVerdict

    out = console.out()
    if isinstance(outcome, SeriesVerdict):
        label = _columns(outcome, top)
        line = "; ".join(part for part in (prediction.series_counts(outcome), prediction.referral(outcome)) if part)
        style = "bold yellow" if outcome.referred else "bold"
        out.print(f"{label}  {console.plain(outcome.series)} as a whole ({line})", style=style, soft_wrap=True)
    elif isinstance(outcome, Prediction) and alone:
        _show_one(outcome, model, top)
    elif isinstance(outcome, Prediction):
        cells = [_columns(outcome, top), console.plain(outcome.source)]
        if outcome.opinions:
            cells.insert(1, prediction.agreement(outcome))
        note = "; ".join(part for part in (prediction.forced(outcome), prediction.referral(outcome)) if part)
        out.print("  ".join([*cells, *([f"({note})"] if note else [])]), soft_wrap=True)


def _columns(outcome: "Prediction | SeriesVerdict", top: int) -> str:
    """The finding, and the `top` likeliest classes where more than one is asked for."""
    classes = prediction.in_columns(outcome.probabilities, top) if top > 1 else ""
    return f"{outcome.finding:<11} {classes}".lstrip() if classes else prediction.summary(outcome)


def _show_one(result: "Prediction", model: str, top: int) -> None:
    out = console.out()
    out.print(prediction.headline(result), style="bold")
    out.print(prediction.probability_bars(result.probabilities, _WIDTH, top), end="")
    if result.opinions:
        out.print(f"mean of several models; {prediction.agreement(result)} predict {result.label}:")
    for opinion in result.opinions:
        label = prediction.in_columns(opinion.probabilities, 1)
        out.print(f"  {label}  {console.plain(opinion.name)} ({console.plain(opinion.model)})", soft_wrap=True)
    for note in (prediction.forced(result), prediction.referral(result)):
        if note:
            out.print(note, style="bold yellow", soft_wrap=True)
    for line in prediction.limits(result):
        out.print(line, style="dim", soft_wrap=True)
    about = f"{console.plain(result.source)} · {prediction.provenance(result, model)}"
    out.print(about, style="dim", soft_wrap=True)


def _write_line(outcome: "Found") -> None:
    from lungcli.predict.prediction_json import line

    console.print_json_text(line(outcome).decode() + "\n")
    # A reader wants each prediction as soon as it is made.
    sys.stdout.flush()
