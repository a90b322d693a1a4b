"""Augmentation: repeatable, bounded, and off when told so."""

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
