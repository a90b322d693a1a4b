"""Volumes: whichever way they lie, the same axial slices."""

import gzip
import importlib.util
import itertools
import os
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import volumes
from lungcli.imaging.hounsfield import windowed
from tests.imaging import dicoms
from tests.imaging.pictures import HALF_A_LEVEL

# Slices as radiologists see them [Z, H, W], from feet to head: no two of them, and no two turns, are alike.
SLICES: NDArray[np.int16] = np.stack(
    [dicoms.hounsfield(seed)[:, :90] + np.arange(90, dtype=np.int16) for seed in (0, 20, 40)]
).astype(np.int16)
# The array's axes run to the right, the front and the head of the patient.
RAS: NDArray[np.int16] = SLICES[:, ::-1, ::-1].transpose(2, 1, 0)


def encoded(values: NDArray[Any] = RAS, affine: NDArray[Any] | None = None, kind: Any = nibabel.Nifti1Image) -> bytes:
    image = kind(values, np.eye(4) if affine is None else affine)
    return bytes(image.to_bytes())


def greys(content: bytes | Path, name: str = "x.nii") -> list[NDArray[np.float32]]:
    volume = volumes.opened(content, name, name)
    return [volumes.read_slice(volume, number, "x").grey for number in range(volume.slices)]


def refusal(content: bytes | Path, name: str = "x.nii") -> str:
    with pytest.raises(UnreadableInputError) as caught:
        greys(content, name)
    assert "\n" not in caught.value.message
    return caught.value.message


@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, -1, -1), (-1, 1, -1)])
def test_slices_are_the_same_however_the_array_lies(axes: tuple[int, int, int], flips: tuple[int, int, int]) -> None:
    orientation = np.array([[axis, flip] for axis, flip in zip(axes, flips, strict=True)], dtype=float)
    plain = nibabel.Nifti1Image(RAS, np.diag([0.7, 0.8, 5, 1]))
    turned = plain.as_reoriented(orientation)
    found = greys(bytes(nibabel.Nifti1Image(np.asarray(turned.dataobj), turned.affine).to_bytes()))
    np.testing.assert_allclose(found, windowed(SLICES), atol=HALF_A_LEVEL)


def test_values_are_scaled_as_the_header_says() -> None:
    content = bytearray(encoded(RAS + np.int16(1024)))
    # scl_slope and scl_inter, which nibabel sets to what it likes.
    content[112:120] = np.array([1, -1024], "<f4").tobytes()
    np.testing.assert_allclose(np.stack(greys(bytes(content))), windowed(SLICES), atol=HALF_A_LEVEL)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_packed_and_of_either_version(kind: Any) -> None:
    np.testing.assert_allclose(greys(gzip.compress(encoded(kind=kind))), windowed(SLICES), atol=HALF_A_LEVEL)


def test_a_volume_whose_scale_nobody_can_tell() -> None:
    ramp = np.linspace(0, 4000, RAS.size).reshape(RAS.shape).astype(np.int16)
    assert "its grey scale is unknown" in refusal(encoded(ramp))
    low = np.maximum(RAS, -1024) + 1024
    stored = greys(encoded(low.astype(np.int16)))
    np.testing.assert_allclose(stored, windowed(np.maximum(SLICES, -1024)), atol=HALF_A_LEVEL)


def test_what_is_no_volume_of_a_patient_who_lies_somehow() -> None:
    assert "no volume of three dimensions" in refusal(encoded(np.stack([RAS, RAS], axis=3)))
    assert "no volume of three dimensions" in refusal(encoded(RAS[..., 0]))
    assert "not grey" in refusal(encoded(RAS.astype(np.complex64)))
    assert "too small" in refusal(encoded(RAS[:20]))
    image = nibabel.Nifti1Image(RAS, None)
    assert "nothing in it says how the patient lies" in refusal(bytes(image.to_bytes()))


@pytest.mark.parametrize(
    "content", [b"", b"text" * 200, encoded()[:-9], gzip.compress(encoded())[:-400], encoded()[:200]]
)
def test_damage_is_one_line(content: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    assert refusal(content) == "cannot read x.nii: it is damaged or cut off"
    assert capfd.readouterr() == ("", "")


def test_odd_headers_are_not_talked_about(capfd: pytest.CaptureFixture[str]) -> None:
    """nibabel logs what it mends, in a process that has set up no log as well."""
    content = bytearray(encoded())
    # qform_code, and the offset of the values, which is no multiple of 16 then.
    content[252:254] = b"\0\2"
    content[108:112] = np.array([353], "<f4").tobytes()
    code = (
        "import sys; from lungcli.imaging import volumes;"
        "volumes.read_slice(volumes.opened(sys.stdin.buffer.read(), 'x.nii', 'x'), 0, 'x')"
    )
    done = subprocess.run([sys.executable, "-c", code], input=bytes(content) + b"\0", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_more_than_a_volume_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "MAX_BYTES", 1 << 14)
    assert refusal(gzip.compress(encoded())).endswith("it inflates to more than 0 MiB, more than a slice needs")


def meta_image(values: NDArray[Any] = SLICES, data: str = "LOCAL", **fields: str) -> bytes:
    """A MetaImage whose axes run to the left, the back and the head of the patient, unless `fields` say otherwise."""
    kinds = {"int16": "MET_SHORT", "uint8": "MET_UCHAR", "float32": "MET_FLOAT"}
    header = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "DimSize": " ".join(map(str, values.shape[::-1])),
        "ElementType": kinds[str(values.dtype)],
        **fields,
        "ElementDataFile": data,
    }
    lines = "".join(f"{key} = {value}\n" for key, value in header.items() if value)
    return lines.encode() + (values.tobytes() if data == "LOCAL" else b"")


