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

if TYPE_CHECKING:
    from lungcli.modelfile.model_file import Model
    from lungcli.predict.predict import Prediction, Refusal
    from lungcli.predict.prediction_json import Found
    from lungcli.predict.series import SeriesVerdict

Format = Literal["lines", "json", "jsonl", "csv"]
Write = Callable[["Found"], None]

UNJUDGED, REFERRED = 4, 6

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
    """Tell on stderr why there is no verdict; return the exit code of an outcome."""
    from lungcli.predict.predict import Failure, Refusal

    if isinstance(found, Failure):
        console.error(found.reason, found.hint)
        return UNJUDGED
    if isinstance(found, Refusal):
        _tell_refusal(found)
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


def _tell_refusal(found: "Refusal") -> None:
    console.error(
        f"no verdict on {found.source}: not an axial lung CT slice ({found.reason}; score {found.score:.2f}, limit 1)",
        "judge it all the same, marked: --force",
    )


def _show(found: "Found", model: str, top: int, *, alone: bool) -> None:
    from lungcli.predict.predict import Prediction
    from lungcli.predict.series import SeriesVerdict

    if isinstance(found, SeriesVerdict):
        _show_series(found, top)
    elif isinstance(found, Prediction) and alone:
        _show_one(found, model, top)
    elif isinstance(found, Prediction):
        note = f"  ({console.plain(_note(found))})" if found.referred else ""
        agreed = f"  {_agreed(found)}" if found.opinions else ""
        ranked = _ranked(found.probabilities, top)
        console.out().print(f"{ranked}{agreed}  {console.plain(found.source)}{note}", soft_wrap=True)


def _note(found: "Prediction") -> str:
    forced = "forced, not an axial lung CT slice; " if found.forced else ""
    return f"{forced}referred to a radiologist: {found.reason}"


def _agreed(found: "Prediction") -> str:
    """`2 of 3`: how many models say what the mean says."""
    return f"{sum(each.label == found.label for each in found.opinions)} of {len(found.opinions)}"


def _show_one(found: "Prediction", model: str, top: int) -> None:
    out = console.out()
    out.print(f"{found.label}  {found.probabilities[found.label]:.1%}", style="bold")
    for label, probability in _sorted(found.probabilities)[:top]:
        bar = "█" * round(30 * probability)
        out.print(f"  {label:<10} {probability:6.1%}  {bar}")
    if found.opinions:
        out.print(f"the mean of several models, of which {_agreed(found)} say {found.label}:")
    for each in found.opinions:
        out.print(f"  {_ranked(each.probabilities, 1)}  {console.plain(each.name)} ({each.model})", soft_wrap=True)
    if found.referred:
        out.print(console.plain(_note(found)), style="bold yellow", soft_wrap=True)
    averaged = f" · mean of {found.views} views" if found.views > 1 else ""
    out.print(
        f"{console.plain(found.source)} · {console.plain(model)} ({found.model}){averaged} · "
        f"{found.seconds * 1000:.0f} ms",
        style="dim",
        soft_wrap=True,
    )


def _show_series(found: "SeriesVerdict", top: int) -> None:
    counts = f"{found.used} of {found.slices} slices"
    if found.referred_slices:
        counts += f", {found.referred_slices} referred"
    if found.not_judged:
        counts += f", {found.not_judged} not judged"
    verdict = _ranked(found.probabilities, top) if found.label else f"{'no verdict':<10} {'–':>6}"
    note = f"; referred to a radiologist: {found.reason}" if found.referred else ""
    line = f"{verdict}  {console.plain(found.series)} as a whole ({counts}{note})"
    console.out().print(line, style="bold yellow" if found.referred else "bold", soft_wrap=True)


def _ranked(probabilities: dict[str, float], top: int) -> str:
    """`malignant   81.2%`, and with `top` 2 `malignant   81.2%  benign      12.0%`."""
    return "  ".join(f"{label:<10} {value:6.1%}" for label, value in _sorted(probabilities)[:top])


def _sorted(probabilities: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(probabilities.items(), key=lambda item: -item[1])


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
