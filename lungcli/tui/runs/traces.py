"""Which lines a chart shows: those of the runs that are looked at, each with a look of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lungcli.tui.runs.history import History, weight
from lungcli.tui.widgets.braille_plot import Line


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """One stage of one run as it is drawn. `level`: only the final value, as a line across."""

    run: str
    stage: str
    look: int
    level: bool = False

    @property
    def label(self) -> str:
        """What the legend calls it."""
        return f"{self.run}/{self.stage}"


def traces(shown: Sequence[tuple[str, History | None]], *, teachers: bool = False) -> tuple[Trace, ...]:
    """The stages to draw of these runs, in order: students in full, and their teachers as levels.

    A teacher that has no student yet, or with `teachers`, is drawn in full.
    """
    found: list[Trace] = []
    for name, history in shown:
        stages = history.stages if history else []
        taught = [stage for stage in stages if not _teaches(stage)]
        for stage in sorted(stages, key=_teaches):
            level = _teaches(stage) and bool(taught) and not teachers
            found.append(Trace(run=name, stage=stage, look=len(found), level=level))
    return tuple(found)


def _teaches(stage: str) -> bool:
    """Say whether a stage is that of a teacher: `teacher`, `teacher-2`, …"""
    return stage.partition("-")[0] == "teacher"


def line(trace: Trace, history: History, metric: str, strength: int) -> Line | None:
    """The line of a trace in the chart of `metric`, None where there is nothing to draw."""
    if trace.level:
        final = history.final(trace.stage, metric)
        return None if final is None else Line(label=trace.label, look=trace.look, level=final)
    curve = history.curves.get((trace.stage, metric))
    if curve is None or not curve.xs:
        return None
    return Line(
        label=trace.label, look=trace.look, xs=curve.xs, ys=curve.smoothed(weight(metric, strength)), gaps=curve.gaps
    )


def lines_of(traces: Sequence[Trace], histories: Mapping[str, History], metric: str, strength: int) -> list[Line]:
    """The lines of one chart."""
    found = []
    for trace in traces:
        history = histories.get(trace.run)
        drawn = line(trace, history, metric, strength) if history else None
        if drawn is not None:
            found.append(drawn)
    return found
