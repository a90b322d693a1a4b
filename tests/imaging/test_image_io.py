"""Reading pictures: what comes out of every kind, and one clear line for everything that is none."""

import io
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, JPEG2000Lossless, generate_uid

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import hounsfield
from lungcli.imaging import picture as reading
from lungcli.imaging.image_io import read
from lungcli.imaging.picture import Picture
from tests.imaging import dicoms
from tests.imaging.pictures import HALF_A_LEVEL, encoded, noise, png


def refusal(source: Path | bytes, name: str = "") -> str:
    with pytest.raises(UnreadableInputError) as caught:
        read(source, name)
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize(("kind", "named"), [("PNG", "png"), ("TIFF", "tiff"), ("BMP", "bmp")])
def test_lossless_8_bit_keeps_every_value(kind: str, named: str) -> None:
    values = noise(1, height=40, width=56)

    picture = read(encoded(values, kind))

    assert picture.kind == named
    assert picture.size == (56, 40)
    assert picture.grey.dtype == np.float32
    np.testing.assert_allclose(picture.grey, values / 255, atol=HALF_A_LEVEL)


def test_jpeg_comes_close() -> None:
    smooth = np.linspace(0, 255, 64 * 64).reshape(64, 64).astype(np.uint8)

    picture = read(encoded(smooth, "JPEG", quality=95))

    assert picture.kind == "jpeg"
    np.testing.assert_allclose(picture.grey, smooth / 255, atol=0.03)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize(("brightest", "bits"), [(40_000, 16), (5_000, 13)])
def test_16_bit_is_scaled_by_the_bits_in_use(kind: str, brightest: int, bits: int) -> None:
    values = np.linspace(0, brightest, 48 * 48).reshape(48, 48).astype(np.uint16)

    picture = read(encoded(values, kind))

    np.testing.assert_allclose(picture.grey, values / (2**bits - 1), atol=HALF_A_LEVEL)


def test_16_bit_tiff_where_white_is_zero_is_turned_round() -> None:
    values = np.linspace(0, 65_535, 48 * 48).reshape(48, 48).astype(np.uint16)
    content = bytearray(encoded(values, "TIFF"))
    # Tag 262, short, one value: 1 (black is zero) becomes 0.
    at = content.index(struct.pack("<HHI", 262, 3, 1)) + 8
    content[at : at + 2] = struct.pack("<H", 0)

    np.testing.assert_allclose(read(bytes(content)).grey, 1 - values / 65_535, atol=HALF_A_LEVEL)


def as_rgb(image: Image.Image) -> Image.Image:
    return image.convert("RGB")


def as_rgba(image: Image.Image) -> Image.Image:
    seen_through = image.convert("RGBA")
    seen_through.putalpha(Image.linear_gradient("L").resize(image.size))
    return seen_through


def as_grey_alpha(image: Image.Image) -> Image.Image:
    return as_rgba(image).convert("LA")


def as_palette(image: Image.Image) -> Image.Image:
    return image.convert("P")


@pytest.mark.parametrize("turned", [as_rgb, as_rgba, as_grey_alpha, as_palette])
def test_other_ways_to_hold_the_same_grey(turned: Callable[[Image.Image], Image.Image]) -> None:
    values = noise(2)
    file = io.BytesIO()
    turned(Image.fromarray(values)).save(file, format="PNG")

    picture = read(file.getvalue())

    np.testing.assert_allclose(picture.grey, values / 255, atol=HALF_A_LEVEL)
    assert picture.colour == 0


def test_palette_with_transparency_is_read_without_a_warning() -> None:
    file = io.BytesIO()
    Image.fromarray(noise(2)).convert("P").save(file, format="PNG", transparency=bytes(range(256)))

    np.testing.assert_allclose(read(file.getvalue()).grey, noise(2) / 255, atol=HALF_A_LEVEL)


def test_black_and_white() -> None:
    values = noise(3) > 127

    np.testing.assert_array_equal(read(encoded(values, "PNG")).grey, values.astype(np.float32))


def test_colour_becomes_luminance_and_is_measured() -> None:
    red = np.zeros((48, 48, 3), dtype=np.uint8)
    red[..., 0] = 255

    picture = read(encoded(red))

    np.testing.assert_allclose(picture.grey, 0.299, atol=0.002)
    assert picture.colour == pytest.approx(1.0)


