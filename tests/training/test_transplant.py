"""Transplanted lesions: only the lesion differs, it lies in lung, and a seed repeats it."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lungcli.datasets.lesions import Lesions
from lungcli.imaging import preprocessing
from lungcli.training.transplant import lesion_patches, lung_centres, transplant

AIR, TISSUE = round(255 * preprocessing.AIR), round(255 * preprocessing.TISSUE)
SIDE = 96


def host(side: int = SIDE) -> Tensor:
    """A body, black outside, with two square lungs: uint8 (S, S)."""
    slice_ = torch.zeros(side, side, dtype=torch.uint8)
    edge = side // 8
    slice_[edge:-edge, edge // 2 : -edge // 2] = TISSUE
    slice_[2 * edge : -2 * edge, edge : side // 2 - edge // 2] = AIR
    slice_[2 * edge : -2 * edge, side // 2 + edge // 2 : -edge] = AIR
    return slice_


def lungs() -> Tensor:
    return (host() == AIR)[None, None]


def lesions(radius: int = 12) -> Lesions:
    """One disc, bright on dark, on a grey scale of its own."""
    rows, columns = np.mgrid[-32:32, -32:32]
    mask = (rows**2 + columns**2 <= radius**2).astype(np.uint8)
    return Lesions(crops=(40 + 160 * mask).astype(np.uint8)[None], masks=mask[None])


def draw(slices: Tensor, seed: int = 0, bank: Lesions | None = None) -> tuple[Tensor, Tensor]:
    return transplant(slices, bank or lesions(), torch.Generator().manual_seed(seed))


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), radius=st.integers(5, 20))
def test_only_the_lesion_and_a_narrow_rim_change(seed: int, radius: int) -> None:
    slices = host()[None, None]
    changed, mask = draw(slices, seed, lesions(radius))

    rows, columns = mask[0, 0].nonzero().float().mean(dim=0)
    distance = (torch.arange(SIDE)[:, None] - rows).hypot(torch.arange(SIDE)[None, :] - columns)
    reach = distance[mask[0, 0]].max()
    far = distance > 1.8 * reach + 4
    assert torch.equal(changed[0, 0][far], slices[0, 0][far])
    assert (changed >= slices).all()


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_the_centre_of_a_lesion_lies_in_lung(seed: int) -> None:
    small = lesions(5)
    changed, mask = draw(host()[None, None], seed, small)

    assert mask.any()
    assert (mask & lungs()).sum() >= 0.5 * mask.sum()
    assert (changed[mask & lungs()].float().mean() - AIR) > 0.3 * (TISSUE - AIR)


def test_a_slice_without_lungs_comes_back_as_it_was() -> None:
    slices = torch.full((1, 1, SIDE, SIDE), TISSUE, dtype=torch.uint8)
    changed, mask = draw(slices)

    assert torch.equal(changed, slices)
    assert not mask.any()


def test_a_slice_without_lungs_does_not_change_the_draws_of_the_others() -> None:
    plain = torch.full((SIDE, SIDE), TISSUE, dtype=torch.uint8)
    with_plain, _ = draw(torch.stack([plain, host()])[:, None], seed=3)
    with_host, _ = draw(torch.stack([host(), host()])[:, None], seed=3)

    assert torch.equal(with_plain[1], with_host[1])


def test_no_slices_give_no_slices() -> None:
    changed, mask = draw(torch.zeros(0, 1, SIDE, SIDE, dtype=torch.uint8))

    assert changed.shape == mask.shape == (0, 1, SIDE, SIDE)
    assert mask.dtype == torch.bool


def test_a_seed_repeats_a_transplant_and_another_does_not() -> None:
    slices = host()[None, None]

    assert torch.equal(draw(slices, 1)[0], draw(slices, 1)[0])
    assert not torch.equal(draw(slices, 1)[0], draw(slices, 2)[0])


def test_the_slices_given_are_not_changed() -> None:
    slices = host()[None, None]
    draw(slices)

    assert torch.equal(slices[0, 0], host())


def test_centres_keep_a_distance_from_walls_and_from_the_air_outside() -> None:
    centres = lung_centres(host())
    walls = host() == TISSUE

    assert centres.any()
    assert not (centres & (host() == 0)).any()
    near = torch.nn.functional.max_pool2d(walls[None, None].float(), 3, 1, 1)[0, 0] > 0
    assert not (centres & near).any()


def test_a_lesion_of_twice_the_millimetres_covers_more() -> None:
    slices = host()[None, None].expand(64, 1, SIDE, SIDE)
    small, large = (draw(slices, 0, lesions(radius))[1].sum() for radius in (6, 12))

    assert 3 < large / small < 5


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_patches_come_in_pairs_that_differ_by_a_lesion_that_lies_in_them(seed: int) -> None:
    slices, labels = torch.stack([host(), host(), host()])[:, None], torch.tensor([0, 1, 2])
    patches, patch_labels = lesion_patches(slices, labels, lesions(20), 1, torch.Generator().manual_seed(seed))

    assert patches.shape == (4, 1, SIDE // 2, SIDE // 2)
    assert patches.dtype == torch.uint8
    # Slice 1 is malignant already, and nobody knows where.
    assert patch_labels.tolist() == [1, 1, 0, 2]
    having, without = patches[:2], patches[2:]
    assert (having >= without).all()
    assert ((having > without).flatten(1).sum(dim=1) > 20).all()


def test_slices_without_lungs_give_no_patches() -> None:
    blank, labels = torch.zeros(2, 1, SIDE, SIDE, dtype=torch.uint8), torch.tensor([0, 2])
    patches, patch_labels = lesion_patches(blank, labels, lesions(), 1, torch.Generator().manual_seed(0))
    assert (len(patches), len(patch_labels)) == (0, 0)
