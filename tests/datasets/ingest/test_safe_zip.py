"""Archives: honest ones are read, dangerous ones refused as a whole."""

import stat
import warnings
import zipfile
from pathlib import Path

import pytest

from lungcli.core.errors import UnreadableInputError
from lungcli.datasets.ingest import safe_zip
from tests.imaging.pictures import png, zipped


def refusal(path: Path) -> str:
    with pytest.raises(UnreadableInputError) as caught, safe_zip.open_zip(path) as archive:
        safe_zip.checked_members(archive)
    assert caught.value.hint
    return caught.value.message


def test_members_are_files_with_their_content(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a/": b"", "a/ä (1).png": png(1), "b.png": png(2)})

    with safe_zip.open_zip(path) as archive:
        found = safe_zip.checked_members(archive)
        assert [item.filename for item in found] == ["a/ä (1).png", "b.png"]
        assert [safe_zip.read_member(archive, item) for item in found] == [png(1), png(2)]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.png", "points outside of it"),
        ("a/../../evil.png", "points outside of it"),
        ("/etc/evil.png", "has an absolute path"),
        ("C:/evil.png", "has an absolute path"),
        ("c:evil.png", "has an absolute path"),
        ("..\\evil.png", "has a backslash or NUL in its name"),
        ("a\\b.png", "has a backslash or NUL in its name"),
    ],
)
def test_members_named_to_land_outside(tmp_path: Path, name: str, why: str) -> None:
    path = zipped(tmp_path / "a.zip", {"fine.png": png(1), name: png(2)})

    assert refusal(path) == f"refused the .zip file: its member {name!r} {why}"


def test_a_name_that_is_cut_at_a_nul_is_no_folder(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a/x.png": png(1)})
    path.write_bytes(path.read_bytes().replace(b"a/x.png", b"a/\0.png"))

    assert refusal(path) == "refused the .zip file: its member 'a/' has a backslash or NUL in its name"


def test_names_that_only_look_dangerous(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a..b/c...png": png(1)})

    with safe_zip.open_zip(path) as archive:
        assert len(safe_zip.checked_members(archive)) == 1


@pytest.mark.parametrize("other", ["a/SCAN.png", "A/scan.png", "a/scan.png"])
def test_members_named_alike(tmp_path: Path, other: str) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("a/scan.png", png(1))
        archive.writestr(other, png(2))

    assert refusal(tmp_path / "a.zip") == (
        f"refused the .zip file: it has two members named {other!r}, or alike but for upper and lower case"
    )


def test_links(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")

    assert refusal(tmp_path / "a.zip").endswith("is a link")


def test_encrypted(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": png(1)})
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))

    assert refusal(path).endswith("is encrypted")


def test_bomb(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"zeros.png": b"\0" * (11 << 20)})

    assert refusal(path).endswith("unpacks to more than 200 times its size")


def test_bomb_of_many_small_members(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {f"{i}.png": b"\0" * (3 << 20) for i in range(4)})

    assert refusal(path).endswith("it would unpack to more than 200 times its size")


def test_too_large_in_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_zip, "MAX_TOTAL", 1000)
    path = zipped(tmp_path / "a.zip", {"a": b"x" * 600, "b": b"y" * 600})

    assert "it would unpack to" in refusal(path)


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_zip, "MAX_MEMBERS", 2)

    assert "it has 3 members" in refusal(zipped(tmp_path / "a.zip", {"a": b"", "b": b"", "c": b""}))


@pytest.mark.parametrize("content", [b"", b"<html>please log in</html>", b"PK\x03\x04 and then nothing"])
def test_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.zip").write_bytes(content)

    assert refusal(tmp_path / "a.zip").endswith("it is not a folder and not a whole .zip file")


def test_cut_off_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "a.zip", {"a.png": png(1)})
    path.write_bytes(path.read_bytes()[:-30])

    assert refusal(path).endswith("it is not a folder and not a whole .zip file")


def test_missing_zip(tmp_path: Path) -> None:
    assert refusal(tmp_path / "a.zip").endswith("No such file or directory")


def test_damaged_member_is_told_by_its_checksum(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as stored:
        stored.writestr("a.png", png(1))
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[80] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(bytes(content))

    with (
        safe_zip.open_zip(tmp_path / "a.zip") as archive,
        pytest.raises(UnreadableInputError, match=r"damaged in the \.zip file"),
    ):
        safe_zip.read_member(archive, safe_zip.checked_members(archive)[0])
