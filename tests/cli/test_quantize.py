"""Fine-tuning as typed: what it needs."""

import shutil
from pathlib import Path

from tests.cli.conftest import RUN, call


def test_a_file_outside_a_run_cannot_be_fine_tuned(workshop: Path, tmp_path: Path) -> None:
    """The weights to go on from lie in the run's folder, not in the file."""
    lone = tmp_path / "lone.onnx"
    shutil.copyfile(workshop / "runs" / RUN / "student" / "model.onnx", lone)
    done = call(workshop, "quantize", lone, "--qat-epochs", 1, check=2)
    assert f"and {lone} stands alone" in done.stderr
    assert "leave --qat-epochs out" in done.stderr
    assert not (tmp_path / "lone.int8.onnx").exists()
