"""What a user may name, and in which order it is judged."""

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.imaging import image_io
from lungcli.imaging.hounsfield import GreyScale
from lungcli.imaging.image_io import read
from lungcli.predict import files, inputs
from lungcli.predict.inputs import Item, Naming
from tests.imaging import dicoms
from tests.imaging.pictures import encoded, noise, png, write, zipped


def named(*names: object, phi: bool = False, stdin: bytes = b"") -> list[Item]:
    return list(inputs.items(map(str, names), Naming(phi=phi), io.BytesIO(stdin)))


def shown(folder: Path, found: list[Item]) -> list[str]:
    return [item.shown.removeprefix(f"{folder}/") for item in found]


def refused(item: Item) -> str:
    with pytest.raises(UnreadableInputError) as caught:
        item.source() if callable(item.source) else read(item.source)
    return caught.value.message


def scan(places: list[float], uid: str = "", **tags: Any) -> list[bytes]:
    uid = uid or generate_uid()
    at: dict[str, Any] = {"SeriesInstanceUID": uid, "ImageOrientationPatient": dicoms.AXIAL}
    return [dicoms.dicom(ImagePositionPatient=[0, 0, place], **at, **tags) for place in places]


def test_a_folder_is_read_by_content_and_name(tmp_path: Path) -> None:
    (plain,) = scan([0])
    files = {
        "10.png": png(1),
        "9.png": png(2),
        "notes.txt": b"hello",
        "odd.xyz": png(3),
        "DICOMDIR": plain,
        ".hidden.png": png(1),
        "__MACOSX/x.png": png(1),
        "cut.jpg": b"",
        "IM": plain,
        "sub/a.png": png(4),
    }
    assert shown(tmp_path, named(write(tmp_path, files))) == [
        "9.png",
        "10.png",
        "cut.jpg",
        "IM",
        "odd.xyz",
        "sub/a.png",
    ]


def test_a_series_is_sorted_at_the_place_of_its_first_slice(tmp_path: Path) -> None:
    first, second = scan([30, 10, 20]), scan([2, 1])
    files = {"a.png": png(1), "b.dcm": first[0], "c.dcm": second[0], "d.dcm": first[1], "e.dcm": second[1]}
    files |= {"f.dcm": first[2], "z.png": png(2)}
    found = named(write(tmp_path, files))
    assert shown(tmp_path, found) == ["a.png", "d.dcm", "f.dcm", "b.dcm", "e.dcm", "c.dcm", "z.png"]
    assert [item.series for item in found] == ["", *["series 1"] * 3, *["series 2"] * 2, ""]


def test_files_named_one_by_one_stay_in_their_order(tmp_path: Path) -> None:
    write(tmp_path, {f"{i}.dcm": content for i, content in enumerate(scan([30, 10, 20]))})
    found = named(*(tmp_path / f"{i}.dcm" for i in (2, 0, 1)))
    assert shown(tmp_path, found) == ["2.dcm", "0.dcm", "1.dcm"]
    assert {item.series for item in found} == {"series 1"}


def test_patterns_that_the_shell_left_alone(tmp_path: Path) -> None:
    write(tmp_path, {"a 10.png": png(1), "a 2.png": png(2), "b.jpg": b"", "sub/a 1.png": png(3), "x[1].png": png(4)})
    assert shown(tmp_path, named(tmp_path / "a*.png")) == ["a 2.png", "a 10.png"]
    assert shown(tmp_path, named(tmp_path / "**/a*.png")) == ["a 2.png", "a 10.png", "sub/a 1.png"]
    assert shown(tmp_path, named(tmp_path / "x[1].png")) == ["x[1].png"]
    (nothing,) = named(tmp_path / "*.gif")
    assert refused(nothing) == f"no file matches {tmp_path}/*.gif"


