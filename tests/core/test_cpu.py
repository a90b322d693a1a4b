import platform
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from lungcli.core import cpu

_CORE = "processor : {0}\nmodel name : Test 9000\nphysical id : 0\ncore id : {1}\nflags : sse2 avx2 {2}\n\n"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Forget what was read of the real machine before, and of the made-up one after."""
    cpu._cpuinfo.cache_clear()
    yield
    cpu._cpuinfo.cache_clear()


def _pretend(text: str, path: Path, monkeypatch: pytest.MonkeyPatch, allowed: int = 64) -> None:
    path.write_text(text)
    monkeypatch.setattr(cpu, "_CPUINFO", path)
    monkeypatch.setattr(cpu, "logical_cores", lambda: allowed)


def test_the_smallest_numbers_are_zero_where_the_processor_can_be_told_so() -> None:
    flushes = sys.platform == "linux" and platform.machine() == "x86_64"
    smallest, products = np.full(64, 1e-40, dtype=np.float32), []
    with cpu.denormals_as_zero():
        products.append(smallest * np.float32(1))
        thread = threading.Thread(target=lambda: products.append(smallest * np.float32(1)))
        thread.start()
        thread.join()
    assert [bool((product == 0).all()) for product in products] == [flushes, flushes]
    assert (smallest * np.float32(1) > 0).all()


@pytest.mark.parametrize(("flag", "expected"), [("avx512_vnni", True), ("avx_vnni", True), ("fma", False)])
def test_vnni_is_read_from_the_flags(
    flag: str, expected: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _pretend(_CORE.format(0, 0, flag), tmp_path / "cpuinfo", monkeypatch)
    assert cpu.has_vnni() is expected
    assert cpu.name() == "Test 9000"


def test_hyper_threads_count_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    four_threads = "".join(_CORE.format(i, i // 2, "") for i in range(4))
    _pretend(four_threads, tmp_path / "cpuinfo", monkeypatch)
    assert cpu.physical_cores() == 2


def test_no_more_cores_than_the_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    eight_cores = "".join(_CORE.format(i, i, "") for i in range(8))
    _pretend(eight_cores, tmp_path / "cpuinfo", monkeypatch, allowed=3)
    assert cpu.physical_cores() == 3


def test_a_system_that_does_not_tell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "_CPUINFO", tmp_path / "missing")
    assert cpu.flags() is None
    assert cpu.has_vnni() is None
    assert cpu.physical_cores() == cpu.logical_cores() >= 1
    assert cpu.name()
