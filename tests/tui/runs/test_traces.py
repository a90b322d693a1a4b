"""Which lines a chart has."""

from lungcli.core.events import Event
from lungcli.tui.runs import traces
from lungcli.tui.runs.history import History
from tests.tui import fakes


def of(name: str, *stages: str) -> tuple[str, History]:
    """The history of a run whose stages each had an epoch."""
    run = fakes.run(name)
    events: list[Event] = [event for stage in stages for event in fakes.epoch(stage, 1, 10, 0.5)]
    run.events.write_bytes(fakes.encoded(events))
    history = History(run.events)
    history.read()
    return name, history


def drawn(found: tuple[traces.Trace, ...]) -> list[str]:
    return [f"{trace.label}{' as a level' if trace.level else ''}" for trace in found]


def test_students_are_drawn_in_full_and_every_teacher_of_theirs_as_a_level() -> None:
    shown = [of("job", "teacher", "teacher-2", "base", "student")]
    assert drawn(traces.traces(shown)) == [
        "job/base",
        "job/student",
        "job/teacher as a level",
        "job/teacher-2 as a level",
    ]
    assert not any(trace.level for trace in traces.traces(shown, teachers=True))


def test_teachers_without_a_student_yet_are_drawn_in_full() -> None:
    shown = [of("job", "teacher", "teacher-2"), of("other", "train")]
    assert drawn(traces.traces(shown)) == ["job/teacher", "job/teacher-2", "other/train"]
    assert [trace.style for trace in traces.traces(shown)] == [0, 1, 2]
