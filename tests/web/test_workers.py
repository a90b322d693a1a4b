"""Whose turn it is on the page, and processes that hang or die."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lungcli.core.errors import LungcliError, ModelFileError
from lungcli.core.worker_process import WorkerProcess
from lungcli.predict.predict import Failure, Prediction
from lungcli.web import examples, workers
from lungcli.web.slice_worker import Upload
from lungcli.web.workers import BusyError, Turns, Workers
from tests.modelfile import graphs


class Line:
    """Visitors in line for one slot, which is held until all of them have come; the order in which they are served."""

    def __init__(self, slots: int = 1) -> None:
        self.turns, self.served = Turns(slots), list[str]()
        self._threads: list[threading.Thread] = []

    def come(self, visitor: str) -> None:
        before = len(self.turns._waiting)
        thread = threading.Thread(target=self._be_served, args=(visitor,))
        thread.start()
        self._threads.append(thread)
        until = time.monotonic() + 20
        while len(self.turns._waiting) == before and thread.is_alive() and time.monotonic() < until:
            time.sleep(0.001)

    def _be_served(self, visitor: str) -> None:
        with self.turns.turn(visitor):
            self.served.append(visitor)

    def end(self) -> list[str]:
        for thread in self._threads:
            thread.join(20)
        return self.served


def test_many_of_one_visitor_come_after_one_of_another() -> None:
    line = Line()
    with line.turns.turn("first"):
        for visitor in ("many", "many", "many", "one", "two"):
            line.come(visitor)
    assert line.end() == ["many", "one", "two", "many", "many"]


def test_a_visitor_has_one_process_at_a_time_though_others_are_idle() -> None:
    line = Line(slots=2)
    with line.turns.turn("many"):
        line.come("many")
        with line.turns.turn("one"):
            pass
        assert line.served == []
    assert line.end() == ["many"]


def test_whoever_has_too_much_under_way_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line()
    monkeypatch.setattr(workers, "_MAX_WAITING", 2)
    with line.turns.turn("first"):
        for _ in range(2):
            line.come("many")
        with pytest.raises(BusyError, match="too many of your pictures"), line.turns.turn("many"):
            pass
        line.come("one")
    assert sorted(line.end()) == ["many", "many", "one"]


def test_who_waited_in_vain_leaves_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    turns = Turns(1)
    monkeypatch.setattr(workers, "_WAIT_SECONDS", 0.05)
    with turns.turn("first"), pytest.raises(BusyError, match="busy"), turns.turn("second"):
        pass
    with turns.turn("third"):
        assert not turns._waiting


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graphs.nodule_file(tmp_path_factory.mktemp("model") / "m.onnx")


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Until it is undone, a process that has SECONDS for a request stands still, and its time is over at once."""
    ask = WorkerProcess.ask

    def hang(process: WorkerProcess, request: bytes, seconds: float) -> bytes:
        if seconds == workers.SECONDS and process._process:
            psutil.Process(process._process.pid).suspend()
            return ask(process, request, 0.0)
        return ask(process, request, seconds)

    monkeypatch.setattr(WorkerProcess, "ask", hang)
    return monkeypatch


@pytest.fixture
def started() -> Iterator[Workers]:
    with contextlib.closing(Workers()) as running:
        yield running


def test_what_hangs_in_another_process_is_given_up_and_the_next_picture_predicted(
    started: Workers, model: Path, hanging: pytest.MonkeyPatch
) -> None:
    upload = examples.phantom("malignant")
    result = started.predict(upload, model, "a")
    assert result.gave_up
    assert isinstance(result.outcome, Failure)
    assert "it takes more than 10 s" in result.outcome.reason
    hanging.undo()
    outcome = started.predict(upload, model, "a").outcome
    assert isinstance(outcome, Prediction)
    assert outcome.label == "malignant"


def test_a_process_that_dies_costs_one_picture(started: Workers, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started.load(model)
    ask = WorkerProcess.ask

    def dies(self: WorkerProcess, request: bytes, seconds: float) -> bytes:
        if b"evil" in request:
            self.end()
            raise EOFError
        return ask(self, request, seconds)

    monkeypatch.setattr(WorkerProcess, "ask", dies)
    result = started.predict(Upload(name="evil.png", content=b"x"), model, "a")
    assert result.gave_up
    assert isinstance(result.outcome, Failure)
    assert "cannot predict evil.png: it ends its reader" in result.outcome.reason
    assert isinstance(started.predict(examples.phantom("normal"), model, "a").outcome, Prediction)


def test_a_bad_model_file_is_an_error_of_the_model(started: Workers, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ModelFileError):
        started.load(tmp_path / "m.onnx")
    with pytest.raises(ModelFileError):
        started.predict(examples.phantom("normal"), tmp_path / "m.onnx", "a")


def test_a_heat_map_that_takes_too_long_is_given_up(
    started: Workers, model: Path, request: pytest.FixtureRequest
) -> None:
    heat_input = started.predict(examples.phantom("malignant"), model, "a").heat_input
    assert heat_input
    assert "regions that support malignant" in started.explain(heat_input, model, "a").caption
    hanging: pytest.MonkeyPatch = request.getfixturevalue("hanging")
    with pytest.raises(LungcliError, match="no heat-map: it takes more than 10 s"):
        started.explain(heat_input, model, "a")
    hanging.undo()
    assert started.explain(heat_input, model, "a").layer
