"""The models view, key by key."""

import csv
import io
import json
import time
from pathlib import Path

import msgspec
import pytest
from textual.pilot import Pilot
from textual.widgets import DataTable, OptionList, Static

from lungcli.core import package_data, runs
from lungcli.core.recipe import Recipe
from lungcli.datasets.files import Advance
from lungcli.evaluation import benchmark as bench
from lungcli.evaluation import compare, evaluate
from lungcli.evaluation.benchmark import Measurement
from lungcli.modelfile import model_paths
from lungcli.modelfile.model_card import SplitCard
from lungcli.tui.models.flips import Flips
from lungcli.tui.models.view import ModelsView
from lungcli.tui.widgets.dialogs import Sheet
from lungcli.tui.widgets.picture import Picture
from tests.metrics.test_institutions import ROWS
from tests.metrics.test_institutions import evaluation as by_institution
from tests.metrics.test_predictions import evaluation
from tests.modelfile import graphs
from tests.tui.stage import STRANGE, Stage, add, data_set, play, press, resize, run, settle

RUN = "compress-tiny-phantom"


def shown(app: Stage) -> list[list[str]]:
    grid = app.query_one("#models", DataTable)
    return [[str(cell) for cell in grid.get_row_at(row)] for row in range(grid.row_count)]


def titles(app: Stage) -> list[str]:
    return [str(column.label).rstrip() for column in app.query_one("#models", DataTable).ordered_columns]


def measured(times: dict[str, float]) -> object:
    def benchmark(loaded: list[object], seconds: float, advance: Advance) -> tuple[Measurement, ...]:
        advance(1, 2)
        return tuple(
            Measurement(name="m", p50=p50, p90=p50, p99=p50, mean=p50, n=9, threads=1, batch=1, bytes=1)
            for p50, _ in zip(times.values(), loaded, strict=True)
        )

    return benchmark


def test_no_models_says_what_to_type() -> None:
    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert "lungcli compress --student mobilenetv2 --data phantom" in app.text()
        await press(app, pilot, "l", "e", "f", "m", "i", "p", "space", "x", "r")
        assert "there is no model to measure" in app.messages
        run()
        await press(app, pilot, "r")
        assert len(shown(app)) == 3

    play(ModelsView(), scenario)


def test_the_table_the_chart_and_the_warning() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert [row[1] for row in shown(app)] == ["teacher", "student", "int8"]
        assert titles(app)[1:6] == ["model", "size", "p50 ms", "balanced accuracy", "malignant sensitivity"]
        assert shown(app)[0][4] == "1.000* [1.000, 1.000]"
        text = app.text()
        assert "balanced accuracy by size" in text
        assert "synthetic data: these figures say nothing about people" in text
        assert "is pinned" in text

    play(ModelsView(), scenario, size=(150, 40))


def test_size_latency_and_accuracy_stand_first_also_in_80_columns() -> None:
    run("compress-mobilenetv2-student-of-resnet18-first")
    run("compress-mobilenetv2-student-of-resnet18-other")

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        heading = next(line for line in app.text().splitlines() if "p50 ms" in line)
        assert all(title in heading for title in ("size", "bal. acc.", "sens."))
        names = [row[1] for row in shown(app)]
        assert len(set(names)) == 6, "cut in the middle, every name is still told from the others"
        assert all(len(name) <= 24 and name.startswith("compress") for name in names)
        assert "synthetic data: these figures say nothing about people" in app.text()
        assert shown(app)[0][4] == "1.000*"
        await press(app, pilot, "b")
        assert shown(app)[0][4] == "1.000* [1.000, 1.000]"

    play(ModelsView(), scenario, size=(80, 24))


def test_no_column_moves_when_rows_are_sorted() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        def widths() -> list[int]:
            return [column.get_render_width(grid) for column in grid.ordered_columns]

        grid = app.query_one("#models", DataTable)
        before = widths()
        for _ in range(2):
            await press(app, pilot, "o")
            assert widths() == before

    play(ModelsView(), scenario)


def test_every_size_shows_table_and_chart() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        for size in ((80, 24), (99, 30), (100, 30), (300, 80)):
            await resize(app, pilot, size)
            assert all(len(line) <= size[0] for line in app.text().splitlines())
            assert app.query_one("#models").region.height >= 5
            assert app.query_one("Chart").region.height >= 8
            assert app.query_one("#beside").display is (size[0] >= 100)
            assert app.query_one(".status").region.bottom == size[1]

    play(ModelsView(), scenario)


