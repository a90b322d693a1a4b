"""Augmentation: repeatable, bounded, and off when told so."""

import math

import msgspec
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lungcli.core.recipe import Augment
from lungcli.training.augmentation import augment

OFF = Augment(rotation=0, shift=0, scale=0, flip=0, gamma=0, window=0, blur=0, noise=0, resolution=0, clean=0)


def slices(count: int = 8, side: int = 48) -> Tensor:
    """Smooth pictures, as slices are: noise would be changed by any interpolation."""
    ramp = torch.linspace(0, 1, side)
    wave = torch.stack([torch.outer(torch.sin(3 * ramp + i), torch.cos(2 * ramp)) for i in range(count)])
    return ((wave + 1) * 127).to(torch.uint8)[:, None]


def run(how: Augment, seed: int = 0) -> Tensor:
    return augment(slices(), how, torch.Generator().manual_seed(seed))


def test_off_changes_nothing() -> None:
    torch.testing.assert_close(run(OFF), slices().float(), atol=0.01, rtol=0)


def test_a_seed_repeats_and_another_does_not() -> None:
    assert torch.equal(run(Augment(), 1), run(Augment(), 1))
    assert not torch.equal(run(Augment(), 1), run(Augment(), 2))


def test_values_stay_grey_levels() -> None:
    changed = run(Augment(gamma=2, window=0.4, noise=0.5, clean=0))
    assert changed.shape == slices().shape
    assert changed.min() >= 0
    assert changed.max() <= 255


@pytest.mark.parametrize(
    "kind",
    ["rotation", "shift", "scale", "flip", "gamma", "window", "blur", "noise", "resolution", "sharpen", "spectrum"],
)
def test_each_kind_changes_slices_on_its_own(kind: str) -> None:
    strength = {"rotation": 20.0, "blur": 3.0, "flip": 1.0, "sharpen": 2.0, "spectrum": 1.0}.get(kind, 0.5)
    plain = unlike() if kind in ("sharpen", "spectrum") else slices()
    changed = augment(plain, msgspec.structs.replace(OFF, **{kind: strength}), torch.Generator().manual_seed(0))
    assert (changed - plain.float()).abs().max() > 2


