"""The comparison table against golden output, in every format."""

import msgspec
import pytest

from lungcli.cli import tables
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
              teacher         int8
net           resnet18        resnet18 int8
size          44.68 MB        11.30 MB
parameters    11.17 M         11.17 M
p50 ms        1.23            –
p90 ms        1.50            –
balanced      1.000           0.833
accuracy      [1.000, 1.000]  [.500, 1.000]
malignant     1.000           1.000
sensitivity   [1.000, 1.000]  [1.000, 1.000]
to baseline   –               -0.167 n.s.
                              [-.500, +.000]
p bootstrap   –               0.631
p McNemar     –               0.500
accuracy      1.000           0.833
              [1.000, 1.000]  [.500, 1.000]
macro-F1      1.000           0.822
              [1.000, 1.000]  [.667, 1.000]
kappa         1.000           0.750
              [1.000, 1.000]  [.000, 1.000]
ECE           0.200           0.033
"""

FOOTNOTES = [
    "evaluated on 6 slices of 3 near-duplicate groups, test part, grouped split; "
    "95 % intervals by bootstrap over groups",
    "differences are in balanced accuracy, paired, to run [1]/teacher; n.s.: not significant",
    comparison_table.P_VALUES,
    "latency of one prepared slice with 2 thread(s), models timed in turns, on Test 9000",
    "synthetic data: these figures say nothing about people",
]


def test_the_table_fits_80_columns(capsys: pytest.CaptureFixture[str]) -> None:
    tables.show_comparison(COMPARISON)
    shown = capsys.readouterr()
    assert [line.rstrip() for line in shown.out.splitlines()] == GOLDEN.splitlines()
    assert shown.err.splitlines() == FOOTNOTES


def test_more_models_than_fit_go_below(capsys: pytest.CaptureFixture[str]) -> None:
    many = Comparison(baseline="b", machine={"cpu": ""}, rows=tuple(row(f"s{i}", "bbmmnn") for i in range(6)))
    tables.show_comparison(many)
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines if "s0" in line or "s5" in line] == [
        ["s0", "s1", "s2", "s3"],
        ["s4", "s5"],
    ]


def test_models_of_several_runs_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    other = msgspec.structs.replace(COMPARISON.rows[1], name="other/int8")
    tables.show_comparison(msgspec.structs.replace(COMPARISON, rows=(COMPARISON.rows[0], other)))
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["model", "run", "[1]/teacher", "other/int8"] in lines
