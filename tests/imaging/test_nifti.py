"""NIfTI volumes: whichever way they lie, the same axial slices."""

import gzip
import itertools
import subprocess
import sys
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import nifti
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


def greys(content: bytes) -> list[NDArray[np.float32]]:
    volume = nifti.opened(content, "x.nii")
    return [nifti.read_slice(volume, number, "x").grey for number in range(volume.slices)]


def refusal(content: bytes) -> str:
    with pytest.raises(UnreadableInputError) as caught:
        greys(content)
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


def test_more_than_a_volume_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nifti, "MAX_BYTES", 1 << 14)
    assert refusal(gzip.compress(encoded())).endswith("it is damaged or cut off")


def test_nibabel_is_loaded_for_nothing_else() -> None:
    code = "import sys, lungcli.predict.inputs; sys.exit(bool({'nibabel', 'pydicom', 'gdcm'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
