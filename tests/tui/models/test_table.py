"""The comparison table without a widget."""

from pathlib import Path

import msgspec
import pytest

from lungcli.core import package_data
from lungcli.evaluation import benchmark
from lungcli.evaluation.benchmark import Measurement
from lungcli.evaluation.compare import Row
from lungcli.metrics.intervals import Estimate
from lungcli.modelfile import model_paths
from lungcli.tui.models import table
from lungcli.tui.models.table import Entry
from lungcli.views.evaluation import SYNTHETIC
from tests.cli.test_tables import row
from tests.metrics.test_predictions import evaluation
from tests.modelfile import graphs
from tests.tui import stage

TEACHER = row("teacher", "bbmmnn")
INT8 = row("int8", "bnmmnn", "int8", Estimate(value=-1 / 6, low=-0.5, high=0.0))
UNTIMED = msgspec.structs.replace(INT8, name="run [1]/student")


def entries(*rows: Row) -> list[Entry]:
    return [Entry(name=item.name, path=Path("m"), row=item) for item in rows]


def random_split(item: Row) -> Row:
    figures = evaluation("bbmmnn").figures()
    return msgspec.structs.replace(
        item, name="run [1]/leak", figures=msgspec.structs.replace(figures, protocol="random")
    )


def test_ratios_are_in_words() -> None:
    assert table.times(11.3, 44.68, "smaller", "larger") == "4.0× smaller"
    assert table.times(50.0, 10.0, "faster", "slower") == "5.0× slower"
    assert table.times(10.0, 10.01, "smaller", "larger") == "same"
    assert table.times(0, 10.0, "smaller", "larger") == "–"


def test_a_row_beside_the_pinned_one() -> None:
    (entry,) = entries(INT8)
    assert table.summary(entry, TEACHER) == (
        "run [1]/int8: 4.0× smaller, -0.167 n.s. [-.500, +.000] balanced accuracy to run [1]/teacher"
    )
    assert "is pinned" in table.summary(entries(TEACHER)[0], TEACHER)
    other = msgspec.structs.replace(INT8, difference=None)
    assert table.summary(entries(msgspec.structs.replace(other, not_compared="so"))[0], TEACHER) == (
        "run [1]/int8: 4.0× smaller than run [1]/teacher; so"
    )
    assert "not evaluated on the same slices" in table.summary(entries(other)[0], TEACHER)


def test_a_faster_row_says_so() -> None:
    quick = Measurement(name="q", p50=0.617, p90=1, p99=1, mean=1, n=9, threads=2, batch=1, bytes=1)
    assert "2.0× faster" in table.summary(entries(msgspec.structs.replace(INT8, latency=quick))[0], TEACHER)


@pytest.mark.parametrize("title", table.TITLES)
@pytest.mark.parametrize("down", [False, True])
def test_every_column_sorts_and_unusable_files_stay_last(title: str, down: bool) -> None:
    broken = Entry(name="broken", path=Path("b"), problem="too old")
    ordered = table.in_order([broken, *entries(TEACHER, INT8, UNTIMED)], title, down=down)
    assert len(ordered) == 4
    assert ordered[-1] is broken


def test_values_order_rows_and_dashes_come_after() -> None:
    rows = entries(UNTIMED, TEACHER, INT8)
    assert table.in_order(rows, "p50 ms", down=False)[0].name == TEACHER.name
    assert table.in_order(rows, "p50 ms", down=True)[0].name == TEACHER.name
    assert table.in_order(rows, "size", down=True)[0].name == TEACHER.name
    assert [item.name for item in table.in_order(rows, "balanced accuracy", down=False)][-1] == TEACHER.name


def test_figures_of_a_random_split_are_marked_without_colour_too() -> None:
    column = table.column_of("balanced accuracy")
    assert table.cell(column, random_split(TEACHER), None).plain == "1.000 [1.000, 1.000] †"
    assert table.cell(column, TEACHER, None).plain == "1.000 [1.000, 1.000]"
    assert table.cell(table.column_of("size"), random_split(TEACHER), None).plain == "44.68 MB"
    assert table.notes(entries(random_split(TEACHER)))[0] == table.RANDOM_NOTE


def test_the_best_of_those_evaluated_alike_are_marked() -> None:
    best = table.best(entries(TEACHER, INT8, random_split(TEACHER)), TEACHER)
    assert best == {(INT8.name, "size"), (TEACHER.name, "balanced accuracy")}, "nothing is best where all are alike"
    column = table.column_of("size")
    assert table.cell(column, INT8, TEACHER, best=True).plain == f"11.30 MB{table.BEST}"
    assert table.best(entries(TEACHER, INT8), None) == set()


def test_an_interval_is_left_out_where_there_is_no_room() -> None:
    assert table.cell(table.column_of("balanced accuracy"), TEACHER, None, interval=False).plain == "1.000"


