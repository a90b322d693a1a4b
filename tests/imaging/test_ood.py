"""The guard lets slices in however they were exported, keeps intruders out, and knows a stranger when it sees one."""

import dataclasses
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from PIL import Image

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import ood, ood_features
from lungcli.imaging.ood import OodStatistics
from lungcli.imaging.ood_features import Features
from tests.imaging import intruders
from tests.imaging.intruders import picture

SLICES = intruders.slices(20)
SEEN = [ood_features.measure(picture(grey)) for grey in SLICES]
STATISTICS = ood.fit(ood.feature_rows(SEEN[:15]), ood.feature_rows(SEEN[15:]))


def known() -> OodStatistics:
    assert STATISTICS is not None
    return STATISTICS


@pytest.mark.parametrize("name", intruders.CHANGES)
def test_a_slice_is_let_in_however_it_was_exported(name: str) -> None:
    changed = [intruders.CHANGES[name](grey) for grey in SLICES[:8]]

    assert [ood.layout_rejection(ood_features.measure(picture(grey))) for grey in changed] == [None] * 8


@pytest.mark.parametrize(
    ("name", "reasons"),
    [
        ("coronal plane, drawn", {"the body goes on below the lungs: a coronal or sagittal plane?"}),
        ("X-ray, drawn", {"grey values don't fall into air and tissue, as in an X-ray or MRI", "no lungs found"}),
        ("brain MRI, drawn", {"dark in the middle of the body instead of on both sides, as in a brain"}),
        ("text, drawn", {"mostly text or lines", "no lungs found"}),
        ("blank or noise", {"blank", "mostly text or lines", "no lungs found"}),
    ],
)
def test_drawn_intruders_are_refused(name: str, reasons: set[str]) -> None:
    found = [ood.layout_rejection(ood_features.measure(picture(intruders.DRAWN[name](seed)))) for seed in range(8)]

    assert {item.reason if item else "" for item in found} <= reasons
    assert all(item and 1 < item.score <= 100 for item in found)


def test_inverted_grey_is_refused_by_name() -> None:
    found = [ood.layout_rejection(ood_features.measure(picture(intruders.negative(grey)))) for grey in SLICES[:8]]

    assert {item.reason if item else "" for item in found} == {"inverted grey: air is brighter than tissue"}


def test_a_slice_on_its_side_is_refused() -> None:
    found = [ood.layout_rejection(ood_features.measure(picture(intruders.turned(grey)))) for grey in SLICES[:8]]

    assert all(item and item.reason.startswith("lungs stand upright") for item in found)


def test_colour_is_refused_with_its_ratio_to_the_limit() -> None:
    found = ood.layout_rejection(ood_features.measure(picture(SLICES[0], colour=0.2)))

    assert found
    assert found.reason == "a colour picture"
    assert found.score == pytest.approx(4)
    assert ood.layout_rejection(ood_features.measure(picture(SLICES[0], colour=0.02))) is None


def test_most_scenes_are_refused_and_the_rest_is_unfamiliar() -> None:
    seen = [ood_features.measure(picture(intruders.scene(seed))) for seed in range(20)]

    assert sum(ood.layout_rejection(item) is not None for item in seen) > 10
    assert all(ood.layout_rejection(item) or ood.distance(item, known()) > 1 for item in seen)


def test_training_and_validation_slices_are_familiar() -> None:
    scores = [ood.distance(item, known()) for item in SEEN]

    assert max(scores) <= 1
    assert all(ood.ood_reason(item, known()) is None for item in SEEN)
    assert known().n == 15
    assert known().signs == ood.FEATURES


@pytest.mark.parametrize(
    ("change", "how"),
    [
        ("soft tissue window", "of lungs cut off at black by the window"),
        ("full range", "of darker tissue"),
        ("lung window -600/1200", "smoother"),
        ("blurred", "blurrier"),
    ],
)
def test_an_unfamiliar_acquisition_is_named(change: str, how: str) -> None:
    found = [
        ood.ood_reason(ood_features.measure(picture(intruders.CHANGES[change](grey))), known()) for grey in SLICES[15:]
    ]

    assert all(item and item.score > 1 for item in found)
    reason = f"unfamiliar acquisition: {how} than the slices it learned from"
    assert sum(item is not None and item.reason == reason for item in found) >= 3, found


def test_more_noise_is_further_away() -> None:
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1, SLICES[0].shape).astype(np.float32)
    scores = [
        ood.distance(ood_features.measure(picture(SLICES[0] + np.float32(level) * noise)), known())
        for level in (0, 0.1, 0.2)
    ]

    assert scores == sorted(scores)
    assert scores[2] > 1


def shifted(seen: Features, **changes: float) -> Features:
    return dataclasses.replace(seen, **changes)


def test_the_distance_is_that_of_mahalanobis() -> None:
    """With one training slice the covariance is that of the least spreads, so a shift by one of them counts 1."""
    alone = ood.fit(ood.feature_rows(SEEN[:1]), ood.feature_rows([]))
    assert alone is not None
    there = shifted(SEEN[0], noise=SEEN[0].noise + 0.15, texture=SEEN[0].texture - 0.04)

    assert ood.distance(SEEN[0], alone) == 0
    assert alone.threshold == pytest.approx(math.sqrt(11))
    assert ood.distance(there, alone) == pytest.approx(math.sqrt(1 + 2**2) / math.sqrt(11))
    far = shifted(SEEN[0], texture=SEEN[0].texture - 0.2)
    found = ood.ood_reason(far, alone)
    assert found
    assert found.reason == "unfamiliar acquisition: of emptier lungs than the slices it learned from"
    assert ood.distance(shifted(SEEN[0], noise=1e6), alone) == 100


def test_validation_widens_the_threshold() -> None:
    rows = ood.feature_rows(SEEN[:15])
    strangers = ood.feature_rows(
        ood_features.measure(picture(intruders.CHANGES["full range"](grey))) for grey in SLICES[:4]
    )

    wide = ood.fit(rows, strangers)

    assert wide is not None
    assert wide.threshold > known().threshold
    assert all(
        ood.distance(ood_features.measure(picture(intruders.CHANGES["full range"](g))), wide) <= 1 for g in SLICES[:4]
    )


def test_nothing_is_learned_from_nothing() -> None:
    assert ood.fit(ood.feature_rows([]), ood.feature_rows(SEEN)) is None


def test_statistics_survive_the_model_file() -> None:
    again = msgspec.json.decode(msgspec.json.encode(known()), type=OodStatistics)

    assert again == known()
    assert ood.understands(again)
    assert not ood.understands(msgspec.structs.replace(again, signs=("smell", *again.signs[1:])))


def test_files(tmp_path: Path) -> None:
    for number, grey in enumerate(SLICES):
        Image.fromarray(np.rint(grey * 255).astype(np.uint8)).save(tmp_path / f"{number:02d}.png")
    paths = sorted(tmp_path.iterdir())

    found = ood.fit_files(paths[:15], paths[15:])

    assert found is not None
    assert found.mean == pytest.approx(known().mean, abs=0.01)
    (tmp_path / "00.png").unlink()
    with pytest.raises(UnreadableInputError):
        ood.fit_files(paths[:15], paths[15:])
