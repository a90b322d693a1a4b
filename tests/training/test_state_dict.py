"""Weights from elsewhere are read within limits, and what holds anything else is refused in a line."""

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lungcli.core.errors import ModelFileError
from lungcli.training import state_dict
from tests.security.test_models import poisoned


class _Vast:
    """Allowed by torch's reader of weights alone: 64 GB of zeros out of a few bytes."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return bytearray, (1 << 36,)


def archive(content: object, *, packed: bool = False) -> bytes:
    """A file as torch.save writes it, with `content` as its pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as items:
        items.writestr("archive/data.pkl", pickle.dumps(content, protocol=2))
        items.writestr("archive/version", "3\n")
        items.writestr("archive/byteorder", "little")
    return file.getvalue()


def test_tensors_are_those_of_the_file(tmp_path: Path) -> None:
    """Also where they share memory, or lie in another order than that of their shape."""
    whole = torch.arange(12.0).reshape(3, 4)
    torch.save({"state_dict": {"module.a": whole, "b": whole[0], "c": whole.t()}}, tmp_path / "net.pth")
    tensors = state_dict.read(tmp_path / "net.pth")
    assert tensors.keys() == {"a", "b", "c"}
    torch.testing.assert_close(tensors["c"], whole.t())
    torch.testing.assert_close(tensors["b"], whole[0])


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (archive({"a": _Vast()}), "takes more than 1,024 MB or 20 s"),
        (archive({"a": 1}), "holds no state dict"),
        (archive([1, 2]), "holds no state dict"),
        (archive({"a": 1}, packed=True), "is packed, as torch does not write it"),
        (b"no weights at all", "is no file of weights"),
        (b"", "is no file of weights"),
        (archive({})[:-30], "cannot read"),
    ],
    ids=["vast", "number", "list", "packed", "text", "empty", "torn"],
)
def test_what_is_no_state_dict_is_refused_in_a_line(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "net.pt").write_bytes(content)
    with pytest.raises(ModelFileError) as refused:
        state_dict.read(tmp_path / "net.pt")
    assert reason in refused.value.message
    assert "\n" not in refused.value.message


def test_a_pickle_with_programs_runs_none(tmp_path: Path) -> None:
    (tmp_path / "net.pt").write_bytes(poisoned(tmp_path / "mark"))
    with pytest.raises(ModelFileError, match="may run programs, and is not read"):
        state_dict.read(tmp_path / "net.pt")
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("name", ["none.pt", "none.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelFileError, match=rf"cannot read .*{name}"):
        state_dict.read(tmp_path / name)


def test_a_damaged_safetensors_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "net.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(ModelFileError, match="cannot read"):
        state_dict.read(tmp_path / "net.safetensors")
