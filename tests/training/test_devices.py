"""Where to compute."""

import ctypes
import resource

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


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="only glibc can be told to keep freed memory")
def test_memory_that_a_batch_has_freed_is_there_for_the_next() -> None:
    """40 MiB are 10,240 pages: taken from the kernel again, each would cost a fault."""
    devices.choose_compute(recipes.make(data="d", model="m", device="cpu", threads=1))
    torch.ones(32 * 2**20)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(10 * 2**20)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 1_000
