"""Which lines a chart shows: those of the runs that are shown, each with a style of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lungcli.tui.runs.history import History, weight
from lungcli.tui.widgets import braille_plot
from lungcli.tui.widgets.braille_plot import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One stage of one run as it is drawn. `level`: only the final value, as a line across."""

    run: str
    stage: str
    style: int
    level: bool = False

    @property
    def label(self) -> str:
        """What the legend calls it."""
        return f"{self.run}/{self.stage}"

    @property
    def mark(self) -> str:
        """The sign that tells it from others without colours."""
        return braille_plot.mark(self.style, level=self.level)


def traces(shown: Sequence[tuple[str, History | None]], *, teachers: bool = False) -> tuple[Trace, ...]:
    """The stages to draw of these runs, in order: students in full, and their teachers as levels.

    A teacher that has no student yet, or with `teachers`, is drawn in full.
    """
    drawn: list[Trace] = []
    for name, history in shown:
        stages = history.stages if history else []
        has_student = not all(map(_is_teacher, stages))
        for stage in sorted(stages, key=_is_teacher):
            level = _is_teacher(stage) and has_student and not teachers
            drawn.append(Trace(run=name, stage=stage, style=len(drawn), level=level))
    return tuple(drawn)


def _is_teacher(stage: str) -> bool:
    """Whether a stage is that of a teacher: `teacher`, `teacher-2`, …"""
    return stage.partition("-")[0] == "teacher"


def lines_of(traces: Sequence[Trace], histories: Mapping[str, History], metric: str, strength: int) -> list[Line]:
    """The lines of the chart of `metric`, smoothed with a `strength` of `history.SMOOTHINGS`."""
    lines = (_line(trace, histories.get(trace.run), metric, strength) for trace in traces)
    return [line for line in lines if line is not None]


def _line(trace: Trace, history: History | None, metric: str, strength: int) -> Line | None:
    if history is None:
        return None
    if trace.level:
        final = history.final(trace.stage, metric)
        return None if final is None else Line(label=trace.label, style=trace.style, level=final)
    curve = history.curves.get((trace.stage, metric))
    if curve is None or not curve.xs:
        return None
    ys = curve.smoothed(weight(metric, strength))
    return Line(label=trace.label, style=trace.style, xs=curve.xs, ys=ys, gaps=curve.gaps)
