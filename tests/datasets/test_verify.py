"""Verifying: damage, loss and additions are each named."""

from pathlib import Path

import msgspec
import pytest

from lungcli.core import registry
from lungcli.core.registry import DataSet
from lungcli.datasets import manifest, verify
from lungcli.datasets.ingest import importer
from lungcli.datasets.manifest import Manifest
from tests.datasets import published
from tests.imaging.pictures import png, write


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Manifest:
    row: DataSet = published.row(tmp_path)
    monkeypatch.setitem(registry.DATA_SETS, row.name, row)
    return importer.import_published(row, write(tmp_path / "set", published.files()))


def test_untouched(made: Manifest) -> None:
    seen: list[tuple[int, int]] = []

    found = verify.verify(made, lambda done, total: seen.append((done, total)))

    assert found.whole
    assert not found.partial
    assert (found.slices, found.known, found.published) == (5, 5, 5)
    assert seen == [(i, 5) for i in range(1, 6)]


def test_everything_at_once(made: Manifest) -> None:
    folder = manifest.folder(made.name)
    (folder / made.slices[0].path).write_bytes(png(50))
    (folder / made.slices[1].path).unlink()
    (folder / made.slices[2].path).unlink()
    (folder / made.slices[2].path).mkdir()
    write(folder, {"slices/normal/new.png": png(51), "slices/.DS_Store": b"x"})

    found = verify.verify(made)

    assert not found.whole
    assert found.damaged == (made.slices[0].path, made.slices[2].path)
    assert found.missing == (made.slices[1].path,)
    assert found.extra == ("slices/normal/new.png",)
    assert (found.known, found.partial) == (2, True)


def test_an_altered_manifest(made: Manifest) -> None:
    other = msgspec.structs.replace(made.slices[0], label="normal")
    altered = msgspec.structs.replace(made, slices=(other, *made.slices[1:]))

    found = verify.verify(altered)

    assert found.altered
    assert not found.whole
    assert found.damaged == ()


def test_other_data_has_no_published_files(tmp_path: Path) -> None:
    made = importer.import_dataset(write(tmp_path / "x", {"a/1.png": png(1), "b/1.png": png(2)}))

    found = verify.verify(made)

    assert found.whole
    assert not found.partial
    assert (found.known, found.published) == (0, 0)


def test_masks_are_verified_and_split_files_are_nobodys_business(tmp_path: Path) -> None:
    table = b"path,label,mask\na.png,malignant,m.png\nb.png,normal,\n"
    files = {"labels.csv": table, "a.png": png(1), "b.png": png(2), "m.png": png(3)}
    data = importer.import_dataset(write(tmp_path / "set", files))
    folder = manifest.folder(data.name)
    write(folder, {"splits/grouped-seed0.json": b"{}"})

    assert verify.verify(data).whole

    mask = folder / str(data.slices[0].mask)
    mask.write_bytes(png(4))
    write(folder, {"splits/deep/er.json": b"{}"})
    damaged = verify.verify(data)
    assert damaged.damaged == ("masks/malignant/a.png.png",)
    assert damaged.extra == ("splits/deep/er.json",)
