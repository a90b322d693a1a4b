"""Changes of acquisition: each does what its physics says, more of it at a higher strength, and nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.imaging import perturbations
from lungcli.imaging.perturbations import CHANGES, Change
from lungcli.imaging.picture import Grey

BY_NAME = {change.name: change for change in CHANGES}


def _slice(height: int = 96, width: int = 80, seed: int = 0) -> Grey:
    """A bright body with two dark, textured lungs."""
    rng = np.random.default_rng(seed)
    grey = np.full((height, width), 0.05, dtype=np.float32)
    grey[height // 8 : -height // 8, width // 8 : -width // 8] = 0.8
    for left in (2, 5):
        lung = grey[height // 4 : -height // 4, width * left // 8 : width * (left + 1) // 8]
        lung[:] = 0.3 + 0.1 * rng.standard_normal(lung.shape, dtype=np.float32)
    return np.clip(grey, 0, 1)


def test_the_eight_changes_and_how_they_are_spoken_of() -> None:
    assert list(BY_NAME) == ["window", "gamma", "blur", "sharpening", "noise", "resolution", "crop", "jpeg"]
    assert BY_NAME["window"].settings() == ("85% wide", "70% wide", "55% wide")
    assert BY_NAME["jpeg"].settings() == ("quality 60", "quality 30", "quality 15")
    for change in CHANGES:
        assert all(setting.isascii() for setting in change.settings()), "the font of pictures has no other letters"


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_greys_stay_greys_and_the_slice_itself_is_left_alone(change: Change) -> None:
    grey = _slice()
    before = grey.copy()
    for amount in change.amounts:
        found = change.apply(grey, amount)
        assert found.dtype == np.float32
        assert found.min() >= 0
        assert found.max() <= 1
        np.testing.assert_array_equal(change.apply(grey, amount), found)
        if change.name != "crop":
            assert found.shape == grey.shape
    np.testing.assert_array_equal(grey, before)


@pytest.mark.parametrize("change", [c for c in CHANGES if c.name != "crop"], ids=lambda change: change.name)
def test_each_strength_changes_more_than_the_one_before(change: Change) -> None:
    grey = _slice(512, 512)
    moved = [float(np.abs(change.apply(grey, amount) - grey).mean()) for amount in change.amounts]
    assert 0 < moved[0] < moved[1] < moved[2]


def test_window_by_hand() -> None:
    ramp = np.array([[0.0, 0.135, 0.385, 0.635, 1.0]], dtype=np.float32)
    np.testing.assert_allclose(perturbations.window(ramp, 0.5), [[0, 0, 0.5, 1, 1]], atol=1e-6)


def test_gamma_by_hand() -> None:
    grey = np.array([[0, 0.25, 1]], dtype=np.float32)
    np.testing.assert_allclose(perturbations.gamma(grey, 0.5), [[0, 0.5, 1]], atol=1e-6)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.5, 4), st.integers(40, 200), st.integers(40, 200))
def test_blur_keeps_what_is_even_and_spreads_a_dot_as_a_gaussian(sigma: float, height: int, width: int) -> None:
    even = np.full((height, width), 0.4, dtype=np.float32)
    np.testing.assert_allclose(perturbations.blur(even, sigma), even, atol=1e-5)


def test_blur_has_the_width_it_says_at_the_usual_matrix() -> None:
    dot = np.zeros((512, 512), dtype=np.float32)
    dot[256, 256] = 1
    spread = perturbations.blur(dot, 3.0).astype(np.float64)
    at = np.arange(512) - 256
    assert spread.sum() == pytest.approx(1, abs=1e-4)
    assert np.sqrt((spread.sum(axis=0) * at**2).sum()) == pytest.approx(3, rel=0.02)
    assert np.sqrt((spread.sum(axis=1) * at**2).sum()) == pytest.approx(3, rel=0.02)


def test_sharpening_steepens_an_edge() -> None:
    edge = np.full((64, 512), 0.3, dtype=np.float32)
    edge[:, 256:] = 0.7
    found = perturbations.sharpen(edge, 1.0)
    assert found[32, 255] < 0.3
    assert found[32, 256] > 0.7
    np.testing.assert_allclose(found[:, :200], 0.3, atol=1e-6)


def test_noise_has_the_strength_it_says_and_is_another_for_each_slice() -> None:
    even = np.full((256, 256), 0.5, dtype=np.float32)
    drawn = perturbations.noise(even, 0.05) - even
    assert drawn.std() == pytest.approx(0.05, rel=0.02)
    assert abs(drawn.mean()) < 0.001
    other = perturbations.noise(even + np.float32(0.01), 0.05) - even
    assert abs(np.corrcoef(drawn.ravel(), other.ravel())[0, 1]) < 0.02


def test_resolution_loses_detail_and_keeps_the_rest() -> None:
    stripes = np.tile(np.array([0.2, 0.8], dtype=np.float32), (64, 32))
    np.testing.assert_allclose(perturbations.resolution(stripes, 0.2)[8:-8, 8:-8], 0.5, atol=0.05)
    even = np.full((50, 70), 0.6, dtype=np.float32)
    np.testing.assert_allclose(perturbations.resolution(even, 0.33), even, atol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(32, 300), st.integers(32, 300), st.sampled_from(BY_NAME["crop"].amounts))
def test_crop_keeps_the_middle(height: int, width: int, share: float) -> None:
    rows, columns = np.indices((height, width), dtype=np.float32)
    found = perturbations.crop(rows, share), perturbations.crop(columns, share)
    for part, side in zip(found, (height, width), strict=True):
        assert part.mean() == pytest.approx((side - 1) / 2)
    assert found[0].shape == (pytest.approx(height * share, abs=1.01), pytest.approx(width * share, abs=1.01))


def test_jpeg_keeps_the_body_where_it_was() -> None:
    grey = _slice(128, 128)
    assert np.abs(perturbations.jpeg(grey, 60) - grey).mean() < 0.02
