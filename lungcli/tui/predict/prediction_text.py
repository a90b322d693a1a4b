"""Verdicts in words and bars: of a slice, of a DICOM series, and of a line in a table."""

from collections.abc import Mapping

from rich.text import Text

from lungcli.core.formatting import plain
from lungcli.predict.predict import Failure, Outcome, Refusal
from lungcli.predict.series import RULE, SeriesVerdict
from lungcli.tui.predict.slice_prediction import HeatMap

# A bar stands behind `malignant   58.0% `.
_BESIDE_BAR, _LONGEST_BAR = 18, 60


def verdict(found: Outcome | None, model: str, width: int) -> Text:
    """Show a verdict with its probabilities in `width` cells, or why there is none."""
    if found is None:
        return Text("")
    if isinstance(found, Failure):
        return Text.assemble(("cannot be judged\n", "bold red"), f"{plain(found.reason)}\n", (plain(found.hint), "dim"))
    if isinstance(found, Refusal):
        told = f"{plain(found.reason)}\n", (f"the guard's score is {found.score:.1f}, its limit 1", "dim")
        return Text.assemble(("no lung slice, not judged\n", "bold red"), *told)
    text = _headed(found.label, found.probabilities, width, referred=found.referred)
    if found.reason:
        text.append(f"! {plain(found.reason)}\n", "yellow")
    if found.guard:
        text.append(f"acquisition {found.guard:.1f} of the limit\n", "dim")
    if found.synthetic:
        text.append("! learned from drawn phantoms: says nothing about people\n", "bold yellow")
    return text.append(f"{plain(model)} · {found.seconds * 1000:.0f} ms\n{found.disclaimer}", "dim")


def of_series(found: SeriesVerdict, width: int) -> Text:
    """Show the verdict on a series, with what it rests on."""
    text = _headed(found.label or "no verdict", found.probabilities, width, referred=found.referred)
    if found.reason:
        text.append(f"! {plain(found.reason)}\n", "yellow")
    counts = [(found.used, "count"), (found.referred_slices, "referred"), (found.not_judged, "not judged")]
    told = ", ".join(f"{count} {what}" for count, what in counts if count)
    text.append(f"{plain(found.series)}: of {found.slices} slices {told}; {found.malignant_slices} called malignant\n")
    return text.append(RULE, "dim")


def heat(found: HeatMap | None, *, coloured: bool) -> Text:
    """Say what the heat over a slice means."""
    if found is None:
        return Text("no verdict, so nothing to explain", "dim")
    if not found.somewhere:
        return Text(f"no place speaks for {plain(found.label)}", "dim")
    what = "violet to yellow" if coloured else "right: heat, @ is most"
    return Text(f"what speaks for {plain(found.label)} ({what})")


def cells(found: Outcome | None) -> tuple[Text, Text]:
    """Show verdict and probability in a table; an arrow means that a radiologist should look."""
    if found is None:
        return Text(""), Text("")
    if isinstance(found, Failure):
        return Text("unreadable", "red"), Text("")
    if isinstance(found, Refusal):
        return Text("refused", "red"), Text("")
    mark = " →" if found.referred else ""
    return Text(plain(found.label) + mark), Text(f"{found.probabilities[found.label]:.1%}", justify="right")


def _headed(label: str, probabilities: Mapping[str, float], width: int, *, referred: bool) -> Text:
    """The class with its probability, and under it a bar for every class, the likeliest first."""
    share = f"  {probabilities[label]:.1%}" if label in probabilities else ""
    text = Text.assemble((f"{plain(label)}{share}", "bold"))
    if referred:
        text.append("  → radiologist", "bold yellow")
    text.append("\n")
    bar = max(4, min(_LONGEST_BAR, width - _BESIDE_BAR))
    for name, probability in sorted(probabilities.items(), key=lambda item: -item[1]):
        full = round(bar * probability)
        text.append(f"{plain(name):<10} {probability:6.1%} ").append("█" * full, "green")
        text.append("░" * (bar - full) + "\n", "dim")
    return text
