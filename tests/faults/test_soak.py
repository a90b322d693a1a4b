"""A hundred predictions and more in one process: memory stays flat, and every file is closed again."""

import gc
from pathlib import Path

import psutil
import pytest

from lungcli.modelfile import model_file
from lungcli.predict.inputs import Naming, items
from lungcli.predict.predict import Prediction, predict
from tests.modelfile import graphs


@pytest.mark.parametrize(
    ("workers", "rounds"),
    [(2, 4), pytest.param(1, 10, marks=pytest.mark.long), pytest.param(2, 10, marks=pytest.mark.long)],
)
def test_hundreds_of_predictions_leave_no_file_open_and_no_memory_taken(
    slices: Path, tmp_path: Path, workers: int, rounds: int
) -> None:
    model = model_file.load(graphs.nodule_file(tmp_path / "m.onnx"), 1)
    process, seen = psutil.Process(), []
    for _ in range(rounds):
        found = [outcome for outcome, _ in predict(items([str(slices)], Naming()), model, force=True, workers=workers)]
        assert sum(isinstance(outcome, Prediction) for outcome in found) == 36
        gc.collect()
        files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
        seen.append((files, process.num_threads(), process.memory_info().rss))
    assert seen[-1][0] <= seen[0][0]
    assert seen[-1][1] <= seen[0][1]
    # What the first rounds bring in (buffers of the runtime, codecs) is not counted.
    assert seen[-1][2] - seen[rounds // 2][2] < 8e6