def smooth_colours() -> NDArray[np.uint8]:
    ramp = np.linspace(20, 230, 64)
    channels = np.broadcast_arrays(ramp[:, None], ramp[None, :], ramp[::-1, None])
    return np.stack(channels, axis=2).astype(np.uint8)


@pytest.mark.parametrize("options", [{}, {"subsampling": 0}, {"keep_rgb": True}, {"progressive": True}])
def test_a_jpeg_has_the_luminance_of_the_colours_it_stands_for(options: dict[str, Any]) -> None:
    file = encoded(smooth_colours(), "JPEG", quality=95, **options)
    shown = Image.open(io.BytesIO(file))

    picture = read(file)

    np.testing.assert_allclose(picture.grey, np.asarray(shown.convert("L")) / 255, atol=1.5 / 255)
    channels = np.asarray(shown).astype(np.int16)
    # Of a part of the rows: these colours are no less strong in the other rows.
    assert picture.colour == pytest.approx((channels.max(axis=2) - channels.min(axis=2)).mean() / 255, rel=0.4)


@pytest.mark.parametrize("header", [b"", bytes(60_000)], ids=["small", "larger than the picture"])
def test_colour_of_a_jpeg_is_told_below_a_black_margin(header: bytes) -> None:
    """Its first data holds the margin, or the header, alone."""
    colours = np.zeros((512, 512, 3), dtype=np.uint8)
    colours[200:] = np.random.default_rng(0).integers(0, 200, (312, 512, 1), dtype=np.uint8)
    colours[200:, :, 0] += 50

    assert read(encoded(colours, "JPEG", comment=header)).colour > 0.05


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_grey_is_the_same_whether_colour_is_asked_for_or_not(mode: str) -> None:
    file = io.BytesIO()
    Image.fromarray(smooth_colours()).convert(mode).save(file, "JPEG", quality=95)

    asked, unasked = read(file.getvalue()), read(file.getvalue(), colour=False)

    np.testing.assert_array_equal(asked.grey, unasked.grey)
    assert (asked.colour > 0.1, unasked.colour) == (mode != "L", 0.0)


def test_a_grey_jpeg_stored_in_colour_is_the_picture_that_a_viewer_shows() -> None:
    file = encoded(np.repeat(noise(3)[..., None], 3, axis=2), "JPEG", quality=90)

    picture = read(file, colour=False)

    np.testing.assert_array_equal(np.rint(picture.grey * 255), np.asarray(Image.open(io.BytesIO(file)).convert("L")))


def test_a_path_and_its_bytes_are_the_same_picture(tmp_path: Path) -> None:
    path = tmp_path / "Fall (1) [ä] ü.png"
    path.write_bytes(png(4))

    np.testing.assert_array_equal(read(path).grey, read(png(4)).grey)


def test_content_counts_not_the_suffix(tmp_path: Path) -> None:
    path = tmp_path / "slice.png"
    path.write_bytes(encoded(noise(5), "JPEG"))

    assert read(path).kind == "jpeg"


def test_missing(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.png") == f"cannot read {tmp_path / 'none.png'}: there is no such file"


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path).endswith("it is a folder")


def test_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").write_bytes(b"")
    assert refusal(tmp_path / "empty.png").endswith("empty.png: it is empty")
    assert refusal(b"") == "cannot read the picture: it is empty"


