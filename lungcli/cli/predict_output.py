"""How verdicts are shown: to people as lines, to programs as JSON, JSON lines or CSV, and one file each."""

import contextlib
import csv
import io
import re
import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from lungcli.cli import console
from lungcli.views import prediction

if TYPE_CHECKING:
    from lungcli.modelfile.model_file import Model
    from lungcli.predict.predict import Prediction
    from lungcli.predict.prediction_json import Found

Format = Literal["lines", "json", "jsonl", "csv"]
Write = Callable[["Found"], None]

UNJUDGED, REFERRED = 4, 6

# Cells of a line with a bar.
_WIDTH = 48

# What no platform allows in the name of a file.
_FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]')


@contextlib.contextmanager
def writing(form: Format, judges: "tuple[Model, ...]", *, single: bool, top: int) -> Iterator[Write]:
    """Yield what writes each outcome to stdout in the order it is called; `json` writes when all are known."""
    from lungcli.modelfile import model_paths
    from lungcli.predict import ensemble

    names = [model_paths.name_of(model.path) for model in judges]
    card = ensemble.card(judges)
    if form == "json":
        from lungcli.predict.prediction_json import report

        found: list[Found] = []
        yield found.append
        console.print_json(report(found, names, synthetic=card.data.synthetic))
    elif form == "jsonl":
        yield _write_line
    elif form == "csv":
        yield _csv(card.classes, names)
    elif single:
        yield lambda outcome: _show(outcome, " + ".join(names), top or len(card.classes), alone=True)
    else:
        if sys.stdout.isatty():
            console.out().print(f"{'verdict':<10} {'':>6}  picture", style="dim")
        yield lambda outcome: _show(outcome, " + ".join(names), top or 1, alone=False)


def complain(found: "Found") -> int:
    """Say on stderr why there is no prediction; return the exit code of an outcome."""
    from lungcli.predict.predict import Failure, Refusal

    if isinstance(found, Failure | Refusal):
        console.error(*prediction.unpredicted(found))
        return UNJUDGED
    return REFERRED if found.referred else 0


def exit_code(codes: Collection[int], *, strict: bool) -> int:
    """Return the exit code of a call from those of its outcomes."""
    if UNJUDGED in codes:
        return UNJUDGED
    return REFERRED if strict and REFERRED in codes else 0


def filed(folder: Path) -> Write:
    """Return what writes each outcome into a file of its own in `folder`: `scan.png.json`, `scan.png (2).json`."""
    from lungcli.core import paths
    from lungcli.predict import prediction_json as reported
    from lungcli.predict.series import SeriesVerdict

    taken: dict[str, int] = {}
    paths.remove_partial(folder)

    def write(found: "Found") -> None:
        shown = found.series if isinstance(found, SeriesVerdict) else found.source
        plain = _FORBIDDEN.sub("_", re.split(r"[/\\]", shown)[-1]).strip(" .")[:200] or "picture"
        key = plain.casefold()
        taken[key] = taken.get(key, 0) + 1
        number = f" ({taken[key]})" if taken[key] > 1 else ""
        paths.atomic_write(folder / f"{plain}{number}.json", reported.line(found) + b"\n")

    return write


def _show(found: "Found", model: str, top: int, *, alone: bool) -> None:
    from lungcli.predict.predict import Prediction
    from lungcli.predict.series import SeriesVerdict

    out = console.out()
    if isinstance(found, SeriesVerdict):
        label = prediction.in_columns(found.probabilities, top) or f"{'no prediction':<17}"
        line = "; ".join(part for part in (prediction.series_counts(found), prediction.referral(found)) if part)
        style = "bold yellow" if found.referred else "bold"
        out.print(f"{label}  {console.plain(found.series)} as a whole ({line})", style=style, soft_wrap=True)
    elif isinstance(found, Prediction) and alone:
        _show_one(found, model, top)
    elif isinstance(found, Prediction):
        cells = [prediction.in_columns(found.probabilities, top), console.plain(found.source)]
        if found.opinions:
            cells.insert(1, prediction.agreement(found))
        note = "; ".join(part for part in (prediction.forced(found), prediction.referral(found)) if part)
        out.print("  ".join([*cells, *([f"({note})"] if note else [])]), soft_wrap=True)


def _show_one(found: "Prediction", model: str, top: int) -> None:
    out = console.out()
    out.print(prediction.headline(found.label, found.probabilities), style="bold")
    out.print(prediction.probability_bars(found.probabilities, _WIDTH, top), end="")
    if found.opinions:
        out.print(f"mean of several models; {prediction.agreement(found)} predict {found.label}:")
    for each in found.opinions:
        label = prediction.in_columns(each.probabilities, 1)
        out.print(f"  {label}  {console.plain(each.name)} ({console.plain(each.model)})", soft_wrap=True)
    for note in (prediction.forced(found), prediction.referral(found)):
        if note:
            out.print(note, style="bold yellow", soft_wrap=True)
    about = f"{console.plain(found.source)} · {prediction.provenance(found, model)}"
    out.print(about, style="dim", soft_wrap=True)


def _write_line(found: "Found") -> None:
    from lungcli.predict.prediction_json import line

    console.print_text(line(found).decode())
    # Whoever reads this wants each verdict when it is made.
    sys.stdout.flush()


def _csv(classes: Sequence[str], names: Sequence[str]) -> Write:
    """Write the head of a table, and return what adds an outcome to it. Cells that don't apply are empty.

    Several models have columns of their own after all others.
    """
    from lungcli.predict.predict import Prediction, Refusal
    from lungcli.predict.prediction_json import KINDS
    from lungcli.predict.series import SeriesVerdict

    head = ["kind", "source", "series", "verdict", *classes, "referred", "reason", "score", "forced", "seconds"]
    several = names if len(names) > 1 else ()
    own = ["agreement", *(f"{name}: {what}" for name in several for what in ("verdict", "probability"))]
    _write_row([*head, *own] if several else head)
    nothing = [""] * len(own) if several else []

    def write(found: "Found") -> None:
        kind = KINDS[type(found)]
        if isinstance(found, Prediction | SeriesVerdict):
            cells = [found.series, found.label, *(found.probabilities.get(name, "") for name in classes)]
            cells += ["yes" if found.referred else "no", found.reason]
            if isinstance(found, Prediction):
                cells += [found.guard, "yes" if found.forced else "no", round(found.seconds, 4)]
                _write_row([kind, found.source, *cells, *_own_cells(found)])
            else:
                _write_row([kind, "", *cells, "", "", "", *nothing])
        else:
            score = found.score if isinstance(found, Refusal) else ""
            _write_row([kind, found.source, "", "", *("" for _ in classes), "", found.reason, score, "", "", *nothing])

    return write


def _own_cells(found: "Prediction") -> list[object]:
    """Agreement, and of each of several models its verdict and how probable it holds it; empty for one model."""
    own = [cell for each in found.opinions for cell in (each.label, each.probabilities[each.label])]
    return [found.agreement, *own] if own else []


def _write_row(cells: Sequence[object]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    console.print_text(text.getvalue())
