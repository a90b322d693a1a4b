"""The made-up chest: its frame, its outlines and what its tissues weigh."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.datasets.phantom import anatomy

SEEDS = st.integers(0, 2**32)


def body_of(seed: int) -> anatomy.Body:
    return anatomy.draw_body(np.random.default_rng(seed))


@given(seed=SEEDS, row=st.integers(0, 63), column=st.integers(0, 63))
@settings(deadline=None, max_examples=50)
def test_a_pixel_and_its_point_in_the_body_name_each_other(seed: int, row: int, column: int) -> None:
    body = body_of(seed)
    grid = anatomy.grid_of(body, 64)

    there = anatomy.pixel_of(body, float(grid.u[row, column]), float(grid.v[row, column]), 64)

    assert there == pytest.approx((column, row), abs=1e-3)


def test_the_field_of_a_circle_is_the_distance_to_it() -> None:
    u, v = np.array([0, 5, 13], dtype=np.float32), np.array([0, 0, 0], dtype=np.float32)

    np.testing.assert_allclose(anatomy.ellipse(u, v, 5, 5), [-5, 0, 8], atol=1e-5)


def test_a_turned_ellipse_is_long_where_it_points() -> None:
    down = np.array([0], dtype=np.float32), np.array([9], dtype=np.float32)

    assert anatomy.ellipse(*down, 10, 2)[0] > 0
    assert anatomy.ellipse(*down, 10, 2, np.pi / 2)[0] < 0


def test_paint_fills_the_inside_and_leaves_the_outside() -> None:
    hu = np.zeros(3, dtype=np.float32)

    anatomy.paint(hu, np.array([-4, 0, 4], dtype=np.float32), 100.0, 2.0)

    np.testing.assert_allclose(hu, [100, 50, 0])


@given(seed=SEEDS)
@settings(deadline=None, max_examples=50)
def test_every_body_has_two_lungs_inside_it_and_lies_within_the_picture(seed: int) -> None:
    body = body_of(seed)
    grid = anatomy.grid_of(body, 96)

    inside = anatomy.lung_field(body, grid, 0.0) < 0

    assert (inside & (grid.u < 0)).sum() > 250
    assert (inside & (grid.u > 0)).sum() > 250
    edge = np.ones_like(inside)
    edge[2:-2, 2:-2] = False
    assert not (inside & edge).any()


def test_tissues_have_their_textbook_attenuation() -> None:
    body = body_of(1)
    grid = anatomy.grid_of(body, 256)

    hu = anatomy.chest(body, grid, 0.0, np.zeros((256, 256), dtype=np.float32))

    assert hu[0, 0] == pytest.approx(anatomy.AIR)
    assert hu.max() == pytest.approx(anatomy.CORTEX, abs=60)
    skin = np.abs(hu - anatomy.FAT) < 5
    assert skin.mean() > 0.005
