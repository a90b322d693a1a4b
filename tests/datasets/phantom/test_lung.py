"""Vessels and nodules of the made-up lungs."""

import numpy as np
import pytest

from lungcli.datasets.phantom import anatomy, lung

BODY = anatomy.draw_body(np.random.default_rng(5))
TREE = lung.grow_tree(np.random.default_rng(6), BODY)


def nodule(core: float = 0.0) -> lung.Nodule:
    return lung.Nodule(u=-60, v=0, z=0, radius=8, reach=10, density=40, core=core)


def test_a_nodule_is_widest_in_its_middle_and_ends() -> None:
    assert nodule().section(0) == 8
    assert nodule().section(6) == pytest.approx(8 * 0.8)
    assert nodule().section(10) == 0
    assert nodule().section(-30) == 0


def test_vessels_get_thinner_from_fork_to_fork_and_fill_both_lungs() -> None:
    radii = TREE[:, 6]

    assert TREE.shape[1] == 7
    assert radii.max() < 3.5
    assert radii.min() > 0.35
    assert np.median(radii) < 1
    assert (TREE[:, 0] < 0).sum() > 100
    assert (TREE[:, 0] > 0).sum() > 100


def test_vessels_are_bright_in_the_lungs() -> None:
    bare = lung.section(BODY, TREE[:0], None, 0.0, 256)
    full = lung.section(BODY, TREE, None, 0.0, 256)

    share = (full - bare > 200).sum() / (anatomy.lung_field(BODY, anatomy.grid_of(BODY, 256), 0.0) < 0).sum()

    assert 0.01 < share < 0.15
    assert (full >= bare - 1e-3).all()


def test_a_nodule_has_its_density_where_it_lies_and_a_calcified_core_is_denser() -> None:
    column, row = (round(i) for i in anatomy.pixel_of(BODY, -60, 0, 256))

    soft = lung.section(BODY, TREE, nodule(), 0.0, 256)[row, column]
    hard = lung.section(BODY, TREE, nodule(core=0.5), 0.0, 256)[row, column]

    assert soft == pytest.approx(40, abs=15)
    assert hard > 500


def test_beyond_its_reach_a_nodule_leaves_no_trace() -> None:
    np.testing.assert_array_equal(
        lung.section(BODY, TREE, nodule(), 11.0, 64), lung.section(BODY, TREE, None, 11.0, 64)
    )


def test_neighbouring_sections_resemble_each_other() -> None:
    here, near, far = (lung.section(BODY, TREE, None, z, 128).ravel() for z in (0.0, 1.0, 6.0))

    assert np.corrcoef(here, near)[0, 1] > 0.99
    assert np.corrcoef(here, far)[0, 1] < np.corrcoef(here, near)[0, 1]
