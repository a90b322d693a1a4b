"""Tables: every row is right, or the line that is off is named."""

import contextlib
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets.ingest import label_table
from lungcli.datasets.ingest.label_table import LabelRow

FILES = [PurePosixPath(name) for name in ("a/1.png", "a/2.png", "b, c.png")]


def read(folder: Path, content: str | bytes) -> tuple[LabelRow, ...]:
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return label_table.read(path, FILES)


def test_columns_in_any_order_and_further_ones(tmp_path: Path) -> None:
    text = '\ufeffPatient, LABEL ,path,age\r\np 1,Malignant cases,a/1.png,50\r\n\r\n,normal,"b, c.png",\r\n'

    assert read(tmp_path, text) == (
        LabelRow(path=FILES[0], label="malignant", patient="p 1"),
        LabelRow(path=FILES[2], label="normal", patient=""),
    )


def test_patients_may_be_unknown(tmp_path: Path) -> None:
    assert read(tmp_path, "path,label\na\\1.png,x\n./a/2.png,y") == (
        LabelRow(path=FILES[0], label="x", patient=""),
        LabelRow(path=FILES[1], label="y", patient=""),
    )


def test_institution_mask_split_licence_and_source_are_read_where_there_are_any(tmp_path: Path) -> None:
    header = "path,label,institution,mask,split,License,source\n"
    text = f"{header}a/1.png,x,Clinic A,a\\2.png,train,CC0,page\na/2.png,y,,,Valid,,\n"

    assert read(tmp_path, text) == (
        LabelRow(
            path=FILES[0],
            label="x",
            institution="Clinic A",
            mask=FILES[1],
            part="train",
            licence="CC0",
            source="page",
        ),
        LabelRow(path=FILES[1], label="y", part="val"),
    )


def test_paths_are_relative_to_the_folder_of_the_table() -> None:
    files = [PurePosixPath("set/a.png"), PurePosixPath("a.png")]

    (row,) = label_table.parse(b"path,label\na.png,x", "t.csv", files, PurePosixPath("set"))

    assert row.path == files[0]


@pytest.mark.parametrize(
    ("content", "is_one"),
    [
        (b"\xef\xbb\xbfLabel;Path;age\n", True),
        (b'"path","label"', True),
        (b"path,class,age\n", True),
        (b"label,Patient\n", True),
        (b"id,label\n1,path", False),
        (b"", False),
        (b"\xff\x00", False),
    ],
)
def test_a_table_has_its_columns_in_the_first_line(content: bytes, is_one: bool) -> None:
    assert label_table.is_table(content) is is_one


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_a_spreadsheet_may_separate_by_semicolons_or_tabs(tmp_path: Path, delimiter: str) -> None:
    text = "path,label,patient\na/1.png,x,p\n".replace(",", delimiter) + delimiter.join(["b, c.png", "y", "q\n"])
    assert [(str(row.path), row.label, row.patient) for row in read(tmp_path, text)] == [
        ("a/1.png", "x", "p"),
        ("b, c.png", "y", "q"),
    ]


def test_a_path_in_another_unicode_form_is_the_same_file(tmp_path: Path) -> None:
    composed, decomposed = "größe/é.png", "gro\u0308ße/e\u0301.png"
    table = tmp_path / "t.csv"
    for kept, written in ((composed, decomposed), (decomposed, composed)):
        table.write_text(f"path,label\n{written},x\n", encoding="utf-8")
        (row,) = label_table.read(table, [PurePosixPath(kept)])
        assert str(row.path) == kept


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it needs one column path and one column label"),
        ("path|label\na/1.png|x", "it needs one column path and one column label, and has path|label"),
        ("path,label,path\n", "it needs one column path, and has path, label, path"),
        ("path,label\n", "it lists no files"),
        ("path,label\na/1.png,x\n,x", "line 3: the path is empty"),
        ("path,label\na/1.png, ", "line 2: the label is empty"),
        ("path,label\na/1.png", "line 2: it has 1 fields, and the first line has 2"),
        ("path,label\nb, c.png,x", "line 2: it has 3 fields"),
        ("path,label\na/1.png,x\n\na/1.png,x", "line 4: 'a/1.png' is in line 2 already"),
        ("path,label\na/3.png,x", "line 2: there is no file 'a/3.png'"),
        ("path,label,mask\na/1.png,x,a/3.png", "line 2: there is no file 'a/3.png'"),
        ("path,label,mask\na/1.png,x,../a/3.png", "leads outside"),
        ("path,label,split\na/1.png,x,train\na/2.png,x,dev", "line 3: the split 'dev' is no part of one"),
        ("path,label,split\na/1.png,x,train\na/2.png,x,", "line 3: the split '' is no part of one"),
        ("path,label\n/a/1.png,x", "line 2: the path '/a/1.png' leads outside"),
        ("path,label\na/../a/1.png,x", "leads outside"),
        ("path,label\n..\\a.png,x", "leads outside"),
        ("path,label\nC:\\a.png,x", "leads outside"),
        ('path,label\n"a/1.png,x', "it is no CSV file"),
        (b"path,label\n\xff\xfe,x", "it is not UTF-8 text"),
    ],
)
def test_what_is_off_is_named(tmp_path: Path, content: str | bytes, why: str) -> None:
    with pytest.raises(UnreadableInputError) as caught:
        read(tmp_path, content)
    assert why in caught.value.message
    assert caught.value.hint


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="there is no such file"):
        label_table.read(tmp_path / "none.csv", FILES)


@given(st.binary(max_size=300).map(lambda junk: b"path,label,patient\na/1.png,x,p\n" + junk))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_file_is_a_table_or_an_error(tmp_path: Path, content: bytes) -> None:
    with contextlib.suppress(UnreadableInputError):
        assert {row.path for row in read(tmp_path, content)} <= set(FILES)