def unlike() -> Tensor:
    """Four pictures of noise, every other one smoothed."""
    noise = torch.rand(1, 1, 48, 48, generator=torch.Generator().manual_seed(1))
    smooth = [functional.avg_pool2d(noise, width, 1, width // 2, count_include_pad=False) for width in (1, 3, 1, 3)]
    return torch.cat([item[..., :48, :48] * 200 for item in smooth]).to(torch.uint8)


def sharpness(slices: Tensor) -> Tensor:
    return slices.float().diff(dim=-1).abs().mean(dim=(1, 2, 3))


def test_exchanged_spectra_make_sharpness_alike() -> None:
    how = msgspec.structs.replace(OFF, spectrum=1.0)
    generator = torch.Generator().manual_seed(0)

    changed = torch.stack([sharpness(augment(unlike(), how, generator)) for _ in range(20)])

    before, after = sharpness(unlike()), changed.mean(dim=0)
    assert before[0] > 3 * before[1]
    assert after[0] / after[1] < 0.7 * before[0] / before[1]


def test_exchanged_spectra_keep_the_coarse_picture() -> None:
    changed = augment(unlike(), msgspec.structs.replace(OFF, spectrum=1.0), torch.Generator().manual_seed(0))

    coarse, before = functional.avg_pool2d(changed, 12), functional.avg_pool2d(unlike().float(), 12)
    assert (coarse - before).abs().mean() < 6


def test_flip_mirrors_left_and_right() -> None:
    torch.testing.assert_close(
        run(msgspec.structs.replace(OFF, flip=1.0)), slices().flip(-1).float(), atol=0.01, rtol=0
    )


def test_clean_slices_keep_their_greys() -> None:
    how = Augment(rotation=0, shift=0, scale=0, flip=0, gamma=1, clean=0.5)
    kept = (run(how) - slices().float()).abs().amax(dim=(1, 2, 3)) < 0.01
    assert 0 < kept.sum() < len(kept)


def test_slices_of_a_batch_change_differently() -> None:
    same = slices()[:1].repeat(4, 1, 1, 1)
    changed = augment(same, Augment(clean=0), torch.Generator().manual_seed(0))
    assert not torch.equal(changed[0], changed[1])


MANY = 400


def many(picture: Tensor, **strengths: float) -> Tensor:
    """One picture (S, S) of greys 0 to 1, changed many times: (MANY, S, S), greys 0 to 1."""
    batch = (picture * 255).round().to(torch.uint8).expand(MANY, 1, -1, -1)
    how = msgspec.structs.replace(OFF, **strengths)
    return augment(batch, how, torch.Generator().manual_seed(0))[:, 0].double() / 255


def dot(across: float, down: float, side: int = 64) -> Tensor:
    """A bell of two pixels on black, so far right of and below the middle."""
    places = torch.arange(side) - (side - 1) / 2
    return torch.outer(torch.exp(-((places - down) ** 2) / 8), torch.exp(-((places - across) ** 2) / 8))


def middles(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """How far right of and below the middle the grey of each picture lies, in pixels: (n,) each."""
    side = pictures.shape[-1]
    places, total = torch.arange(side) - (side - 1) / 2, pictures.sum(dim=(1, 2))
    return (pictures.sum(dim=1) @ places.double()) / total, (pictures.sum(dim=2) @ places.double()) / total


def reaches(found: Tensor, low: float, high: float, near: float = 0.03) -> bool:
    """Say whether values fill the range: as good as nothing beyond it, and the least and largest are near its ends."""
    slack = near * (high - low)
    return low - slack < float(found.min()) < low + slack and high - slack < float(found.max()) < high + slack


def test_shift_is_a_share_of_the_picture_both_ways_on_both_axes() -> None:
    across, down = middles(many(dot(0, 0), shift=0.1))

    assert reaches(across, -6.4, 6.4)
    assert reaches(down, -6.4, 6.4)
    assert abs(float(torch.corrcoef(torch.stack([across, down]))[0, 1])) < 0.15


def test_rotation_is_in_degrees_both_ways_and_keeps_distances() -> None:
    across, down = middles(many(dot(20, 0), rotation=30))

    assert reaches(torch.rad2deg(torch.atan2(down, across)), -30, 30)
    torch.testing.assert_close(torch.hypot(across, down), torch.full((MANY,), 20.0).double(), rtol=0.02, atol=0)


def test_scale_is_the_largest_logarithm_of_the_zoom_both_ways_and_alike_on_both_axes() -> None:
    across, down = middles(many(dot(14, 10), scale=0.3))

    assert reaches(torch.log(across / 14), -0.3, 0.3)
    torch.testing.assert_close(down / across, torch.full((MANY,), 10 / 14).double(), rtol=0.02, atol=0)


def test_flip_and_clean_are_shares_of_the_slices() -> None:
    across, _ = middles(many(dot(10, 0), flip=0.3))
    assert float((across < 0).double().mean()) == pytest.approx(0.3, abs=0.06)

    greys = many(torch.full((8, 8), 0.5), gamma=1.0, clean=0.3)[:, 0, 0]
    assert float(((greys - 128 / 255).abs() < 1e-6).double().mean()) == pytest.approx(0.3, abs=0.06)


def test_gamma_is_the_largest_logarithm_of_the_exponent_both_ways() -> None:
    greys = many(torch.full((8, 8), 0.4), gamma=0.5)[:, 0, 0]

    assert reaches(torch.log(torch.log(greys) / math.log(0.4)), -0.5, 0.5)


def test_window_is_the_largest_shift_of_either_end_of_the_greys() -> None:
    two = torch.full((2, 8), 0.4)
    two[1] = 0.6
    dark, bright = many(two.repeat_interleave(4, dim=0), window=0.2)[:, [0, -1], 0].T
    width = 0.2 / (bright - dark)
    low = 0.4 - dark * width

    assert reaches(low, -0.2, 0.2)
    assert reaches(low + width - 1, -0.2, 0.2)


def test_noise_is_the_largest_spread_as_a_share_of_the_greys() -> None:
    changed = many(torch.full((48, 48), 0.5), noise=0.1)

    assert reaches(changed.std(dim=(1, 2)), 0, 0.1)
    assert float(changed.mean()) == pytest.approx(0.5, abs=0.003)


def test_blur_is_the_largest_width_in_pixels_and_keeps_the_sum() -> None:
    picture = torch.zeros(33, 33)
    picture[16, 16] = 1
    changed = many(picture, blur=3)
    places = (torch.arange(33) - 16).double() ** 2

    torch.testing.assert_close(changed.sum(dim=(1, 2)), torch.ones(MANY).double(), rtol=1e-3, atol=0)
    for axis in (1, 2):
        widths = (changed.sum(dim=axis) @ places).sqrt()
        # A bell that is cut off at two of its widths is narrower by a tenth.
        assert reaches(widths, 0, 0.9 * 3)


def test_resolution_is_the_largest_share_of_pixels_lost_a_side() -> None:
    noise = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0)).mul(255).to(torch.uint8)
    how, generator = msgspec.structs.replace(OFF, resolution=0.5), torch.Generator().manual_seed(0)
    # A picture enlarged from fewer rows has no more than these that are independent.
    left = [int(torch.linalg.matrix_rank(augment(noise, how, generator)[0, 0], rtol=1e-4)) for _ in range(MANY)]

    assert (min(left), max(left)) == (20, 40)


def test_sharpening_adds_up_to_so_many_times_what_a_small_blur_takes_away() -> None:
    picture = torch.full((9, 9), 0.2)
    picture[4, 4] = 0.4
    changed = many(picture, sharpen=2.0)

    # The blur leaves the dot a quarter of what it rises by, and its neighbours an eighth and a sixteenth.
    rise = 102 / 255 - 51 / 255
    strength = (changed[:, 4, 4] - 0.4) / (0.75 * rise)
    assert reaches(strength, 0, 2)
    torch.testing.assert_close(changed[:, 4, 5], 0.2 - strength * rise / 8, rtol=0, atol=1e-4)
    torch.testing.assert_close(changed[:, 5, 5], 0.2 - strength * rise / 16, rtol=0, atol=1e-4)


def waves(cycles: int, *amplitudes: float) -> Tensor:
    """A batch of pictures of one wave across each."""
    wave = torch.cos(2 * math.pi * cycles * torch.arange(48) / 48)
    pictures = [0.5 + amplitude * wave.expand(48, 48) for amplitude in amplitudes]
    return torch.stack(pictures)[:, None] * 255


@pytest.mark.parametrize(
    ("cycles", "amplitudes", "most", "gain"),
    [
        (12, (0.1, 0.2), 1.0, 2),
        (20, (0.1, 0.2), 0.5, 2**0.5),
        (20, (0.02, 0.4), 1.0, 5),
        (11, (0.1, 0.2), 1.0, 1),
    ],
    ids=["to the other's", "half way", "fivefold at most", "never those of anatomy"],
)
def test_spectrum_is_the_largest_share_of_the_way_to_anothers_amplitudes(
    cycles: int, amplitudes: tuple[float, float], most: float, gain: float
) -> None:
    how, generator = msgspec.structs.replace(OFF, spectrum=most), torch.Generator().manual_seed(0)
    pictures = waves(cycles, *amplitudes).round().to(torch.uint8)
    changed = torch.stack([augment(pictures, how, generator)[:, 0, 0] for _ in range(MANY)])
    before = torch.fft.rfft(pictures[:, 0, 0].float()).abs()[:, cycles]
    gains = torch.fft.rfft(changed).abs()[..., cycles] / before

    assert float(gains[:, 0].max()) == pytest.approx(gain, rel=0.03)
    assert float(gains[:, 1].min()) == pytest.approx(1 / gain, rel=0.03)
    assert float(gains[:, 0].min()) == pytest.approx(1, rel=0.03)
    assert float(gains[:, 1].max()) == pytest.approx(1, rel=0.03)
