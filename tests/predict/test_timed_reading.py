"""Pictures read in another process: the same picture, the same error, and none that takes too long."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from lungcli.core.errors import UnreadableInputError
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging.picture import Picture
from lungcli.predict import timed_reading
from lungcli.predict.inputs import Item
from tests.imaging import dicoms, pictures


@pytest.mark.parametrize("content", [pictures.png(1), dicoms.dicom()], ids=["png", "dicom"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_picture_is_the_same_as_read_here(content: bytes, in_memory: bool, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"sc\xffan.png")
    path.write_bytes(content)
    item = Item(shown=str(path), source=content if in_memory else path)
    here, there = item.read(), timed_reading.read_timed(item, 60.0)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    for field in dataclasses.fields(Picture):
        if field.name != "pixels":
            assert getattr(there, field.name) == getattr(here, field.name)


def test_what_cannot_be_read_says_the_same(tmp_path: Path) -> None:
    for item in (Item(shown="a", source=b"no picture"), Item(shown="b", source=tmp_path / "missing.png")):
        with pytest.raises(UnreadableInputError) as here:
            item.read()
        with pytest.raises(UnreadableInputError) as there:
            timed_reading.read_timed(item, 60.0)
        assert (there.value.message, there.value.hint) == (here.value.message, here.value.hint)


def test_a_decoder_that_hangs_or_dies_costs_its_own_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Item(shown="scan\n.png", source=pictures.png(1))
    for error, why in ((TimeoutError, "takes more than 0.5 s"), (EOFError, "its decoder ends")):
        with monkeypatch.context() as patch:

            def failing(_: WorkerProcess, request: bytes, seconds: float, error: type[Exception] = error) -> bytes:
                raise error

            patch.setattr(WorkerProcess, "ask", failing)
            with pytest.raises(UnreadableInputError, match=rf"cannot read scan\?\.png: .*{why}"):
                timed_reading.read_timed(item, 0.5)
    assert timed_reading.read_timed(item, 60.0).kind == "png"
    assert len(timed_reading._idle) >= 1
