"""Looking at slices: numbers of a picture, damage, and files that changed."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from lungcli.datasets import manifest
from lungcli.datasets.audit import features as looks
from lungcli.datasets.audit.features import SliceFeatures, features, slice_features
from lungcli.datasets.manifest import Rejected, Slice, Source
from tests.imaging.pictures import encoded, noise, png


def item(path: str, content: bytes = b"") -> Slice:
    return Slice(path=path, label="a", sha256=hashlib.sha256(content).hexdigest(), size=(48, 48), group=0)


def test_border_knows_the_border_alone() -> None:
    grey = np.full((64, 96), 0.5, dtype=np.float32)
    grey[2:-2, 2:-2] = np.linspace(0, 1, 92, dtype=np.float32)

    found = features(grey)

    np.testing.assert_allclose(found["border"], [0.5, 0.0, 0.5], atol=1e-6)
    assert {name: len(values) for name, values in found.items()} == {
        "border": 3,
        "border-thumbnail": 28,
        "grey": 6,
        "thumbnail": 64,
    }


def test_thumbnails_are_mean_values_row_by_row() -> None:
    blocks = np.arange(64, dtype=np.float32).reshape(8, 8) / 64
    found = features(np.kron(blocks, np.ones((6, 5), dtype=np.float32)))

    np.testing.assert_allclose(found["thumbnail"], blocks.ravel(), atol=1e-6)
    np.testing.assert_allclose(found["border-thumbnail"][:9], blocks.ravel()[:9], atol=1e-6)
    np.testing.assert_allclose(found["border-thumbnail"][-8:], blocks[-1], atol=1e-6)


def test_grey_levels_are_quantiles() -> None:
    found = features(np.tile(np.arange(101, dtype=np.float32) / 100, (404, 4)))["grey"]

    assert found[:5] == pytest.approx([0.1, 0.25, 0.5, 0.75, 0.9], abs=0.011)
    assert np.all(np.diff(found[:5]) > 0)


def test_a_look_holds_what_was_read(tmp_path: Path) -> None:
    content = encoded(noise(1, 40, 60), "BMP")
    (tmp_path / "a.bmp").write_bytes(content)

    seen = slice_features(tmp_path / "a.bmp", item("a.bmp", content), 64)

    assert isinstance(seen, SliceFeatures)
    assert (seen.kind, seen.size, seen.changed) == ("bmp", (60, 40), False)
    assert seen.thumb.shape == (4096,)
    # Preparation paints white what lies around the lungs.
    assert np.mean(seen.after["border-thumbnail"]) > np.mean(seen.before["border-thumbnail"]) + 0.2


def test_damage_is_an_outcome_and_no_crash(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(png(0)[:60])
    (tmp_path / "swapped.png").write_bytes(png(1))

    cut = slice_features(tmp_path / "cut.png", item("cut.png"), 64)
    gone = slice_features(tmp_path / "gone.png", item("gone.png"), 64)
    swapped = slice_features(tmp_path / "swapped.png", item("swapped.png", png(2)), 64)

    assert cut == Rejected(path="cut.png", reason="it is damaged or cut off")
    assert gone == Rejected(path="gone.png", reason="there is no such file")
    assert isinstance(swapped, SliceFeatures)
    assert swapped.changed


def test_all_are_looked_at_in_order(tmp_path: Path) -> None:
    slices = tuple(item(f"{i}.png", png(i)) for i in range(5))
    for i, entry in enumerate(slices):
        (tmp_path / entry.path).write_bytes(png(i))
    (tmp_path / "3.png").unlink()
    heard: list[tuple[int, int]] = []

    made = manifest.build("some", slices, (), Source(about="made up"))
    found = looks.dataset_features(made, tmp_path, 64, lambda done, total: heard.append((done, total)))

    assert [isinstance(seen, SliceFeatures) for seen in found] == [True, True, True, False, True]
    assert heard == [(i, 5) for i in range(1, 6)]