def nrrd(values: NDArray[Any] = SLICES, *, directions: str = "(1,0,0) (0,1,0) (0,0,1)", data: str = "") -> bytes:
    lines = ["NRRD0004", "type: short", "dimension: 3", "space: left-posterior-superior", "endian: little"]
    lines += ["sizes: " + " ".join(map(str, values.shape[::-1])), "encoding: raw"]
    lines += [f"space directions: {directions}"] * bool(directions) + [f"data file: {data}"] * bool(data)
    return ("\n".join(lines) + "\n\n").encode() + (b"" if data else values.tobytes())


NO_ITK = importlib.util.find_spec("SimpleITK") is None
needs_itk = pytest.mark.skipif(NO_ITK, reason="the extra `volumes` (SimpleITK) is not installed")


@pytest.mark.parametrize("name", ["x.mha", "x.NRRD"])
def test_without_the_extra_it_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UnreadableInputError) as caught:
        volumes.opened(b"ObjectType = Image", name, name)
    assert (
        caught.value.message
        == f"cannot read {name}: MetaImage and NRRD need the extra `volumes`, which is not installed"
    )
    assert "pip install 'lungcli[volumes]'" in caught.value.hint


@needs_itk
@pytest.mark.parametrize("axes", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("flips", [(1, 1, 1), (-1, -1, 1), (1, -1, -1)])
def test_meta_image_and_nrrd_lie_as_their_directions_say(
    axes: tuple[int, int, int], flips: tuple[int, int, int]
) -> None:
    # Column i of the matrix is where the array's axis i runs to, of left, back and head.
    matrix = np.zeros((3, 3), dtype=int)
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        matrix[world, axis] = flip
    left_back_head = SLICES.transpose(2, 1, 0)
    turned = left_back_head.transpose(axes)[tuple(slice(None, None, flip) for flip in flips)]
    stored = np.ascontiguousarray(turned.transpose(2, 1, 0))
    columns = [" ".join(map(str, matrix[:, axis])) for axis in range(3)]
    expected = windowed(SLICES)
    content = meta_image(stored, TransformMatrix=" ".join(columns))
    np.testing.assert_allclose(greys(content, "x.mha"), expected, atol=HALF_A_LEVEL)
    directions = " ".join(f"({','.join(column.split())})" for column in columns)
    np.testing.assert_allclose(greys(nrrd(stored, directions=directions), "x.nrrd"), expected, atol=HALF_A_LEVEL)


@needs_itk
def test_values_in_a_file_beside_the_header(tmp_path: Path) -> None:
    (tmp_path / "x.raw").write_bytes(SLICES.tobytes())
    (tmp_path / "x.zraw").write_bytes(zlib.compress(SLICES.tobytes()))
    size = str((tmp_path / "x.zraw").stat().st_size)
    packed = meta_image(data="x.zraw", CompressedData="True", CompressedDataSize=size)
    for name, content in (("x.mhd", meta_image(data="x.raw")), ("y.mhd", packed), ("x.nhdr", nrrd(data="x.raw"))):
        (tmp_path / name).write_bytes(content)
        np.testing.assert_allclose(greys(tmp_path / name, name), windowed(SLICES), atol=HALF_A_LEVEL)
        assert refusal(content, name).endswith("its values lie in another file; unpack both into one folder")
    for data in ("gone.raw", "pipe.raw"):
        (tmp_path / "x.mhd").write_bytes(meta_image(data=data))
        assert refusal(tmp_path / "x.mhd", "x.mhd").endswith("the file with its values is missing")
        os.mkfifo(tmp_path / "pipe.raw") if data == "gone.raw" else None
    for data in ("../x.raw", "/dev/zero", "LIST", "x%d.raw 1 3 1"):
        assert refusal(meta_image(data=data), "x.mhd").endswith("in several files, or in another folder"), data
        assert refusal(nrrd(data=data), "x.nhdr").endswith("in several files, or in another folder"), data


@needs_itk
def test_what_is_no_meta_image_or_nrrd_of_a_patient(capfd: pytest.CaptureFixture[str]) -> None:
    assert "nothing in it says how the patient lies" in refusal(meta_image(TransformMatrix=""), "x.mha")
    assert "nothing in it says how the patient lies" in refusal(nrrd(directions=""), "x.nrrd")
    assert "too small" in refusal(meta_image(SLICES[:, :20]), "x.mha")
    assert "not grey" in refusal(meta_image(ElementNumberOfChannels="3"), "x.mha")
    assert "more than 4,096 slices" in refusal(meta_image(DimSize="99999 99999 99999"), "x.mha")
    assert "larger than 1 GiB" in refusal(meta_image(DimSize="4000 4000 4000"), "x.mha")
    for content, name in ((meta_image(), "x.mha"), (nrrd(), "x.nrrd")):
        for damaged in (content[:-100], content.replace(b"short", b"shirt").replace(b"MET_S", b"MET_X")):
            assert refusal(damaged, name) == f"cannot read {name}: it is damaged or cut off"
    # SimpleITK ends its process on this one.
    assert refusal(meta_image(NDims="93"), "x.mha") == "cannot read x.mha: it is damaged or cut off"
    assert len(greys(meta_image(), "x.mha")) == 3
    assert capfd.readouterr() == ("", "")


def test_nibabel_is_loaded_for_nothing_else() -> None:
    code = "import sys, lungcli.predict.inputs; sys.exit(bool({'nibabel', 'pydicom', 'gdcm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