def test_marking_pinning_and_differences() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        difference = titles(app).index("to pinned")
        assert shown(app)[0][difference] == "–"
        await press(app, pilot, "down", "space")
        assert [row[0] for row in shown(app)] == ["◆", "✓", ""]
        await press(app, pilot, "p")
        assert [row[0] for row in shown(app)] == ["", "◆✓", ""]
        assert [row[difference] == "–" for row in shown(app)] == [False, True, False]
        assert "n.s." in shown(app)[0][difference]
        await press(app, pilot, "space")
        assert shown(app)[1][0] == "◆"

    play(ModelsView(), scenario)


def test_sorting_by_a_chosen_column_and_turning_it() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "s")
        assert app.screen.query_one(OptionList).option_count > 12
        await press(app, pilot, "down", "down", "down", "enter")
        assert [row[1] for row in shown(app)] == ["student", "int8", "teacher"]
        assert "bal. acc. ▲" in titles(app)
        await press(app, pilot, "o")
        assert [row[1] for row in shown(app)] == ["teacher", "int8", "student"]
        assert "bal. acc. ▼" in titles(app)
        await press(app, pilot, "s", "escape")
        assert [row[1] for row in shown(app)] == ["teacher", "int8", "student"]

    play(ModelsView(), scenario)


def test_a_click_on_a_heading_sorts() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await pilot.click("#models", offset=(22, 1))
        await settle(app, pilot)
        assert "size ▲" in titles(app)

    play(ModelsView(), scenario)


def test_columns_are_chosen() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "c", "space", "enter")
        assert titles(app)[:3] == ["", "model", "p50 ms"]
        await press(app, pilot, "c", "space", "escape")
        assert "size" not in titles(app)

    play(ModelsView(), scenario)


def test_order_columns_axis_and_the_pinned_row_are_remembered() -> None:
    run()

    async def change(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "down", "p", "x", "c", "space", "enter", "s", *["down"] * 4, "enter", "o")

    async def look(app: Stage, pilot: Pilot[None]) -> None:
        titles = [str(column.label) for column in app.query_one("#models", DataTable).ordered_columns]
        assert "size  " not in titles
        assert "sens. ▼" in titles
        assert "◆" in str(app.query_one("#models", DataTable).get_row("compress-tiny-phantom/student")[0])
        assert "by latency" in app.text()

    play(ModelsView(), change)
    play(ModelsView(), look)


def test_latency_is_measured_and_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(bench, "benchmark", measured({"teacher": 8.0, "student": 2.0, "int8": 1.0}))

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "x")
        assert "not timed yet" in app.text()
        await press(app, pilot, "l")
        await settle(app, pilot)
        place = titles(app).index("p50 ms")
        assert [row[place] for row in shown(app)] == ["8.00", "2.00", "1.00*"]
        ratio = titles(app).index("speed ratio")
        assert [row[ratio] for row in shown(app)] == ["–", "4.0× faster", "8.0× faster"]
        assert "balanced accuracy by latency" in app.text()
        assert any("measured 3 models" in message for message in app.messages)

    play(ModelsView(), scenario)


def test_only_marked_rows_are_measured_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr("lungcli.tui.models.view.SECONDS", 0.05)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "down", "space", "l")
        await settle(app, pilot)
        place = titles(app).index("p50 ms")
        assert [row[place] == "–" for row in shown(app)] == [True, False, True]

    play(ModelsView(), scenario)


def test_a_measurement_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    run()

    def endless(loaded: object, seconds: float, advance: Advance) -> None:
        for turn in range(10_000):
            time.sleep(0.01)
            advance(turn, 10_000)

    monkeypatch.setattr(bench, "benchmark", endless)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        view = app.query_one(ModelsView)
        await pilot.press("l")
        for _ in range(200):
            await pilot.pause(0.02)
            if "esc ends it" in app.text():
                break
        assert "measuring 3 models" in app.text()
        await pilot.press("down")
        assert view.busy()
        await press(app, pilot, "escape")
        assert not view.busy()
        assert titles(app).index("p50 ms") > 0
        assert all(row[titles(app).index("p50 ms")] == "–" for row in shown(app))

    play(ModelsView(), scenario)


def test_which_predictions_flipped_with_their_slices() -> None:
    run()
    data_set()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "f")
        assert any("mark two rows" in message for message in app.messages)
        await press(app, pilot, "down", "f")
        assert isinstance(app.screen, Flips)
        assert "2 of 6 predictions flipped: 0 corrected, 2 broken, 0 both wrong" in app.text()
        picture = app.screen.query_one(Picture)
        assert picture.pixels is not None
        before = picture.pixels.mean()
        await press(app, pilot, "down")
        assert picture.pixels is not None
        assert picture.pixels.mean() != before
        await press(app, pilot, "escape")
        await press(app, pilot, "space", "down", "space", "f")
        assert "1 of 6 predictions flipped: 1 corrected" in app.text()

    play(ModelsView(), scenario)


