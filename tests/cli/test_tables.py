"""The comparison table against golden output, in every format."""

from unittest import mock

import msgspec
import pytest

from lungcli.cli import console, tables
from lungcli.evaluation.benchmark import Measurement
from lungcli.evaluation.compare import Comparison, Row
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.significance import Significance
from lungcli.views import comparison_table
from tests.metrics.test_predictions import evaluation

pytestmark = pytest.mark.usefixtures("narrow")

LATENCY = Measurement(name="a", p50=1.234, p90=1.5, p99=2.0, mean=1.3, n=99, threads=2, batch=1, bytes=1)


SIGNIFICANCE = Significance(gained=0, lost=1, mcnemar=0.5, bootstrap=0.631)


def row(stage: str, verdicts: str, precision: str = "float32", difference: Estimate | None = None) -> Row:
    return Row(
        name=f"run [1]/{stage}",
        model="resnet18",
        stage=stage,
        precision=precision,
        teacher="",
        data="phantom",
        synthetic=True,
        bytes=44_680_000 if precision == "float32" else 11_300_000,
        parameters=11_171_779,
        latency=LATENCY if precision == "float32" else None,
        figures=evaluation(verdicts).figures(),
        difference=difference,
        significance=SIGNIFICANCE if difference else None,
    )


COMPARISON = Comparison(
    baseline="run [1]/teacher",
    machine={"cpu": "Test 9000"},
    rows=(
        row("teacher", "bbmmnn"),
        row("int8", "bnmmnn", "int8", Estimate(value=-1 / 6, low=-0.5, high=0.0)),
    ),
)

GOLDEN = """\
run [1]
                           balanced              malignant
model    size      p50 ms  accuracy              sensitivity           to baseline
teacher  44.68 MB  1.23    1.000 [1.000, 1.000]* 1.000 [1.000, 1.000]  –
int8     11.30 MB* –       0.833 [.500, 1.000]   1.000 [1.000, 1.000]  -0.167 n.s.
"""

FOOTNOTES = [
    "evaluated on 6 slices of 3 near-duplicate groups, test part, grouped split; "
    "95 % intervals by bootstrap over groups",
    "differences are in balanced accuracy, paired, to run [1]/teacher; n.s.: not significant",
    comparison_table.P_VALUES,
    "latency of one prepared slice with 2 thread(s), models timed in turns, on Test 9000",
    "synthetic data: these figures say nothing about people",
]


def test_models_are_rows_and_the_best_are_marked(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_comparison(COMPARISON)
    shown = capsys.readouterr()
    assert shown.out == GOLDEN
    brief = [line for line in FOOTNOTES if line != comparison_table.P_VALUES]
    assert shown.err.splitlines() == [*brief, "all columns: lungcli compare --wide"]


def test_wide_shows_every_column_and_a_pipe_cuts_none(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_comparison(COMPARISON, wide=True)
    shown = capsys.readouterr()
    head, teacher, int8 = shown.out.splitlines()[-3:]
    assert head.split()[-5:] == ["McNemar", "accuracy", "macro-F1", "kappa", "ECE"]
    assert shown.err.splitlines() == FOOTNOTES
    assert "resnet18 int8" in int8
    assert "-0.167 n.s. [-.500, +.000]" in int8
    assert len(teacher) > 80
    assert "--wide" not in shown.err


def test_a_narrow_terminal_gets_fewer_columns(capsys: pytest.CaptureFixture[str]) -> None:
    with mock.patch.object(type(console.out()), "is_terminal", new=True):
        console.out().width = 80
        name = "a-rather-long-name-of-a-run/student"
        rows = (COMPARISON.rows[0], msgspec.structs.replace(COMPARISON.rows[1], name=name))
        tables.show_comparison(msgspec.structs.replace(COMPARISON, rows=rows))
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[-1].startswith(name)
    assert "no room here for malignant sensitivity, to baseline; all columns: lungcli compare --wide" in shown.err


def test_nothing_is_best_on_different_slices_or_where_all_are_equal() -> None:
    other = msgspec.structs.replace(COMPARISON.rows[1], data="mine")
    assert comparison_table.best(COMPARISON.rows, "balanced accuracy") == {0}
    assert comparison_table.best((COMPARISON.rows[0], other), "balanced accuracy") == set()
    assert comparison_table.best((COMPARISON.rows[0], other), "size") == {1}
    assert comparison_table.best(COMPARISON.rows, "sensitivity") == set()
    assert comparison_table.best(COMPARISON.rows, "p50 ms") == set()
    assert comparison_table.best(COMPARISON.rows, "ECE") == {1}


def test_models_of_several_runs_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    other = msgspec.structs.replace(COMPARISON.rows[1], name="other/int8")
    tables.show_comparison(msgspec.structs.replace(COMPARISON, rows=(COMPARISON.rows[0], other)))
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in lines[-2:]] == ["run [1]/teacher", "other/int8"]
