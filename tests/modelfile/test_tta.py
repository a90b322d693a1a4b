"""Ten views of a slice: mirrored and moved, nothing but black moving in; a model that averages judges all of them."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.metrics import calibration
from lungcli.modelfile import model_file, tta
from tests.modelfile import graphs


def test_the_views_of_a_dot() -> None:
    slices = np.zeros((1, 96, 96), dtype=np.uint8)
    slices[0, 40, 30] = 200
    places = [tuple(int(at) for at in np.argwhere(view[0])[0]) for view in tta.ten_views(slices)]
    # 96 / 48 = 2 pixels; the mirror image of column 30 is 65.
    assert places == [
        *((40, 30), (40, 65), (38, 30), (38, 65), (42, 30), (42, 65)),
        *((40, 28), (40, 67), (40, 32), (40, 63)),
    ]


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(32, 70), st.integers(0, 2**32 - 1))
def test_views_are_contiguous_slices_of_the_same_kind(count: int, side: int, seed: int) -> None:
    slices = np.random.default_rng(seed).integers(1, 256, (count, side, side), dtype=np.uint8)
    kept = slices.copy()
    found = list(tta.ten_views(slices))
    assert len(found) == tta.COUNT
    step = max(1, round(side / 48))
    for view in found:
        assert view.shape == slices.shape
        assert view.dtype == np.uint8
        assert view.flags.c_contiguous
        # What moves in is black, and what moves out is a strip of that width at one side.
        assert (view == 0).sum() in (0, count * side * step)
    np.testing.assert_array_equal(found[0], kept)
    np.testing.assert_array_equal(found[1], kept[:, :, ::-1])
    np.testing.assert_array_equal(slices, kept)


def test_a_model_that_averages_gives_the_mean_of_calibrated_probabilities(tmp_path: Path) -> None:
    graph = graphs.convolutional(tmp_path / "g.onnx")
    model_file.write(graph, graphs.card(), tmp_path / "m.onnx")
    model = model_file.load(tmp_path / "m.onnx", threads=1)
    slices = graphs.slices(3)
    expected = np.mean([calibration.softmax(model.logits(view), 2.0) for view in tta.ten_views(slices)], axis=0)
    averaging = dataclasses.replace(model, averages=True)
    np.testing.assert_allclose(averaging.probabilities(slices), expected, atol=1e-12)
    assert np.abs(expected - model.probabilities(slices)).max() > 1e-4
    assert averaging.probabilities(slices).sum(axis=1) == pytest.approx(1)
    assert averaging.probabilities(slices[:0]).shape == (0, 3)