def test_flips_are_whole_in_80_columns() -> None:
    run()
    data_set()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "down", "f")
        grid, picture = app.screen.query_one(DataTable), app.screen.query_one(Picture)
        # A name as those of phantoms are, with the longest class before and after.
        grid.add_row("both wrong", "malignant", "malignant 100%", "malignant 100%", "benign/p027-s01.png", key="long")
        await settle(app, pilot)
        assert grid.virtual_size.width <= grid.size.width
        assert "benign/p027-s01.png" in app.text()
        assert picture.region.y > grid.region.y
        assert picture.size.height > 5

    play(ModelsView(), scenario, (80, 24))


def test_why_models_are_not_compared_is_whole_in_80_columns() -> None:
    made = run(teacher="bbmmnn")
    other = evaluation("bnmmnm", digest="other")
    add(made, "student", other, split=SplitCard(protocol="random", seed=0, digest="other", final=True))
    add(made, "base", other, "another", split=SplitCard(protocol="grouped", seed=0, digest="other", final=True))

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        for name, reason in (
            ("base", "evaluated on another, the pinned one on phantom"),
            ("student", "the baseline on the grouped split with seed 0"),
        ):
            at = [row[1] for row in shown(app)].index(name)
            app.query_one("#models", DataTable).move_cursor(row=at)
            await settle(app, pilot)
            assert reason in " ".join(app.text().split())

    play(ModelsView(), scenario, (80, 24))


def test_flips_without_the_data_set_and_of_other_slices() -> None:
    made = run()
    add(made, "base", evaluation("bbmmnn", digest="other"))

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "down", "f")
        assert "evaluated on different slices" in app.messages[-1]
        await press(app, pilot, "down", "f")
        assert "its data set is not on this machine" in app.text()

    play(ModelsView(), scenario)


def test_confusion_matrix_reliability_and_card() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "down", "m")
        assert isinstance(app.screen, Sheet)
        text = app.text()
        for part in ("→ malignant", "1  50%", "over-confident", "ECE", "6 slices of 3"):
            assert part in text
        await press(app, pilot, "escape", "i")
        assert "temperature" in app.text()
        await press(app, pilot, "q", "enter")
        assert isinstance(app.screen, Sheet)

    play(ModelsView(), scenario, (120, 60))


def test_models_of_two_and_of_ten_classes() -> None:
    """Each has the sensitivity of its own positive class, and its matrix has room."""
    for count, name in ((2, "two"), (10, "ten")):
        classes = tuple(f"kind{number}" for number in range(count))
        labels = (0, 0, 1, 1, count - 1, count - 1)
        predicted = (1, 0, 1, 1, count - 1, count - 1)
        others = (1 - 0.8) / (count - 1)
        of_classes = msgspec.structs.replace(
            evaluation("bbmmnn"),
            classes=classes,
            labels=labels,
            probabilities=tuple(tuple(0.8 if k == most else others for k in range(count)) for most in predicted),
            positive_class="kind0",
        )
        made = runs.create(name, "train", Recipe(data="other", model="tiny", size=graphs.SIZE, positive_class="kind0"))
        add(made, "train", of_classes, "other", classes=classes, recipe=made.recipe)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert [row[5].split()[0].rstrip("*") for row in shown(app)] == ["0.500", "0.500"]
        assert "kind0 sensitivity" in titles(app)
        for name, last in (("two", "→ kind1"), ("ten", "10 kind9")):
            await press(app, pilot, *("down",) * (name == "ten"), "m")
            text = app.text()
            assert last in text
            assert "kind0 sensitivity  0.500" in text
            await press(app, pilot, "escape")

    play(ModelsView(), scenario, (150, 60))


def test_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.chdir(tmp_path)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "space", "e", "enter", "e", "down", "enter", "e", "down", "down", "enter")
        await press(app, pilot, "space", "e", "enter", "e", "down", "enter", "e", "escape")

    play(ModelsView(), scenario)
    assert len(list(tmp_path.iterdir())) == 5
    marked, everything = ((tmp_path / f"lungcli-models{number}.md").read_text() for number in ("", "-2"))
    assert everything.count("\n| ") == marked.count("\n| ") + 2
    assert len(list(csv.DictReader(io.StringIO((tmp_path / "lungcli-models-2.csv").read_text())))) == 3
    exported = json.loads((tmp_path / "lungcli-models.json").read_text())
    assert [row["name"] for row in exported["rows"]] == [f"{RUN}/teacher"]
    assert exported["schema_version"] == 1


def test_an_export_that_cannot_be_written_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run()
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "file" / "under")
    (tmp_path / "file").touch()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "e", "enter")
        assert "cannot write" in app.messages[-1]

    play(ModelsView(), scenario)


