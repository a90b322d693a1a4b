"""The comparison as Markdown and CSV."""

import csv
import io

import msgspec

from lungcli.views import comparison_table
from tests.cli.test_tables import COMPARISON, FOOTNOTES


def test_markdown_has_a_row_a_model_and_the_footnotes() -> None:
    lines = comparison_table.markdown(COMPARISON).splitlines()
    assert lines[0].startswith("| model | size | p50 ms |")
    assert lines[3].startswith("| run [1]/int8 | 11.30 MB | – |")
    assert [line.removeprefix("- ") for line in lines[5:]] == FOOTNOTES


def test_csv_has_numbers_only_where_there_are_some() -> None:
    head, teacher, int8 = comparison_table.comma_separated(COMPARISON).splitlines()
    assert head.startswith("model,net,stage,precision,data,protocol,bytes,parameters,p50_ms,p90_ms,")
    assert head.endswith(",difference,difference_low,difference_high,p_bootstrap,gained,lost,p_mcnemar")
    assert teacher.endswith(",,,,,,,")
    assert ",11300000,11171779,,," in int8
    assert int8.endswith(f"{-1 / 6},-0.5,0.0,0.631,0,1,0.5")


def test_csv_says_whose_figures_a_final_fit_has() -> None:
    row = COMPARISON.rows[0]
    assert row.figures is not None
    final = msgspec.structs.replace(row, figures=msgspec.structs.replace(row.figures, of_run="tested"))
    comparison = msgspec.structs.replace(COMPARISON, rows=(final, *COMPARISON.rows[1:]))
    read = list(csv.DictReader(io.StringIO(comparison_table.comma_separated(comparison))))
    assert [each["figures_of"] for each in read] == ["tested", ""]
