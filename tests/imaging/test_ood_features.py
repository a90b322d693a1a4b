"""What the signs say of slices made so that the answer is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from lungcli.imaging import lung_segmentation, ood_features
from lungcli.imaging.picture import Grey
from tests.imaging import intruders
from tests.imaging.intruders import picture


def drawn(noise: float = 0.03, lung: float = 0.25, tissue: float = 0.85, side: int = 240) -> Grey:
    """Air at .1, a body over .7 × .5 of the picture, and in it two lungs of .2 × .3 each."""
    grey = np.full((side, side), 0.1, dtype=np.float32)
    grey[side // 4 : side * 3 // 4, side * 3 // 20 : side * 17 // 20] = tissue
    for left in (5, 11):
        grey[side * 35 // 100 : side * 65 // 100, side * left // 20 : side * (left + 4) // 20] = lung
    return grey + np.random.default_rng(0).normal(0, noise, grey.shape).astype(np.float32)


def test_the_layout_of_a_drawn_chest() -> None:
    found = ood_features.measure(picture(drawn()))

    assert found.body == pytest.approx(0.35, abs=0.02)
    assert found.lungs == pytest.approx(0.12 / 0.35, abs=0.02)
    assert found.contrast == pytest.approx(0.75, abs=0.08)
    assert found.hollow == pytest.approx(0.15 / 0.75, abs=0.04)
    assert (found.lung, found.tissue) == pytest.approx((0.25, 0.85), abs=0.01)
    assert found.balance == pytest.approx(0.5, abs=0.03)
    # Two boxes of 4 by 6, their middles 3 to either side: variances 9 + 16/12 and 36/12.
    assert found.upright == pytest.approx((3 / (9 + 4 / 3)) ** 0.5, abs=0.03)
    assert found.apart == pytest.approx(((9 + 4 / 3) / (14**2 / 12)) ** 0.5, abs=0.03)
    assert found.separation > 0.95
    assert (found.black, found.white, found.inverted, found.under) == (0, 0, 0, 0)


@pytest.mark.parametrize("noise", [0.02, 0.05])
def test_noise_is_that_of_the_tissue(noise: float) -> None:
    found = ood_features.measure(picture(drawn(noise)))

    assert found.noise == pytest.approx(np.log10(noise / found.contrast + 1e-3), abs=0.05)
    assert found.grain == pytest.approx(0, abs=0.05)


def test_enlarging_makes_blurry_edges_and_coarse_noise() -> None:
    sharp = drawn(0.1)
    blurred = intruders.CHANGES["blurred"](sharp)

    before, after = ood_features.measure(picture(sharp)), ood_features.measure(picture(blurred))

    assert after.sharpness < before.sharpness - 0.2
    assert after.grain > before.grain + 0.2
    assert after.noise < before.noise - 0.3


def test_clipping_is_counted() -> None:
    found = ood_features.measure(picture(drawn(lung=-0.2, tissue=1.2)))

    assert (found.black, found.white) == pytest.approx((1, 1), abs=0.02)


def lopsided() -> Grey:
    """A body that runs out of the picture, two unlike lungs and a vessel; strokes beside it, and a frame."""
    grey = drawn(0.02)
    grey[180:] = grey[60:120]
    grey[84:110, 60:95] = 0.8
    grey[100:150, 140:160] += np.linspace(0, 0.3, 20, dtype=np.float32)
    grey[20:40, 30:200:4] = 0.9
    return np.pad(grey, ((10, 0), (6, 14)), constant_values=0.3).clip(0, 1)


LOPSIDED = {
    "contrast": 0.79608,
    "separation": 0.93801,
    "edge": 0.075949,
    "body": 0.53838,
    "lungs": 0.30476,
    "hollow": 0.21675,
    "ambient": 0.012689,
    "balance": 0.46094,
    "upright": 1.3347,
    "under": 0.041667,
    "apart": 0.78524,
    "thin": 0.077017,
    "noise": -1.6046,
    "sharpness": -0.046941,
    "grain": 0.0,
    "lung": 0.25098,
    "tissue": 0.85098,
    "texture": 0.049756,
    "black": 0.0,
    "white": 0.0,
    "inverted": 0.0,
}
NEGATIVE = {
    "contrast": 0.79608,
    "separation": 0.93752,
    "edge": 0.92405,
    "body": 0.46162,
    "lungs": 0.0,
    "inverted": 0.30714,
    "hollow": 0.45813,
    "ambient": 0.057571,
    "thin": 0.042002,
    "sharpness": 0.0089,
    "grain": 0.049207,
    "balance": 0.0,
    "upright": 0.0,
    "apart": 0.0,
}
CLIPPED = {"contrast": 1.0, "noise": -2.4719, "ambient": 0.015024, "black": 0.88889, "white": 0.70229}


@pytest.mark.parametrize(
    ("grey", "expected"),
    [
        (lopsided(), LOPSIDED),
        (1 - lopsided(), NEGATIVE),
        (drawn(lung=-0.05, tissue=1.02), CLIPPED),
    ],
    ids=["lopsided", "negative", "clipped"],
)
def test_signs_stay_what_statistics_in_model_files_are_of(grey: Grey, expected: dict[str, float]) -> None:
    """Model files hold means and spreads of these numbers: measured otherwise, the slices they know were strangers."""
    found = ood_features.measure(picture(grey))

    assert {name: getattr(found, name) for name in expected} == pytest.approx(expected, rel=1e-3, abs=1e-4)


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_margins_change_little(grey: float) -> None:
    slice_ = intruders.slices(1, side=320)[0]
    plain = ood_features.measure(picture(slice_))
    framed = ood_features.measure(picture(np.pad(slice_, ((30, 50), (70, 20)), constant_values=grey)))

    for name in ("separation", "lungs", "upright", "apart", "hollow", "lung", "tissue", "texture", "sharpness"):
        assert getattr(framed, name) == pytest.approx(getattr(plain, name), abs=0.06), name


def test_the_chest_is_not_looked_for_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = picture(drawn())
    found = lung_segmentation.segment(seen.grey)
    expected = ood_features.measure(seen)
    monkeypatch.setattr(lung_segmentation, "segment", None)

    assert ood_features.measure(seen, found) == expected


def test_a_threshold_lies_between_two_modes() -> None:
    values = np.array([0.2] * 70 + [0.8] * 30, dtype=np.float32)

    cut, separation = ood_features.threshold(values, 0.2, 0.8)

    assert 0.3 < cut < 0.7
    assert separation == pytest.approx(1)
    assert ood_features.threshold(values, 0.5, 0.5) == (0.5, 0.0)


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(32, 150), st.integers(32, 150)),
        elements=st.floats(0, 1, width=32),
        fill=st.sampled_from([0.0, 0.5, 1.0]).map(np.float32),
    )
)
def test_any_picture_can_be_looked_at(grey: Grey) -> None:
    found = ood_features.measure(picture(grey))

    values = [getattr(found, name) for name in ood_features.Features.__slots__]
    assert np.isfinite(values).all()
    for name in ("separation", "edge", "body", "lungs", "inverted", "thin", "black", "white"):
        assert -1e-6 <= getattr(found, name) <= 1 + 1e-6, name
    assert 0 <= found.balance <= 0.5