def test_a_zip_is_a_folder_to_be_trusted_or_refused(tmp_path: Path) -> None:
    series = scan([2, 1])
    path = zipped(tmp_path / "s.zip", {"b.dcm": series[0], "sub/c.dcm": series[1], "10.png": png(1), "9.png": png(2)})
    found = named(path)
    assert shown(path, found) == ["9.png", "10.png", "sub/c.dcm", "b.dcm"]
    assert all(isinstance(item.source, bytes) for item in found)
    evil = zipped(tmp_path / "evil.zip", {"../x.png": png(1)})
    assert "points outside of it" in refused(named(evil)[0])
    (tmp_path / "torn.zip").write_bytes(path.read_bytes()[:200])
    assert "not a whole .zip file" in refused(named(tmp_path / "torn.zip")[0])
    assert "there are no pictures" in refused(named(zipped(tmp_path / "empty.zip", {}))[0])


def test_a_damaged_member_is_one_failure(tmp_path: Path) -> None:
    path = tmp_path / "s.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", png(1))
        archive.writestr("b.png", png(2))
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF
    path.write_bytes(content)
    first, second = named(path)
    assert "damaged in the .zip file" in refused(first)
    assert read(second.source).kind == "png"  # type: ignore[arg-type]


def test_a_list_on_stdin_by_lines_or_nul(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": png(1), "b ä.png": png(2), "sub/c.png": png(3)})
    lines = f"{tmp_path}/b ä.png\r\n\n{tmp_path}/sub\n{tmp_path}/none.png".encode()
    found = named(tmp_path / "a.png", "-", stdin=lines)
    assert shown(tmp_path, found) == ["a.png", "b ä.png", "sub/c.png", "none.png"]
    assert shown(tmp_path, named("-", stdin=lines.replace(b"\r\n", b"\0").replace(b"\n", b"\0"))) == [
        *("b ä.png", "sub/c.png", "none.png")
    ]


def test_what_is_named_is_opened_only_when_asked_for(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": png(1)})

    def names() -> object:
        yield str(tmp_path / "a.png")
        raise AssertionError

    assert next(inputs.items(names(), Naming())).shown.endswith("a.png")  # type: ignore[arg-type]


def test_each_file_of_a_folder_is_opened_once_to_be_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.png": png(1), "b": png(2), "c.txt": b"no picture"})
    opened: list[str] = []
    first_bytes = files.first_bytes

    def counted(path: Path) -> bytes:
        opened.append(path.name)
        return first_bytes(path)

    monkeypatch.setattr(files, "first_bytes", counted)
    assert shown(tmp_path, named(tmp_path)) == ["a.png", "b"]
    assert opened == ["a.png", "b", "c.txt"]


def test_frames_are_slices_in_the_order_they_lie(tmp_path: Path) -> None:
    from tests.imaging.test_dicom import enhanced

    (tmp_path / "e.dcm").write_bytes(enhanced())
    found = named(tmp_path / "e.dcm")
    assert shown(tmp_path, found) == ["e.dcm, frame 3", "e.dcm, frame 2", "e.dcm, frame 1"]
    assert all(callable(item.source) and item.source().kind == "dicom" for item in found)


def test_links_to_folders_elsewhere_are_followed_once_and_loops_are_not(tmp_path: Path) -> None:
    write(tmp_path, {"set/benign/a.png": png(1), "set/benign/sub/b.png": png(2), "mixed/normal/c.png": png(3)})
    mixed = tmp_path / "mixed"
    (mixed / "benign").symlink_to(tmp_path / "set" / "benign")
    (mixed / "again").symlink_to(tmp_path / "set" / "benign" / "sub")
    (mixed / "inside").symlink_to(mixed / "normal")
    (mixed / "up").symlink_to(tmp_path)
    (mixed / "self").symlink_to(mixed / "self")
    (tmp_path / "set" / "benign" / "back").symlink_to(mixed)
    assert shown(mixed, named(mixed)) == ["again/b.png", "benign/a.png", "normal/c.png"]
    assert inputs.count([str(mixed)]) == 4
    linked = tmp_path / "linked"
    linked.symlink_to(tmp_path / "set")
    assert shown(linked, named(linked)) == ["benign/a.png", "benign/back/normal/c.png", "benign/sub/b.png"]


def test_a_link_to_a_hidden_folder_within_is_followed(tmp_path: Path) -> None:
    write(tmp_path, {".store/a.png": png(1), "z.png": png(2)})
    (tmp_path / "benign").symlink_to(tmp_path / ".store")
    assert shown(tmp_path, named(tmp_path)) == ["z.png", "benign/a.png"]


def test_a_name_too_long_is_one_failure_and_the_others_are_read(tmp_path: Path) -> None:
    write(tmp_path, {"a.png": png(1), "b.png": png(2)})
    long = str(tmp_path / ("a" * 300 + ".png"))
    for names, stdin in (((tmp_path / "a.png", long, tmp_path / "b.png"), b""), (("-",), f"{long}\n".encode())):
        found = named(*names, stdin=stdin)
        assert [refused(item) for item in found if item.shown == long] == [f"cannot read {long}: file name too long"]
        assert len(found) == len(names)
    assert inputs.is_single([long])
    assert inputs.count([str(tmp_path / "a.png"), long]) == 2
    assert inputs.count([f"{long}*"]) is None


def test_objects_without_a_picture_are_passed_over_in_folders_and_counted(tmp_path: Path) -> None:
    objects = {
        "a.dcm": dicoms.dicom(SOPClassUID=RTStructureSetStorage, PixelData=None),
        "b": dicoms.dicom(SOPClassUID=RTStructureSetStorage, PixelData=None),
        "sub/c.dcm": dicoms.dicom(SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", PixelData=None),
    }
    naming = Naming()
    folder = write(tmp_path / "in", {**objects, "slice.dcm": dicoms.dicom()})
    assert shown(folder, list(inputs.items([str(folder)], naming))) == ["slice.dcm"]
    assert inputs.passed_over(naming) == "3 files hold no picture: 1 Basic Text SR, 2 RT Structure Set"
    assert inputs.passed_over(Naming()) == ""
    (nothing,) = named(zipped(tmp_path / "x.zip", {"a.dcm": objects["a.dcm"]}))
    assert refused(nothing).endswith("x.zip: 1 file holds no picture: 1 RT Structure Set")
    assert list(inputs.of_listed("a.dcm", lambda: objects["a.dcm"], Naming())) == []
    (alone,) = named(folder / "a.dcm")
    assert refused(alone).endswith("it is an RT Structure Set, not a CT slice")


def test_a_volume_is_a_series_of_its_axial_slices(tmp_path: Path) -> None:
    from tests.imaging import test_volumes

    folder = write(tmp_path / "in", {"a.nii": test_volumes.encoded(), "b.png": png(1), "c.nii.gz": b"no volume"})
    slices = named(folder)
    names = [f"a.nii, slice {number}" for number in (1, 2, 3)]
    assert shown(folder, slices) == [*names, "b.png", "c.nii.gz"]
    assert [item.series for item in slices] == [*["series 1"] * 3, "", ""]
    assert slices[2].read().kind == "volume"
    assert refused(slices[4]).endswith("c.nii.gz: it is damaged or cut off")
    assert shown(folder, named(folder / "a.nii")) == names
    assert not inputs.is_single([str(folder / "a.nii")])


def test_a_folder_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.png": png(1), "sub/b.png": png(2)})
    scandir = os.scandir

    def refuse(path: Path) -> object:
        if path.name == "sub":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = named(tmp_path)
    assert shown(tmp_path, found) == ["a.png", "sub"]
    assert refused(found[1]) == f"cannot read {tmp_path}/sub: permission denied"


def test_pipes_and_odd_paths_are_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    assert refused(named(tmp_path / "pipe.png")[0]).endswith("it is not a file")
    assert refused(named("a\0b")[0]).startswith("cannot read a")


def test_patients_are_not_named(tmp_path: Path) -> None:
    folder = tmp_path / "MUSTERFRAU_ERIKA"
    good, *_ = scan([1, 2])
    files = {"PID4711X/erika 1.dcm": good, "PID4711X/a broken.dcm": good[:150], "PID4711X/photo.png": png(1)}
    write(folder, files)
    names = [item.shown.rpartition("/") for item in named(folder)]
    assert [name for _, _, name in names] == ["a broken.dcm", "… 1.dcm", "photo.png"]
    assert [place == "…" or place.endswith("/…/…") for place, _, _ in names] == [True, True, True]
    assert shown(tmp_path, named(folder, phi=True))[1] == "MUSTERFRAU_ERIKA/PID4711X/erika 1.dcm"
    (alone,) = named(folder / "PID4711X/a broken.dcm")
    assert alone.shown == "…/a broken.dcm"
    (uid,) = {item.series for item in named(folder, phi=True)} - {""}
    assert uid.startswith("1.2.")


@pytest.mark.parametrize(("names", "expected"), [(["."], 3), (["a.png"], 1), (["*.png"], None), (["-"], None)])
def test_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], expected: int | None) -> None:
    write(tmp_path, {"a.png": b"", "b.png": b"", "sub/c.png": b""})
    monkeypatch.chdir(tmp_path)
    assert inputs.count(names) == expected
    assert inputs.is_single(names) is (names == ["a.png"])


def test_what_lies_beside_a_file_without_subfolders(tmp_path: Path) -> None:
    (head, feet) = scan([20, 10])
    write(tmp_path, {"9.png": png(1), "a.dcm": head, "b.dcm": feet, ".x.png": png(1), "sub/c.png": png(1)})
    found = list(inputs.beside(tmp_path / "9.png", Naming()))
    assert shown(tmp_path, found) == ["9.png", "b.dcm", "a.dcm"]
    assert found[0].source == tmp_path / "9.png"


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (b"a\nb\r\n\nc", ["a", "b", "c"]),
        (b"a\0b c\0\0d\0", ["a", "b c", "d"]),
        (b"x" * 60_000 + b"\n" + b"y" * 60_000 + b"\0z", ["x" * 60_000, "y" * 60_000, "z"]),
        (b"", []),
    ],
)
def test_a_list_is_read_name_by_name(content: bytes, names: list[str]) -> None:
    assert list(inputs.listed(io.BytesIO(content))) == names


