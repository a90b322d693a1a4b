"""The front and its picture."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from lungcli.tui.models import pareto
from lungcli.tui.models.pareto import Point

POINTS = [
    Point(name="teacher", cost=44e6, score=0.71),
    Point(name="student", cost=9e6, score=0.70),
    Point(name="int8", cost=2.6e6, score=0.61, chosen=True, low=0.5, high=0.8),
    Point(name="base", cost=9e6, score=0.55),
    Point(name="memory", cost=9e6, score=0.99, fair=False, random=True),
]


def test_the_front_by_hand() -> None:
    assert [point.name for point in pareto.front(POINTS)] == ["int8", "student", "teacher"]


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.1, 1e9), st.floats(0, 1), st.booleans()), max_size=30))
def test_the_front_is_what_none_beats(drawn: list[tuple[float, float, bool]]) -> None:
    points = [Point(name="", cost=cost, score=score, fair=fair) for cost, score, fair in drawn]
    best = pareto.front(points)
    fair = [point for point in points if point.fair]
    for point in fair:
        beaten = any(
            other.cost <= point.cost
            and other.score >= point.score
            and (other.cost, other.score) != (point.cost, point.score)
            for other in fair
        )
        assert beaten != any((point.cost, point.score) == (item.cost, item.score) for item in best)
    assert [point.cost for point in best] == sorted(point.cost for point in best)
    assert [point.score for point in best] == sorted(point.score for point in best)


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.floats(0.1, 1e9), st.floats(0, 1), st.text("a-z 肺[é", max_size=12)), max_size=12),
    st.integers(20, 120),
    st.integers(6, 40),
)
@example([(1.0, 0.46875, "[[肺"), (2684.0, 0.46875, "[肺"), (4755.0, 0.0, "")], 20, 6)
def test_a_plot_never_leaves_its_frame(drawn: list[tuple[float, float, str]], width: int, height: int) -> None:
    points = [Point(name=name, cost=cost, score=score) for cost, score, name in drawn]
    text = pareto.plot(points, width, height, "MB")
    if points:
        lines = text.plain.split("\n")
        assert len(lines) == height
        assert max(text.split("\n")[i].cell_len for i in range(len(text.split("\n")))) <= width


def test_points_that_none_can_be_compared_with_are_drawn_without_a_front() -> None:
    """Such is a machine with the bundled model and runs that were judged on nothing yet, or under a random split."""
    apart = [
        Point(name=name, cost=1e6, score=0.5, fair=False, random=random) for name, random in (("a", False), ("b", True))
    ]
    assert pareto.front(apart) == ()
    plain = pareto.plot(apart, 80, 20, "MB", 1e6).plain
    assert "a" in plain
    assert pareto.FRONT not in plain


def test_points_lines_names_and_the_interval_are_drawn() -> None:
    plain = pareto.plot(POINTS, 80, 20, "MB", 1e6).plain
    for part in ("teacher", "int8", "base", "◇", "memory", "─", "╯", "┊", "MB"):
        assert part in plain
    assert plain.count(pareto.FRONT) == 3
    assert plain.count(pareto.BEATEN) == 1


def test_the_legend_explains_only_what_is_drawn() -> None:
    assert "random" in pareto.legend(POINTS)
    assert "other slices" not in pareto.legend(POINTS)
    assert pareto.legend(POINTS[:2]) == "● on the front"


def test_all_of_the_legend_has_room_in_80_columns() -> None:
    every = [*POINTS, Point(name="else", cost=9e6, score=0.5, fair=False)]
    assert "interval" in pareto.legend(every)
    assert "other" in pareto.legend(every)
    assert len(pareto.legend(every)) <= 76


def test_nothing_to_draw_and_no_room() -> None:
    assert not pareto.plot([], 80, 20, "MB")
    assert not pareto.plot(POINTS, 12, 20, "MB")
    assert not pareto.plot(POINTS, 80, 4, "MB")


def test_one_model_alone_is_drawn() -> None:
    assert pareto.FRONT in pareto.plot(POINTS[:1], 60, 12, "MB", 1e6).plain


def test_ticks_are_round_and_on_the_row_that_they_name() -> None:
    rows = pareto.plot(POINTS, 80, 20, "MB", 1e6).plain.split("\n")
    labels = {row[:7].strip(): number for number, row in enumerate(rows) if row[8:9] == "┤"}
    assert {float(label) * 100 % 5 for label in labels} == {0.0}
    at = {name: next(number for number, row in enumerate(rows) if name in row) for name in ("int8", "memory")}
    assert abs(at["int8"] - labels["0.6"]) <= 1
    assert abs(at["memory"] - labels["1"]) <= 1
    assert rows[-1].split() == ["MB", "2", "5", "10", "20", "50"]