def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.png").write_bytes(png(1))

    def refuse(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_bytes", refuse)

    assert refusal(tmp_path / "mine.png").endswith("mine.png: permission denied")


def test_name_too_long_for_the_platform(tmp_path: Path) -> None:
    assert refusal(tmp_path / ("x" * 5000 + ".png")).startswith("cannot read ")


def test_text_renamed() -> None:
    assert refusal(b"dear colleague, " * 40, "note.png") == "cannot read note.png: it is not a picture"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP"])
def test_cut_off(kind: str) -> None:
    whole = encoded(np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8), kind)

    # A TIFF that lost its directory, which Pillow puts first, would not be a picture at all.
    assert refusal(whole[: len(whole) * 2 // 3], "cut").endswith("cut: it is damaged or cut off")


def png_header(width: int, height: int) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


# Below Pillow's own limit, where Pillow only warns, and where it refuses.
@pytest.mark.parametrize("side", [8_100, 12_000, 60_000])
def test_bomb_is_refused_by_its_header(side: int) -> None:
    message = refusal(png_header(side, side), "bomb.png")

    assert message.startswith("cannot read bomb.png: it is too large")


@pytest.mark.parametrize(("height", "width"), [(1, 1), (31, 400), (400, 31)])
def test_too_small(height: int, width: int) -> None:
    values = np.zeros((height, width), dtype=np.uint8)

    assert refusal(encoded(values), "tiny").endswith(f"it is too small, {width}×{height} pixels")


def test_smallest() -> None:
    assert read(encoded(np.zeros((32, 32), dtype=np.uint8))).size == (32, 32)


def test_several_pages() -> None:
    file = io.BytesIO()
    pages = [Image.fromarray(noise(i)) for i in range(3)]
    pages[0].save(file, format="TIFF", save_all=True, append_images=pages[1:])

    assert refusal(file.getvalue(), "stack.tif").endswith("it holds 3 pages")


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((48, 48), np.float32),
        np.full((48, 48), -1000, np.int32),
        np.linspace(0, 4095, 48 * 48).reshape(48, 48).astype(np.uint16),
        np.full((48, 48), np.nan, np.float32),
    ],
    ids=["float", "below-zero", "12-of-16-bits", "no-numbers"],
)
def test_values_whose_scale_nobody_can_tell_are_refused_as_such(values: NDArray[Any]) -> None:
    why = "some of its values are no numbers" if np.isnan(values).any() else "its grey scale is unknown, since nothing"
    assert refusal(encoded(values, "TIFF"), "raw.tif").startswith(f"cannot read raw.tif: {why}")


@pytest.mark.parametrize(
    ("dtype", "offset", "kind"),
    [
        (np.uint16, 1024, "PNG"),
        (np.uint16, 1024, "TIFF"),
        (np.uint16, 32_768, "PNG"),
        (np.int32, 0, "TIFF"),
        (np.float32, 0, "TIFF"),
    ],
)
def test_hounsfield_units_in_a_picture_are_told_by_air_and_tissue(dtype: Any, offset: int, kind: str) -> None:
    hu = np.maximum(dicoms.hounsfield().astype(np.int64), -1024)

    grey = read(encoded((hu + offset).astype(dtype), kind)).grey

    np.testing.assert_allclose(grey, windowed(hu), atol=HALF_A_LEVEL)