@pytest.mark.parametrize("content", [bytes(1 << 18), b"x" * (1 << 18)], ids=["no name", "no end"])
def test_what_is_no_list_is_refused_before_it_fills_memory(content: bytes) -> None:
    stream = io.BytesIO(content)
    with pytest.raises(UsageError, match="no list of paths"):
        list(inputs.listed(stream))
    assert stream.tell() <= 1 << 17


def test_small_pictures_are_read_here_and_what_may_take_long_elsewhere(tmp_path: Path) -> None:
    large = encoded(np.zeros((2100, 2000), np.uint8))
    noisy = encoded(np.random.default_rng(1).integers(0, 256, (1200, 1200), dtype=np.uint8))
    assert len(large) < image_io.PLAIN_BYTES < len(noisy)
    jpeg = encoded(noise(1), "JPEG")
    deflated = dicoms.dicom(syntax=DeflatedExplicitVRLittleEndian)
    given = {"a.png": png(1), "b.jpg": jpeg, "c.tiff": encoded(noise(1), "TIFF"), "d.dcm": dicoms.dicom()}
    files = given | {
        "e.png": large,
        "f.png": noisy,
        "g.png": b"",
        "i.dcm": deflated,
        "j.dcm": deflated[:140],
        "h.jpg": jpeg[:20],
    }
    write(tmp_path / "in", files)
    for item in [*named(tmp_path / "in"), *(Item(shown=name, source=content) for name, content in files.items())]:
        here = callable(inputs.plain_here(item).source)
        assert here == (Path(item.shown).name in ("a.png", "b.jpg", "d.dcm")), item.shown
    (missing,) = named(tmp_path / "none.png")
    assert inputs.plain_here(missing) is missing
    scaled = Item(shown="a.png", source=png(1), scale=GreyScale(window=(40.0, 400.0)))
    np.testing.assert_array_equal(inputs.plain_here(scaled).read().pixels, scaled.read().pixels)
    assert inputs.plain_here(scaled).read().scale == "window 40,400"


def test_what_came_on_stdin_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    (item,) = inputs.of_content(png(1), "stdin", Naming())
    assert item.read().kind == "png"
    monkeypatch.setattr(inputs, "MAX_SLICE_BYTES", 3 << 20)
    (item,) = inputs.of_content(b"\0" * ((3 << 20) + 1), "stdin", Naming())
    assert refused(item) == "cannot read stdin: it is larger than 3 MiB"