def test_a_latency_taken_under_load_is_marked_and_named() -> None:
    assert TEACHER.latency is not None
    slowed = msgspec.structs.replace(TEACHER, latency=msgspec.structs.replace(TEACHER.latency, load=1.9))
    assert table.cell(table.column_of("p50 ms"), slowed, None).plain == "1.23‡"
    assert table.notes(entries(slowed))[-1].startswith("‡ timed while other processes used 1.9 cores")
    assert not any("‡" in note for note in table.notes(entries(TEACHER)))


def test_what_was_measured_once_is_shown_again() -> None:
    path = stage.add(stage.run(), "base", evaluation("bbmmnn"))
    assert TEACHER.latency is not None
    benchmark.keep([path], [TEACHER.latency])
    rows = {entry.name: entry.row for entry in table.read_all("")}
    timed = {name: row.latency.p50 for name, row in rows.items() if row and row.latency}
    assert timed == {"compress-tiny-phantom/base": 1.234}


def test_synthetic_data_is_always_said() -> None:
    assert table.notes(entries(TEACHER)) == [SYNTHETIC]


def test_only_what_was_judged_alike_is_on_the_front() -> None:
    other = msgspec.structs.replace(TEACHER, name="x/teacher", data="elsewhere")
    drawn = table.points(entries(TEACHER, INT8, random_split(TEACHER), other), TEACHER, {}, speed=False, on=INT8.name)
    assert [(point.fair, point.random, point.chosen) for point in drawn] == [
        (True, False, False),
        (True, False, True),
        (False, True, False),
    ], "the model of other data is left out"
    timed = table.points(entries(TEACHER, INT8), TEACHER, {}, speed=True, on="")
    assert [point.cost for point in timed] == [1.234]


def test_names_are_as_short_as_they_tell_apart() -> None:
    assert table.shortened(["run/teacher", "run/int8"], 30) == {"run/teacher": "teacher", "run/int8": "int8"}
    assert table.shortened(["bundled", "run/a", "run/b"], 30) == {"bundled": "bundled", "run/a": "a", "run/b": "b"}
    long = "compress-mobilenetv2-iqothnccd-with-more/student"
    (short,) = set(table.shortened([long, "b/student"], 30).values()) - {"b/student"}
    assert len(short) <= 30
    assert short.startswith("compress")
    assert short.endswith("/student")


def test_reading_all_keeps_going_past_a_file_that_cannot_be_used() -> None:
    made = stage.run()
    old = made.stage("base")
    old.mkdir()
    graphs.model_file(old / model_paths.MODEL, preparation=99)
    found = {entry.name: entry for entry in table.read_all("compress-tiny-phantom/student")}
    assert len(found) == 4
    assert found[f"{made.name}/base"].row is None
    assert "preparation 99" in found[f"{made.name}/base"].problem
    teacher, student = found[f"{made.name}/teacher"].row, found[f"{made.name}/student"].row
    assert teacher is not None
    assert teacher.difference is not None
    assert student is not None
    assert student.difference is None


def test_a_run_is_pinned_before_the_bundled_model_which_has_no_verdicts() -> None:
    ours, teacher, int8 = (
        Entry(name=name, path=Path(name), row=TEACHER) for name in ("bundled", "run/teacher", "run/int8")
    )
    assert table.usual([ours, teacher, int8]) == "run/teacher"
    assert table.usual([ours, teacher, int8], "run/int8") == "run/int8"
    assert table.usual([ours, teacher], "gone") == "run/teacher"
    assert table.usual([ours]) == "bundled"
    assert table.usual([]) == ""


def test_what_cannot_be_used_is_never_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Entry(name="run/teacher", path=Path("x"), problem="damaged")
    bundle = Entry(name="bundled", path=Path("b"), row=TEACHER)
    assert table.usual([bundle, broken], "run/teacher") == "bundled"
    assert table.usual([broken]) == ""
    made = stage.run()
    (made.stage("teacher") / model_paths.MODEL).write_bytes(b"no model")
    monkeypatch.setattr(package_data, "MODEL", graphs.model_file(tmp_path / "default.onnx"))
    found = table.read_all("")
    assert table.usual(found) == f"{made.name}/student"
    assert [entry.row.difference is not None for entry in found if entry.row] == [False, False, True]


def test_the_bundled_model_stands_beside_those_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_data, "MODEL", graphs.model_file(tmp_path / "default.onnx"))
    stage.run("mine")
    first, teacher, student, _ = table.read_all("")
    assert [first.name, teacher.name] == ["bundled", "mine/teacher"]
    assert first.row is not None
    assert first.row.difference is None
    assert first.row.not_compared == "one of the two has not been evaluated on its test part"
    assert student.row is not None
    assert student.row.difference is not None


def test_nothing_made_yet() -> None:
    assert table.read_all("") == ()
