import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lungcli.core import cpu
from lungcli.core.errors import ModelFileError
from lungcli.evaluation import benchmark
from lungcli.evaluation.benchmark import Measurement
from lungcli.modelfile import model_file
from tests.modelfile import graphs


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, tuple[int, ...]]]:
    """Record which model was given slices of which shape."""
    seen: list[tuple[str, tuple[int, ...]]] = []
    logits = model_file.Model.logits

    def recorded(self: model_file.Model, slices: NDArray[np.uint8]) -> NDArray[np.float32]:
        seen.append((self.path.stem, slices.shape))
        return logits(self, slices)

    monkeypatch.setattr(model_file.Model, "logits", recorded)
    return seen


def test_models_take_turns_after_the_warm_up(
    tmp_path: Path, calls: list[tuple[str, tuple[int, ...]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(benchmark, "MOST_RUNS", 4)
    paths = [graphs.model_file(tmp_path / f"{name}.onnx") for name in "ab"]
    found = benchmark.benchmark(paths, seconds=60, warmups=3, threads=1, batch=2)
    assert "".join(name for name, _ in calls) == "aaabbb" + "abababab"
    assert {shape for _, shape in calls} == {(2, 32, 32)}
    assert [(row.name, row.n, row.threads, row.batch) for row in found] == [("a", 4, 1, 2), ("b", 4, 1, 2)]
    assert [row.bytes for row in found] == [path.stat().st_size for path in paths]
    for row in found:
        assert 0 < row.p50 <= row.p90 <= row.p99
        assert row.mean > 0


def test_the_time_limit_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**12, 5_000_000))
    monkeypatch.setattr("lungcli.evaluation.benchmark.time.perf_counter_ns", lambda: next(clock))
    (found,) = benchmark.benchmark([graphs.model_file(tmp_path / "m.onnx")], seconds=0.1, warmups=0)
    assert (found.n, found.p50, found.p99, found.mean) == (20, 5.0, 5.0, 5.0)


def test_percentiles_are_of_all_calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def in_turn(*_: Any) -> tuple[list[float], ...]:
        return ([float(i) for i in range(1, 102)],)

    monkeypatch.setattr(benchmark, "_take_turns", in_turn)
    (found,) = benchmark.benchmark([graphs.model_file(tmp_path / "m.onnx")], warmups=0)
    assert (found.p50, found.p90, found.p99, found.mean, found.n) == (51, 91, 100, 51, 101)


def test_a_loaded_model_keeps_its_threads(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    (found,) = benchmark.benchmark([model], seconds=0.001, warmups=0, threads=2)
    assert found.threads == 1


def test_nothing_to_time() -> None:
    assert benchmark.benchmark([]) == ()


def test_a_path_that_is_no_model_file(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError):
        benchmark.benchmark([tmp_path / "none.onnx"])


def test_the_machine_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "flags", lambda: frozenset({"sse2", "avx2", "avx512_vnni"}))
    found = benchmark.machine()
    assert found["flags"] == "avx2 avx512_vnni"
    assert found["cpu"] == cpu.name()
    assert list(found) == ["cpu", "cores", "flags", "system", "onnxruntime", "python"]


def test_progress_is_reported_and_may_stop_the_benchmark(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)
    heard: list[tuple[int, int]] = []
    benchmark.benchmark([model], seconds=0.01, advance=lambda done, total: heard.append((done, total)))
    assert heard[-1] == (10, 10) or len(heard) == benchmark.MOST_RUNS

    def enough(done: int, total: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        benchmark.benchmark([model], seconds=60, advance=enough)


def measured(load: float = 0.0) -> Measurement:
    return Measurement(name="m", p50=1, p90=2, p99=3, mean=1, n=9, threads=2, batch=1, bytes=1, load=load)


def test_a_latency_is_kept_until_the_file_is_another(tmp_path: Path) -> None:
    path = graphs.model_file(tmp_path / "a.onnx")
    assert benchmark.kept(path) is None
    benchmark.keep([path], [measured()])
    assert benchmark.kept(path) == measured()
    renamed = path.rename(tmp_path / "b.onnx")
    assert benchmark.kept(renamed) == measured(), "it goes with the file"
    renamed.write_bytes(renamed.read_bytes() + b"more")
    assert benchmark.kept(renamed) is None


def test_a_latency_of_another_processor_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = graphs.model_file(tmp_path / "a.onnx")
    benchmark.keep([path], [measured()])
    monkeypatch.setattr("lungcli.core.cpu.name", lambda: "another")
    assert benchmark.kept(path) is None


def test_what_cannot_be_kept_stops_nothing(tmp_path: Path, home: Path) -> None:
    (home / "latencies").write_text("a file where a folder should be")
    path = graphs.model_file(tmp_path / "a.onnx")
    benchmark.keep([path], [measured()])
    assert benchmark.kept(path) is None
    assert benchmark.kept(tmp_path / "gone.onnx") is None


def test_work_beside_a_measurement_is_noticed(tmp_path: Path) -> None:
    path = graphs.model_file(tmp_path / "a.onnx")
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        (row,) = benchmark.benchmark([path], seconds=0.5)
    finally:
        busy.kill()
        busy.wait()
    assert row.load > 0.25
    assert row.disturbed
    assert not measured().disturbed
