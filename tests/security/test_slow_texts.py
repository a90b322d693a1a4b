"""Texts of foreign files that a pattern would look through again and again: read in time that grows as they do."""

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lungcli.core.errors import LungcliError
from lungcli.datasets.ingest import folder_layout
from lungcli.imaging import itk_images
from lungcli.modelfile import foreign_net
from lungcli.modelfile.foreign_net import Conventions, ForeignNet

MOST_SECONDS = 1
LONG = 65_000


def a_volume(name: str, head: bytes) -> None:
    itk_images.read(head, name, name)


def a_net(names: str) -> None:
    net = ForeignNet(
        path=Path("net.onnx"),
        sha256="",
        net=None,
        metadata={"names": names, "imgsz": "64"},
        input="pictures",
        shape=(1, 3, 64, 64),
        is_integer=False,
        output="logits",
        outputs=2,
        ends_in="Gemm",
    )
    foreign_net.conventions(net, Conventions())


READ: dict[str, Callable[[], object]] = {
    "classes of a net": lambda: a_net("1" * LONG),
    "lines of a MetaImage": lambda: a_volume("x.mha", b"\n" * LONG),
    "spaces of a MetaImage": lambda: a_volume("x.mha", b"Rotation = 1\nElementDataFile = a" + b" " * LONG + b"b"),
    "spaces of an NRRD": lambda: a_volume("x.nrrd", b"space directions: 1\ndata file: a" + b" " * LONG + b"b"),
    "a folder in an archive": lambda: folder_layout.class_name("_" * LONG + "x"),
}


@pytest.mark.parametrize("name", READ)
def test_a_text_is_read_in_bounded_time(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Headers are looked at before SimpleITK, an extra, is started.
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    begun = time.process_time()
    if name.startswith("a folder"):
        assert READ[name]() == "_" * LONG + "x"
    else:
        with pytest.raises(LungcliError):
            READ[name]()
    assert time.process_time() - begun < MOST_SECONDS