def test_files_that_cannot_be_used_stay_in_sight_with_the_reason() -> None:
    made = run()
    folder = made.stage("base")
    folder.mkdir()
    graphs.model_file(folder / model_paths.MODEL, preparation=99)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert shown(app)[1][1:3] == ["base", "cannot be used"]
        await press(app, pilot, "down")
        assert "preparation 99" in app.text().replace("\n", " ")
        await press(app, pilot, "p", "f", "m", "i", "s", "enter")
        assert [row[0] for row in shown(app)] == ["", "", "◆", ""]
        assert sum("preparation 99" in message for message in set(app.messages)) == 2

    play(ModelsView(), scenario)


def test_a_random_split_is_marked() -> None:
    made = run()
    leaky = msgspec.structs.replace(evaluation("bbmmnn"), protocol="random", split_digest="r")
    add(made, "base", leaky)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert shown(app)[1][titles(app).index("bal. acc.")].endswith("†")
        assert "† random split" in app.text()
        assert "◇" in app.text()

    play(ModelsView(), scenario)


def test_names_are_shown_as_they_are() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lungcli.core.names.checked", lambda name, _: name)
        run(STRANGE)
        run("other")

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert shown(app)[0][1] == f"{STRANGE}/teacher"
        await press(app, pilot, "space", "down", "f", "m")
        assert STRANGE in app.text()

    play(ModelsView(), scenario)


def test_without_saved_predictions_it_says_how_to_get_them() -> None:
    made = run()
    (made.stage("teacher") / "evaluation.json").unlink()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "m")
        assert f"lungcli runs resume '{RUN}'" in app.messages[-1]

    play(ModelsView(), scenario)


def test_the_bundled_model_is_in_the_table_and_the_run_is_pinned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(package_data, "MODEL", graphs.model_file(tmp_path / "default.onnx"))
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert [row[:2] for row in shown(app)] == [["", "bundled"], ["◆", "teacher"], ["", "student"], ["", "int8"]]
        await press(app, pilot, "m")
        assert "beside the models of runs" in app.messages[-1]
        await press(app, pilot, "i")
        assert "temperature" in app.text()

    play(ModelsView(), scenario, (120, 60))


@pytest.mark.parametrize("colours", ["no", "16"])
def test_without_colours_everything_is_still_there(colours: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR" if colours == "no" else "TERM", "1" if colours == "no" else "xterm")
    monkeypatch.delenv("COLORTERM", raising=False)
    made = run()
    data_set()
    assert runs.known()[made.name] == made.folder

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "down", "f")
        drawn = app.screen.query_one(Picture)
        assert "▀" not in "".join(drawn.render_line(y).text for y in range(drawn.size.height))
        assert "broken" in app.text()

    play(ModelsView(), scenario)


def test_trials_are_set_side_by_side_on_validation_slices_and_all_models_come_back() -> None:
    run()
    for name, classes in (("rates-0000", "bbmmnn"), ("rates-0001", "bnmmnm")):
        trial = run(name, student="bnmmnn").stage("student")
        evaluate.save(msgspec.structs.replace(evaluation(classes), part="val"), trial / compare.VALIDATION)

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        assert len(shown(app)) == 5
        await press(app, pilot, "t")
        assert {row[1] for row in shown(app)} == {"rates-0000/student", "rates-0001/student"}
        at = titles(app).index("bal. acc.")
        assert [row[at][:5] for row in shown(app)] == ["1.000", "0.667"]
        assert "trials, evaluated on validation slices" in app.text()
        assert "val part, grouped split" in str(app.query_one("#beside", Static).content)
        assert "chosen by these slices, the best looks better here than it is" in app.text()
        await press(app, pilot, "down", "f")
        assert isinstance(app.screen, Flips)
        await press(app, pilot, "escape", "t")
        assert len(shown(app)) == 5
        assert "chosen by these slices" not in app.text()

    play(ModelsView(), scenario)


def test_where_there_are_no_trials_all_models_stay() -> None:
    run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "t")
        assert len(shown(app)) == 3
        assert "there are no trials: lungcli search makes some" in app.messages

    play(ModelsView(), scenario)


def test_models_are_shown_by_institution() -> None:
    stored = run()

    async def scenario(app: Stage, pilot: Pilot[None]) -> None:
        await press(app, pilot, "h")
        assert "no model was evaluated on slices of several institutions" in app.messages[0]
        for stage in ("student", "int8"):
            of_two = msgspec.structs.replace(by_institution(*ROWS), classes=("malignant", "normal"))
            evaluate.save(of_two, stored.stage(stage) / "evaluation.json")
        await press(app, pilot, "h")
        assert isinstance(app.screen, Sheet)
        text = app.text()
        assert "models by institution" in text
        assert [line for line in text.splitlines() if "North" in line and "South" in line and "worst" in line]
        assert [line for line in text.splitlines() if f"{RUN}/int8" in line and "0.500" in line and "0.750" in line]
        assert "mean of sensitivity and specificity" in text

    play(ModelsView(), scenario)
