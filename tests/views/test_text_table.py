"""Tables of text: whole cells, marks of the best, and what a narrow terminal gets."""

from lungcli.views import text_table

ROWS = [["teacher", "44.68 MB", "a long story that goes on"], ["肺", "–", "short"]]
HEADINGS = ["model", "file\nsize", "about"]


def drawn(width: int | None = None, best: tuple[tuple[int, int], ...] = ()) -> list[str]:
    return [line.plain for line in text_table.lines(HEADINGS, ROWS, best, width)]


def test_cells_are_whole_and_columns_stand_below_their_headings() -> None:
    assert drawn() == [
        "         file",
        "model    size      about",
        "teacher  44.68 MB  a long story that goes on",
        "肺       –         short",
    ]


def test_the_best_is_marked_in_the_gap_beside_it() -> None:
    assert drawn(best=((0, 1), (1, 2)))[2:] == [
        "teacher  44.68 MB* a long story that goes on",
        "肺       –         short*",
    ]
    (line,) = text_table.lines(["a", "b"], [["1", "2"]], {(0, 1)})[1:]
    assert [(span.style, line.plain[span.start : span.end]) for span in line.spans if span.style] == [("bold", "2*")]


def test_only_the_last_column_is_wrapped_and_only_where_there_is_room_for_words() -> None:
    assert drawn(40)[2:4] == ["teacher  44.68 MB  a long story that", "                   goes on"]
    assert drawn(38) == drawn()
    assert drawn(44) == drawn()


def test_so_many_columns_fit() -> None:
    assert [text_table.fitting(HEADINGS, ROWS, width) for width in (3, 7, 16, 17, 43, 44)] == [1, 1, 1, 2, 2, 3]
