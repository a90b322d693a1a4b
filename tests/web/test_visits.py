"""What a visitor sees from an upload to its results, without the page."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from lungcli.core.errors import LungcliError, ModelFileError
from lungcli.predict.predict import Failure, Prediction
from lungcli.web import visits
from lungcli.web.heat_inputs import HeatInputs
from lungcli.web.slice_worker import HeatInput, HeatMap, SliceResult, Upload
from lungcli.web.visits import MAX_PICTURES, Visits
from lungcli.web.workers import Workers
from tests.modelfile import graphs


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.model_file(tmp_path_factory.mktemp("model") / "m.onnx")


def unreadable(upload: Upload, *, gave_up: bool = False) -> SliceResult:
    failure = Failure(source=upload.name, reason=f"cannot read {upload.name}", hint="")
    return SliceResult(failure=failure, gave_up=gave_up)


class Stub(Workers):
    """Answers at once, as `answer` says."""

    def __init__(self, answer: Callable[[Upload], SliceResult]) -> None:
        self._answer = answer
        self.asked: list[str] = []

    def predict(self, upload: Upload, model: Path, visitor: str) -> SliceResult:  # noqa: ARG002 - as Workers does
        self.asked.append(upload.name)
        return self._answer(upload)

    def explain(self, slice_: HeatInput, model: Path, visitor: str) -> HeatMap:  # noqa: ARG002 - as Workers does
        return HeatMap(layer=slice_.prepared, caption=f"heat-map of {slice_.label}")


def visits_of(model: Path, workers: Workers) -> Visits:
    return Visits({"m": model}, workers, HeatInputs())


def predicted(upload: Upload) -> SliceResult:
    prediction = Prediction(
        source=upload.name,
        label="normal",
        probabilities={"benign": 0.1, "malignant": 0.1, "normal": 0.8},
        model="tiny",
        seconds=0.1,
        synthetic=False,
        referred=False,
        reason="",
        guard=0.0,
        forced=False,
    )
    heat_input = HeatInput(label=upload.name, prepared=b"x", box=(0, 0, 1, 1), outline=(), shape=(1, 1))
    return SliceResult(prediction=prediction, heat_input=heat_input, picture=b"x")


def uploads(count: int) -> tuple[Upload, ...]:
    return tuple(Upload(name=f"{number}.png", content=b"x") for number in range(count))


def test_old_results_are_cleared_and_progress_is_counted(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visits, "_PROGRESS_SECONDS", 0.0)
    shown = list(visits_of(model, Stub(unreadable)).show(uploads(4), "m", "a", "s"))
    assert shown[0][1] == ""
    progress = [status for status, _ in shown if status]
    assert [f"{done} of 4" in progress[done] for done in range(4)] == [True] * 4
    # The first is shown before the others are done, all of them at the end.
    assert shown[1][1] is not None
    assert "cannot read 0.png" in shown[1][1]
    assert [results for _, results in shown[2:-1]] == [None, None]
    status, results = shown[-1]
    assert status is not None
    assert "done: 4 slices" in status
    assert "progress" not in status
    assert results is not None
    assert "4 slices: 4 unreadable" in results


def test_without_uploads_nothing_changes(model: Path) -> None:
    assert list(visits_of(model, Stub(unreadable)).show((), "m", "a", "s")) == []


def test_what_a_session_asked_for_before_is_given_up(model: Path) -> None:
    stub = Stub(unreadable)
    visited = visits_of(model, stub)
    first = visited.show(uploads(9), "m", "a", "s")
    next(first)
    next(first)
    other = visited.show(uploads(1), "m", "a", "another session")
    assert [results for _, results in other][-1]
    assert list(visited.show(uploads(1), "m", "a", "s"))[-1][1]
    left = list(first)
    assert all(part is None for shown in left for part in shown)
    assert len(stub.asked) < 5
    assert visited._newest == {}


def test_nothing_is_kept_of_a_visitor_who_leaves(model: Path) -> None:
    visited = visits_of(model, Stub(unreadable))
    for leaves_after in (1, 2):
        shown = visited.show(uploads(9), "m", "a", "s")
        for _ in range(leaves_after):
            next(shown)
        shown.close()  # type: ignore[attr-defined]
        assert visited._newest == {}


def test_pictures_beyond_the_limit_of_the_page_are_counted(model: Path) -> None:
    stub = Stub(unreadable)
    *_, (_, results) = visits_of(model, stub).show(uploads(MAX_PICTURES + 3), "m", "a", "s")
    assert len(stub.asked) == MAX_PICTURES
    assert results is not None
    assert "3 more pictures have no prediction: the page takes" in results


def test_pictures_after_three_that_took_too_long_are_left(model: Path) -> None:
    stub = Stub(lambda upload: unreadable(upload, gave_up=True))
    *_, (_, results) = visits_of(model, stub).show(uploads(9), "m", "a", "s")
    assert stub.asked == ["0.png", "1.png", "2.png"]
    assert results is not None
    assert "6 more pictures have no prediction: these took too long" in results


def test_a_model_that_cannot_be_used_is_a_message(model: Path) -> None:
    def bad(upload: Upload) -> SliceResult:
        raise ModelFileError("no such net", "choose another")

    visited = visits_of(model, Stub(bad))
    *_, (status, results) = visited.show(uploads(1), "m", "a", "s")
    assert status == ""
    assert results is not None
    assert "no such net" in results
    *_, (_, results) = visited.show(uploads(1), "another", "a", "s")
    assert results is not None
    assert "this model is not served here" in results
    assert visited._newest == {}


def test_a_heat_map_is_made_when_its_slice_is_opened(model: Path) -> None:
    visited = visits_of(model, Stub(lambda upload: unreadable(upload) if upload.name == "1.png" else predicted(upload)))
    *before, (_, shown) = visited.show(uploads(3), "m", "a", "s")
    assert shown is not None
    assert not any("data-heat" in part for parts in before for part in parts if part)
    first, last = re.findall(r'data-heat="([^"]*)"', shown)
    assert visited.heat_map(last, "a", "s") == {"of": last, "caption": "heat-map of 2.png", "layer": "eA=="}
    assert visited.heat_map(first, "a", "s")["caption"] == "heat-map of 0.png"
    visit = first.partition("-")[0]
    # Of a slice without a prediction, of what was never shown, and of what is shown to others there is none.
    for asked, session in (
        (f"{visit}-1", "s"),
        (f"{visit}-3", "s"),
        (first, "t"),
        ("", "s"),
        ("x" * 99, "s"),
        ("9-0", "s"),
    ):
        assert visited.heat_map(asked, "a", session) == {
            "of": asked,
            "caption": "no heat-map: this slice is not kept any more; send it again",
        }


def test_what_heat_maps_are_made_from_goes_when_new_results_come(model: Path) -> None:
    visited = visits_of(model, Stub(predicted))
    *_, (_, shown) = visited.show(uploads(1), "m", "a", "s")
    [of] = re.findall(r'data-heat="([^"]*)"', shown or "")
    next(visited.show(uploads(1), "m", "a", "s"))
    assert "layer" not in visited.heat_map(of, "a", "s")


def test_a_heat_map_that_cannot_be_made_says_why(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    visited = visits_of(model, Stub(predicted))
    *_, (_, shown) = visited.show(uploads(1), "m", "a", "s")
    [of] = re.findall(r'data-heat="([^"]*)"', shown or "")

    def fails(*_: object) -> HeatMap:
        raise LungcliError("no heat-map: too slow", "choose a smaller model")

    monkeypatch.setattr(Stub, "explain", fails)
    assert visited.heat_map(of, "a", "s")["caption"] == "no heat-map: too slow; choose a smaller model"
