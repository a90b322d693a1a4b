"""Pictures read in another process: the same picture, the same error, and none that takes too long."""

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from lungcli.core.errors import UnreadableInputError
from lungcli.core.worker_process import WorkerProcess
from lungcli.imaging import containers, image_io, lung_segmentation, timed_reading
from lungcli.imaging.net_inputs import InputKind, net_inputs
from lungcli.imaging.picture import Picture
from lungcli.predict.inputs import Item
from tests.imaging import dicoms, pictures, test_volumes

FRAMES = np.stack([dicoms.hounsfield(seed) + np.int16(1024) for seed in (0, 20, 40)])


def timed(item: Item, seconds: float = 60.0) -> Picture:
    assert not callable(item.source)
    return timed_reading.read_timed(item.source, item.shown, item.scale, seconds)


@pytest.mark.parametrize("content", [pictures.png(1), dicoms.dicom()], ids=["png", "dicom"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_a_picture_is_the_same_as_read_here(content: bytes, in_memory: bool, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"sc\xffan.png")
    path.write_bytes(content)
    item = Item(shown=str(path), source=content if in_memory else path)
    here, there = item.read(), timed(item)
    np.testing.assert_array_equal(there.pixels, here.pixels)
    for field in dataclasses.fields(Picture):
        if field.name != "pixels":
            assert getattr(there, field.name) == getattr(here, field.name)


@pytest.mark.parametrize("content", [pictures.png(1), dicoms.dicom(BodyPartExamined="HEAD")], ids=["png", "dicom"])
@pytest.mark.parametrize("in_memory", [True, False])
def test_inputs_of_nets_are_the_same_as_made_here(content: bytes, in_memory: bool, tmp_path: Path) -> None:
    path = tmp_path / "scan"
    path.write_bytes(content)
    kinds: list[InputKind] = [(64, "lungs"), (96, "crop"), (64, "lungs")]
    picture = image_io.read(path)
    here = net_inputs(picture, lung_segmentation.segment(picture.pixels), kinds)
    there = timed_reading.read_inputs(content if in_memory else path, "scan", None, kinds, 60.0)
    for one, other in zip(there.slices, here.slices, strict=True):
        np.testing.assert_array_equal(one, other)
    assert (there.features, there.region, there.scale) == (here.features, here.region, here.scale)
    assert [len(slice_) for slice_ in there.slices] == [64, 96, 64]
    with pytest.raises(UnreadableInputError, match="cannot read b: it is not a picture"):
        timed_reading.read_inputs(b"no picture", "b", None, kinds, 60.0)


def test_what_cannot_be_read_says_the_same(tmp_path: Path) -> None:
    for item in (Item(shown="a", source=b"no picture"), Item(shown="b", source=tmp_path / "missing.png")):
        with pytest.raises(UnreadableInputError) as here:
            item.read()
        with pytest.raises(UnreadableInputError) as there:
            timed(item)
        assert (there.value.message, there.value.hint) == (here.value.message, here.value.hint)


def test_processes_that_were_started_ahead_are_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timed_reading, "_idle", [])
    timed_reading.start(2)
    ahead = list(timed_reading._idle)
    assert all(reader.process._process for reader in ahead)
    assert timed(Item(shown="a", source=pictures.png(1))).kind == "png"
    assert timed_reading._idle == ahead


def test_a_decoder_that_hangs_or_dies_costs_its_own_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Item(shown="scan\n.png", source=pictures.png(1))
    for error, why in ((TimeoutError, "takes more than 0.5 s"), (EOFError, "its decoder ends")):
        with monkeypatch.context() as patch:

            def failing(_: WorkerProcess, request: bytes, seconds: float, error: type[Exception] = error) -> bytes:
                raise error

            patch.setattr(WorkerProcess, "ask", failing)
            with pytest.raises(UnreadableInputError, match=rf"cannot read scan\?\.png: .*{why}"):
                timed(item, 0.5)
    assert timed(item).kind == "png"
    assert len(timed_reading._idle) >= 1


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize(
    ("name", "content"), [("", dicoms.dicom(FRAMES, NumberOfFrames=3)), ("x.nii", test_volumes.encoded())]
)
def test_slices_of_a_container_are_the_same_as_read_here(
    name: str, content: bytes, in_memory: bool, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(content)
    source = content if in_memory else tmp_path / "file"
    here = containers.opened(source, name, "x")
    # Two are read from by turns, and a picture in between: a process that has another one open is sent the file again.
    first, second = (timed_reading.opened(source, name, "x", 60.0) for _ in range(2))
    assert first.parts == second.parts == here.parts
    for part in here.parts:
        expected = here.read(part, "x").pixels
        for there in (first, second, first):
            np.testing.assert_array_equal(there.read(part, "x").pixels, expected)
        assert timed(Item(shown="a", source=pictures.png(1))).kind == "png"


def test_a_container_that_cannot_be_read_says_the_same_and_costs_no_other(tmp_path: Path) -> None:
    values = test_volumes.RAS.copy()
    values[..., 1] = np.linspace(0, 4000, values[..., 1].size).reshape(values[..., 1].shape)
    (tmp_path / "x.nii").write_bytes(test_volumes.encoded(values))
    volume = timed_reading.opened(tmp_path / "x.nii", "x.nii", "x", 60.0)
    with pytest.raises(UnreadableInputError, match="cannot read y: its grey scale is unknown"):
        volume.read(1, "y")
    volume.read(2, "z")
    with pytest.raises(UnreadableInputError, match="cannot read c: it is damaged or cut off"):
        timed_reading.opened(b"no volume", "c.nii", "c", 60.0)
    # The process that has it open goes, and so does the file.
    for reader in timed_reading._idle:
        reader.process.end()
    volume.read(0, "z")
    (tmp_path / "x.nii").unlink()
    for reader in timed_reading._idle:
        reader.holds = None
    with pytest.raises(UnreadableInputError, match="there is no such file"):
        volume.read(0, "z")


def test_opening_and_each_slice_have_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    volume = timed_reading.opened(test_volumes.encoded(), "x.nii", "x", 0.5 + 60)

    def hang(_: WorkerProcess, request: bytes, seconds: float) -> bytes:
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(WorkerProcess, "ask", hang)
        with pytest.raises(UnreadableInputError, match=r"cannot read y: it takes more than 60\.5 s"):
            volume.read(0, "y")
        with pytest.raises(UnreadableInputError, match=r"cannot read x: it takes more than 0\.5 s"):
            timed_reading.opened(test_volumes.encoded(), "x.nii", "x", 0.5)
    assert volume.read(0, "y").kind == "volume"
