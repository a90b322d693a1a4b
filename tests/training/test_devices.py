"""Where to compute."""

import ctypes
import subprocess
import sys

import pytest
import torch

from lungcli.core import cpu
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.training import devices


@pytest.mark.parametrize(
    ("flags", "precision"),
    [({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16"), ({"avx2"}, "float32"), (None, "float32")],
)
def test_bfloat16_only_where_it_is_native(
    monkeypatch: pytest.MonkeyPatch, flags: set[str] | None, precision: str
) -> None:
    monkeypatch.setattr(cpu, "flags", lambda: None if flags is None else frozenset(flags))
    place = devices.choose_compute(recipes.make(data="d", model="m", device="cpu", threads=1))
    assert (place.device.type, place.precision, place.threads) == ("cpu", precision, 1)


def test_resolving_writes_the_choice_down() -> None:
    resolved = devices.resolve(recipes.make(data="d", model="m", device="cpu", threads=1))
    assert resolved.precision in ("float32", "bfloat16")
    assert resolved.device == "cpu"
    assert devices.resolve(resolved) == resolved


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device that is asked for in vain")
def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UsageError, match="there is no device 'cuda'") as caught:
        devices.choose_compute(recipes.make(data="d", model="m", device="cuda"))
    assert "cpu" in caught.value.hint


# In a process of its own: what others have freed before would do as well.
AGAIN = """
import resource
import torch
from lungcli.core import recipe
from lungcli.training import devices
devices.choose_compute(recipe.make(data="d", model="m", device="cpu", threads=1))
torch.ones(32 * 2**20)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.ones(10 * 2**20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc has such a setting"
)
def test_memory_that_a_batch_has_freed_is_there_for_the_next() -> None:
    """40 MiB are 10,240 pages: taken from the kernel again, each would cost a fault."""
    faults = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, check=True).stdout
    assert int(faults) < 1_000