TURNS: dict[int, Callable[[NDArray[Any]], NDArray[Any]]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


def tagged(values: NDArray[Any], kind: str, orientation: int, **options: Any) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(values, kind, exif=exif, **options)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_picture_is_turned_as_its_orientation_says_bit_by_bit(kind: str, orientation: int) -> None:
    file = tagged(noise(4, height=48, width=64), kind, orientation)
    plain = encoded(noise(4, height=48, width=64), kind)

    picture = read(file)

    np.testing.assert_array_equal(picture.grey, TURNS[orientation](read(plain).grey))
    assert picture.size == picture.grey.shape[::-1]


@pytest.mark.parametrize("orientation", [3, 6])
def test_16_bits_and_colours_are_turned_as_well(orientation: int) -> None:
    deep = np.linspace(0, 65_535, 48 * 64).reshape(48, 64).astype(np.uint16)
    for values in (deep, smooth_colours()[:48]):
        for kind in ("PNG", "TIFF"):
            turned = read(tagged(values, kind, orientation)).grey
            np.testing.assert_array_equal(turned, TURNS[orientation](read(encoded(values, kind)).grey))
    jpeg = read(tagged(smooth_colours()[:48], "JPEG", orientation, quality=95)).grey
    np.testing.assert_array_equal(
        jpeg, TURNS[orientation](read(encoded(smooth_colours()[:48], "JPEG", quality=95)).grey)
    )


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0rubbish", b"Exif\0\0"])
def test_an_orientation_that_cannot_be_read_turns_nothing(exif: bytes) -> None:
    file = encoded(noise(4), "JPEG", exif=exif)

    np.testing.assert_array_equal(read(file).grey, read(encoded(noise(4), "JPEG")).grey)


def test_libtiff_prints_nothing_about_a_damaged_picture(capfd: pytest.CaptureFixture[str]) -> None:
    for compression in ("tiff_lzw", "tiff_adobe_deflate"):
        content = bytearray(encoded(noise(1), "TIFF", compression=compression))
        start = Image.open(io.BytesIO(content)).tag_v2[273][0]  # type: ignore[attr-defined]
        content[start + 4 : start + 12] = b"\xff" * 8
        assert refusal(bytes(content), "x.tif") == "cannot read x.tif: it is damaged or cut off"
    assert capfd.readouterr().err == ""


def test_other_formats_are_not_opened() -> None:
    assert refusal(encoded(noise(1), "GIF"), "x.gif").endswith("it is not a picture")


def test_message_stays_on_one_line() -> None:
    assert refusal(b"x", "two\nlines\x1b[31m.png") == "cannot read two?lines?[31m.png: it is not a picture"


@settings(deadline=None, max_examples=150)
@given(
    kind=st.sampled_from(["PNG", "JPEG", "TIFF", "BMP", "DICOM"]),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
    keep=st.floats(0.05, 1),
)
def test_damage_gives_a_picture_or_the_one_error(kind: str, edits: list[tuple[float, int]], keep: float) -> None:
    content = bytearray(dicom() if kind == "DICOM" else encoded(noise(7), kind))
    for where, value in edits:
        content[int(where * len(content))] = value

    try:
        picture = read(bytes(content[: max(1, int(len(content) * keep))]))
    except UnreadableInputError as error:
        assert error.message.startswith("cannot read the picture: ")  # noqa: PT017
    else:
        assert picture.grey.min() >= 0
        assert picture.grey.max() <= 1


HU = np.linspace(-1500, 400, 48 * 40).reshape(48, 40).astype(np.int16)


def dicom(stored: NDArray[Any] | None = None, preamble: bool = True, **tags: Any) -> bytes:
    """One CT slice of Hounsfield units plus 1024, as scanners store it; a tag that is None is left out."""
    values = (HU + 1024).astype(np.int16) if stored is None else stored
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = tags.pop("syntax", ExplicitVRLittleEndian)
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    fields: dict[str, Any] = {
        "PatientName": "Musterfrau^Erika",
        "Modality": "CT",
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "PixelData": values.tobytes(),
    } | tags
    for name, value in fields.items():
        if value is not None:
            setattr(dataset, name, value)
    file = io.BytesIO()
    if preamble:
        pydicom.dcmwrite(file, dataset, enforce_file_format=True)
    else:
        del dataset.file_meta
        dataset.preamble = None
        pydicom.dcmwrite(file, dataset, implicit_vr=True, little_endian=True)
    return file.getvalue()


def windowed(hu: NDArray[Any]) -> NDArray[Any]:
    return np.clip((hu + 1350) / 1500, 0, 1)


def test_dicom_becomes_the_lung_window() -> None:
    picture = read(dicom())

    assert (picture.kind, picture.size) == ("dicom", (40, 48))
    assert picture.grey.dtype == np.float32
    np.testing.assert_allclose(picture.grey, windowed(HU), atol=HALF_A_LEVEL)


def test_dicom_slope() -> None:
    picture = read(dicom(stored=((HU + 1500) // 2).astype(np.int16), RescaleSlope=2, RescaleIntercept=-1500))

    np.testing.assert_allclose(picture.grey, windowed((HU + 1500) // 2 * 2 - 1500), atol=HALF_A_LEVEL)


def test_dicom_monochrome1_leaves_hounsfield_units_as_they_are() -> None:
    np.testing.assert_allclose(
        read(dicom(PhotometricInterpretation="MONOCHROME1")).grey, windowed(HU), atol=HALF_A_LEVEL
    )


def test_dicom_monochrome1_without_a_rescale_is_turned_round() -> None:
    content = dicom(stored=HU, PhotometricInterpretation="MONOCHROME1", RescaleIntercept=None, RescaleSlope=None)

    np.testing.assert_allclose(read(content).grey, 1 - windowed(HU), atol=HALF_A_LEVEL)


AIR = (-1000 + 1350) / 1500


def padded(where: int, **tags: Any) -> NDArray[np.float32]:
    """Grey values of a slice whose first two rows are stored as `where`."""
    stored = (HU + 1024).astype(np.int16)
    stored[:2] = where
    grey = read(dicom(stored=stored, **tags)).grey
    np.testing.assert_allclose(grey[2:], windowed(HU)[2:], atol=HALF_A_LEVEL)
    return grey[:2]


def test_dicom_padding_becomes_air() -> None:
    np.testing.assert_allclose(padded(-2000, PixelPaddingValue=-2000), AIR, atol=HALF_A_LEVEL)


def test_dicom_padding_written_as_unsigned() -> None:
    stored = (HU + 1024).astype(np.int16)
    stored[:2] = -2000
    content = dicom(stored=stored, PixelPaddingValue=-2000)
    tag = b"\x28\x00\x20\x01"
    assert content.count(tag + b"SS") == 1

    np.testing.assert_allclose(read(content.replace(tag + b"SS", tag + b"US")).grey[:2], AIR, atol=HALF_A_LEVEL)


@pytest.mark.parametrize(("first", "last"), [(3000, 3071), (3071, 3000)])
def test_dicom_padding_range_holds_both_ends(first: int, last: int) -> None:
    for value in (3000, 3040, 3071):
        grey = padded(value, PixelPaddingValue=first, PixelPaddingRangeLimit=last)
        np.testing.assert_allclose(grey, AIR, atol=HALF_A_LEVEL)
    np.testing.assert_allclose(padded(2999, PixelPaddingValue=first, PixelPaddingRangeLimit=last), 1)


def test_dicom_padding_of_monochrome1_is_air_as_well() -> None:
    without: dict[str, Any] = {"RescaleIntercept": None, "RescaleSlope": None}
    for tags in ({}, without):
        stored = HU.copy()
        stored[:2] = 2000
        content = dicom(stored=stored, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=2000, **tags)
        np.testing.assert_allclose(read(content).grey[:2], AIR, atol=HALF_A_LEVEL)


def test_dicom_without_padding_keeps_what_is_far_below_air() -> None:
    np.testing.assert_allclose(padded(-2000), 0)


def test_dicom_without_preamble_is_known_by_its_suffix(tmp_path: Path) -> None:
    path = tmp_path / "IM0001.DCM"
    path.write_bytes(dicom(preamble=False))

    np.testing.assert_allclose(read(path).grey, windowed(HU), atol=HALF_A_LEVEL)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (dicom(PixelData=None), "it holds no pixels, or is cut off"),
        (dicom(NumberOfFrames=12, PixelData=(HU.tobytes() * 12)), "it holds more than one frame"),
        (dicom(SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0), "it is in colour"),
        (dicom(PhotometricInterpretation="PALETTE COLOR"), "it is not grey"),
        (dicom(Modality="MR"), "its modality is MR, not CT"),
        (dicom(Modality="MUSTER"), "it is not a CT slice"),
        (dicom(stored=np.zeros((16, 16), np.int16)), "it is too small, 16×16 pixels"),
        (dicom(Rows=60_000, Columns=60_000), "it is too large, 60000×60000 pixels"),
        (dicom()[:2000], "its pixels are damaged or cut off"),
        (dicom()[:400], "it holds no pixels, or is cut off"),
        (b"\0" * 128 + b"DICM" + b"\xff" * 300, "it holds no pixels, or is cut off"),
    ],
)
def test_dicom_that_is_not_one_grey_slice(content: bytes, why: str) -> None:
    message = refusal(content, "IM1")

    assert message == f"cannot read IM1: {why}"
    assert "muster" not in message.casefold()


def test_dicom_with_unknown_compression() -> None:
    content = dicom().replace(ExplicitVRLittleEndian.encode(), JPEG2000Lossless.encode()[:19])

    assert "damaged" in refusal(content, "IM1")


def test_text_renamed_dcm() -> None:
    message = refusal(b"dear colleague, " * 40, "letter.dcm")
    assert message == "cannot read letter.dcm: it is no DICOM file, whatever its name says"


def test_a_picture_renamed_dcm_is_read_as_the_picture_it_is() -> None:
    assert read(png(1), "slice.dcm").kind == "png"


def test_gdcm_is_not_loaded_for_what_others_decode(tmp_path: Path) -> None:
    from tests.imaging import test_dicom

    files = [dicoms.dicom(), dicoms.jpeg(), dicoms.jpeg2000(), dicoms.run_lengths(), test_dicom.deflated(), png(1)]
    for i, content in enumerate(files):
        (tmp_path / f"{i}").write_bytes(content)
    code = (
        "import sys, pathlib; from lungcli.imaging.image_io import read;"
        "[read(path) for path in pathlib.Path(sys.argv[1]).iterdir()];"
        "sys.exit('pydicom' not in sys.modules or 'gdcm' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)]).returncode == 0


def test_damaged_dicom_is_refused_without_narration(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\xff" * 300)
    code = "import sys, pathlib; from lungcli.imaging.image_io import read; read(pathlib.Path(sys.argv[1]))"
    outcome = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.dcm")], capture_output=True, text=True)

    assert "pydicom:" not in outcome.stderr
    assert "delimiter" not in outcome.stderr
    assert "UnreadableInputError" in outcome.stderr.splitlines()[-1]


def test_pictures_are_read_without_loading_pydicom(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(1))
    code = (
        "import sys, pathlib; from lungcli.imaging.image_io import read; read(pathlib.Path(sys.argv[1]));"
        "sys.exit('pydicom' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.png")]).returncode == 0


def test_odd_dicom_values_do_not_warn() -> None:
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        content = dicom(SOPInstanceUID="not a uid", AccessionNumber="1")

    assert isinstance(read(content), Picture)


def test_limits_let_in_what_lies_on_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (reading.MAX_BYTES, reading.MAX_PIXELS, reading.MIN_SIDE) == (1 << 30, 64_000_000, 32)
    reading.check_size(8000, 8000, "x")
    reading.check_size(32, 512, "x")
    reading.check_size(16_384, 1024, "x")
    for width, height in ((8001, 8000), (31, 32), (32, 31), (32, 513), (1025, 16_401), (16_385, 2000)):
        with pytest.raises(UnreadableInputError, match=f"{width}×{height} pixels"):
            reading.check_size(width, height, "x")
    (tmp_path / "file").write_bytes(b"0123456789")
    monkeypatch.setattr(reading, "MAX_BYTES", 10)
    assert reading.content_of(tmp_path / "file", "x") == b"0123456789"
    monkeypatch.setattr(reading, "MAX_BYTES", 9)
    with pytest.raises(UnreadableInputError, match="larger than 1 GiB"):
        reading.content_of(tmp_path / "file", "x")


@pytest.mark.parametrize(
    ("content", "scale"),
    [
        (dicom(), "HU"),
        (encoded(noise(1)), ""),
        (encoded(dicoms.hounsfield().astype(np.int32), "TIFF"), "HU"),
        (encoded((dicoms.hounsfield().astype(np.int32) + 32_768).astype(np.uint16)), "HU + 32768"),
    ],
)
def test_the_scale_of_a_file_is_named(content: bytes, scale: str) -> None:
    assert read(content, "x").scale == scale


@pytest.mark.parametrize(("centre", "width"), [(-600, 1500), (40, 400), (0, 2000)])
@pytest.mark.parametrize("white", [255, 65_535])
def test_a_window_that_the_user_names_is_undone(centre: int, width: int, white: int) -> None:
    hu = dicoms.hounsfield().astype(np.float32)
    shown = np.rint(np.clip((hu - centre + width / 2) / width, 0, 1) * white).astype(
        np.uint8 if white == 255 else np.uint16
    )

    picture = read(encoded(shown), "x", scale=hounsfield.GreyScale(window=(centre, width)))

    expected = dicoms.windowed(np.clip(hu, centre - width / 2, centre + width / 2))
    np.testing.assert_allclose(picture.grey, expected, atol=HALF_A_LEVEL + width / 1500 / 2 / white)
    assert picture.scale == f"window {centre},{width}"


def test_an_offset_that_the_user_names_is_taken_off() -> None:
    """Even where nothing tells air from tissue: the middle of a lung."""
    inside = np.full((64, 64), 200, dtype=np.uint16)
    inside[::2] = 300
    with pytest.raises(UnreadableInputError, match="grey scale is unknown") as caught:
        read(encoded(inside), "x")
    assert "--window" in caught.value.hint

    picture = read(encoded(inside), "x", scale=hounsfield.GreyScale(offset=1024))

    np.testing.assert_allclose(picture.grey, dicoms.windowed(inside.astype(np.int32) - 1024), atol=HALF_A_LEVEL)
    assert picture.scale == "HU + 1024"


def test_the_window_of_a_grey_picture_is_guessed_from_lungs_and_tissue() -> None:
    lung, tissue = ((value + 1350) / 1500 for value in (-850, 40))

    assert hounsfield.window_of(lung, tissue) == "grey; window about -600,1500"
    assert hounsfield.window_of(0.0, 0.5) == "grey; the window cuts lungs or tissue off"
