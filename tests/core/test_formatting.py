"""Foreign text on one line, and CSV that no spreadsheet runs."""

import csv
import io

import pytest

from lungcli.core.formatting import csv_row


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1+cmd|'/C calc'!A0", "@SUM(A1)", "\t=1", " =1", "\uff1d1", '="a,b"'])
def test_a_cell_of_csv_is_no_formula(cell: str) -> None:
    (row,) = csv.reader(io.StringIO(csv_row([cell, "b"])))
    assert row[0].startswith("'")
    assert row[1] == "b"


def test_numbers_stay_numbers_in_csv_and_texts_on_their_line() -> None:
    text = csv_row([-1.5, 3, "", "a,b", 'say "a"', "prediction\nmalignant,x.png\r\x1b[31m", "–", "a-b"])
    assert text == '-1.5,3,,"a,b","say ""a""","prediction\\nmalignant,x.png\\r\\x1b[31m",–,a-b\n'
