"""Finding lungs: where phantoms have them, and nowhere else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from lungcli.datasets.phantom import anatomy, dataset
from lungcli.imaging import lung_segmentation
from lungcli.imaging.picture import Grey
from tests.imaging.pictures import windowed

SIDE = 256


def bodies(count: int) -> list[dataset.Patient]:
    return list(dataset.patients(60, 5))[:count]


@pytest.mark.parametrize("index", range(6))
def test_lungs_of_a_phantom(index: int) -> None:
    patient = bodies(6)[index]
    grey = windowed(dataset.hounsfield(patient, 0.0, SIDE))

    found = lung_segmentation.segment(grey)

    field = anatomy.lung_field(patient.body, anatomy.grid_of(patient.body, SIDE), 0.0) < 0
    drawn = field.reshape(SIDE // found.factor, found.factor, -1, found.factor).mean(axis=(1, 3)) > 0.5
    assert not found.failure_reason
    # What the mask lacks are vessels and the nodule; what it has beyond is the edge.
    assert (found.lungs & drawn).sum() / drawn.sum() > 0.85
    assert (found.lungs & ~drawn).sum() / drawn.sum() < 0.10
    rows, columns = np.nonzero(field)
    left, top, right, bottom = found.box
    assert left <= columns.min() < columns.max() < right
    assert top <= rows.min() < rows.max() < bottom
    assert right - left == pytest.approx(bottom - top)
    assert max(np.ptp(columns), np.ptp(rows)) / (right - left) > 0.80
    assert found.air == pytest.approx((patient.body.aeration + 1350) / 1500, abs=0.05)
    assert found.tissue == pytest.approx((40 + 1350) / 1500, abs=0.08)


def test_the_table_is_not_the_body() -> None:
    patient = bodies(1)[0]
    found = lung_segmentation.segment(windowed(dataset.hounsfield(patient, 0.0, SIDE)))

    below = np.flatnonzero(found.body.any(axis=1))[-1]
    air_under_the_back = found.body[below + 1 :]
    assert not air_under_the_back.any()
    assert below < len(found.body) - 4


def test_one_lung_gets_the_frame_of_two() -> None:
    grey = np.zeros((200, 300), dtype=np.float32)
    grey[40:160, 40:260] = 0.9
    both = grey.copy()
    both[60:140, 60:120] = both[60:140, 180:240] = 0.3
    one = both.copy()
    one[60:140, 180:240] = 0.9

    assert lung_segmentation.segment(one).box == pytest.approx(
        lung_segmentation.segment(both).box, abs=2 * lung_segmentation.segment(both).factor
    )


def middle_of(*, lungs: float, tissue: float = 0.9) -> Grey:
    grey = np.zeros((128, 128), dtype=np.float32)
    grey[20:108, 14:114] = tissue
    grey[40:90, 24:58] = grey[40:90, 70:104] = lungs
    return grey


@pytest.mark.parametrize(
    ("grey", "missing"),
    [
        (np.zeros((64, 64), dtype=np.float32), "no body found"),
        (np.ones((64, 80), dtype=np.float32), "no lungs found"),
        (middle_of(lungs=0.9), "no lungs found"),
        (middle_of(lungs=0.01, tissue=0.06), "lungs and soft tissue have the same grey"),
    ],
)
def test_what_is_no_chest_says_why(grey: Grey, missing: str) -> None:
    found = lung_segmentation.segment(grey)

    assert found.failure_reason == missing
    assert not found.lungs.any()


def test_a_body_without_lungs_is_framed_itself() -> None:
    found = lung_segmentation.segment(middle_of(lungs=0.9))

    assert found.box == (14, 14, 114, 114)


@settings(deadline=None, max_examples=100)
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(32, 70), st.integers(32, 70)),
        elements=st.floats(0, 1, width=32),
        fill=st.floats(0, 1, width=32),
    )
)
def test_any_picture_gets_a_box(grey: Grey) -> None:
    found = lung_segmentation.segment(grey)

    left, top, right, bottom = found.box
    assert right - left >= 1
    assert right - left == pytest.approx(bottom - top)
    assert left < grey.shape[1]
    assert right > 0
    assert top < grey.shape[0]
    assert bottom > 0
    assert 0 <= found.air <= found.tissue <= 1


@given(low=st.integers(0, 100), high=st.integers(150, 255), share=st.floats(0.1, 0.9))
def test_otsu_parts_two_greys(low: int, high: int, share: float) -> None:
    values = np.concatenate([np.full(int(1000 * share), low), np.full(1000 - int(1000 * share), high)])

    assert low < lung_segmentation.otsu(values.astype(np.uint8)) <= high


@given(arrays.arrays(np.float32, st.integers(1, 40), elements=st.floats(0, 1, width=32)))
@settings(deadline=None)
def test_the_median_is_that_of_numpy(values: NDArray[np.float32]) -> None:
    assert lung_segmentation.median(values) == pytest.approx(float(np.median(values)), rel=1e-6)


def test_the_median_of_nothing() -> None:
    assert lung_segmentation.median(np.zeros(0, dtype=np.float32)) == 0.0


@given(arrays.arrays(np.uint8, (7, 5)))
@settings(deadline=None)
def test_pillow_holds_the_very_values(values: NDArray[np.uint8]) -> None:
    assert (np.asarray(lung_segmentation.as_image(values)) == values).all()
    assert (np.asarray(lung_segmentation.as_image(values.T)) == values.T).all()
