"""How busy the machine is."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from lungcli.tui.system import system_stats
from lungcli.tui.system.system_stats import Gpu, RunProcess, SystemMonitor, Usage
from tests.tui import stage

SEEN = Usage(
    cores=(0.1, 0.95),
    used=8_000_000_000,
    total=16_000_000_000,
    swap=0,
    load=1.5,
    disk_free=70_000_000_000,
    gpus=(Gpu(name="A100 [1]", load=0.5, used=1 << 30, total=4 << 30),),
    jobs=(RunProcess(run="run [1]", pid=7, cpu=1.94, memory=2_500_000_000, threads=9, seconds=3900),),
)
HOLDER = """
import sys, filelock, time
with filelock.FileLock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_this_machine_has_cores_and_memory() -> None:
    seen = SystemMonitor().measure()
    assert len(seen.cores) >= 1
    assert all(0 <= share <= 1 for share in seen.cores)
    assert 0 < seen.used < seen.total
    assert seen.disk_free > 0
    assert seen.jobs == ()


def test_the_process_that_works_on_a_run_is_found() -> None:
    made = stage.run()
    command = [sys.executable, "-c", HOLDER, str(made.folder / ".lock"), "lungcli"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (job,) = SystemMonitor().measure().jobs
        process.kill()
    assert (job.run, job.pid) == (made.name, process.pid)
    assert job.memory > 1_000_000
    assert 0 <= job.seconds < 60


def test_gpus_by_the_drivers_tool() -> None:
    text = "NVIDIA A100, 40GB, 37, 1024, 40960\nOdd, [N/A], 0, 1\n\n"
    assert system_stats.parse_gpus(text) == (Gpu(name="NVIDIA A100, 40GB", load=0.37, used=1 << 30, total=40 << 30),)


@pytest.mark.parametrize(
    ("body", "patience", "named"),
    [("exit 9", 60, []), ("exec sleep 600", 0.3, []), ("printf 'T4, 5, 1, 2\\n'", 60, ["T4"])],
    ids=["fails", "hangs", "answers"],
)
def test_a_tool_that_hangs_or_fails_is_no_gpu(
    body: str, patience: float, named: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    tool.write_text(f"#!/bin/sh\n{body}\n")
    tool.chmod(0o755)
    monkeypatch.setattr(system_stats, "_PATIENCE", patience)
    before = time.monotonic()
    assert [gpu.name for gpu in system_stats.gpus()] == named
    assert time.monotonic() - before < 60


def test_bars_sparks_and_words() -> None:
    assert system_stats.spark((0.0, 0.5, 1.0), 5) == "  ▁▅█"
    assert system_stats.meter(0.95, 4).spans[0].style == "red"
    assert system_stats.cores(SEEN, 80).plain.count("\n") == 1
    assert system_stats.cores(SEEN, 20).plain.count("\n") == 2
    text = system_stats.memory(SEEN, 50).plain
    assert "8.0 GB of 16.0 GB" in text
    assert "A100 [1]" in text
    assert system_stats.rows(SEEN.jobs) == [("run [1]", "1.9", "2.5 GB", "9", "65m", "7")]
