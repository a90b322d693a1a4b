"""The guard lets slices in however they were exported, keeps intruders out, and knows a stranger when it sees one."""

import dataclasses
import math
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lungcli.core.errors import UnreadableInputError
from lungcli.imaging import ood, ood_features
from lungcli.imaging.ood import OodStatistics
from lungcli.imaging.ood_features import Features
from tests.imaging import intruders
from tests.imaging.intruders import picture

SLICES = intruders.slices(20)
SEEN = [ood_features.measure(picture(grey)) for grey in SLICES]
AIR = "its dark regions hold air and no lung tissue"
MIXED = "grey values don't fall into air and tissue, as in an X-ray or MRI"
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
        (
            "X-ray, drawn",
            {
                "the body is taller than wide, unlike a chest in an axial plane",
                "the body goes on below the lungs: a coronal or sagittal plane?",
                "no lungs found",
                MIXED,
            },
        ),
        ("head CT, drawn", {AIR, "the body is taller than wide, unlike a chest in an axial plane", "no lungs found"}),
        ("abdomen CT, drawn", {AIR, "no lungs found"}),
        (
            "hollow head phantom, drawn",
            {AIR, "dark where a chest has its spine and heart"},
        ),
        ("brain MRI, drawn", {"dark in the middle of the body instead of on both sides, as in a brain", MIXED}),
        (
            "text, drawn",
            {
                "mostly text or lines",
                "no lungs found",
                "inverted grey: air is brighter than tissue",
                "no dark air around a body",
            },
        ),
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


# A slice that no rule has anything against.
PLAIN = Features(
    **dict.fromkeys(Features.__slots__, 0.0)
    | {"contrast": 0.8, "separation": 0.95, "body": 0.5, "lungs": 0.4, "balance": 0.5, "upright": 0.5, "apart": 1.0}
    | {"lung": 0.3, "aeration": 0.2, "unevenness": 0.06, "middle": 0.1, "aspect": 1.3, "side": 512}
)


@pytest.mark.parametrize(
    ("sign", "limit", "beside", "reason"),
    [
        ("colour", 0.05, {}, "a colour picture"),
        ("contrast", -0.02, {}, "blank"),
        ("edge", 0.5, {"inverted": 0.401}, "inverted grey: air is brighter than tissue"),
        ("edge", 0.75, {"middle": 0.3}, "no dark air around a body"),
        ("edge", 0.75, {"lungs": 0.2}, "no dark air around a body"),
        ("between", 0.15, {}, MIXED),
        ("between", 0.28, {"lung": 0.029}, MIXED),
        ("thin", 0.4, {}, "mostly text or lines"),
        ("body", -0.12, {}, "no body found"),
        ("lungs", -0.04, {}, "no lungs found"),
        ("separation", -0.70, {"hollow": 0.051}, "grey values don't fall into air and tissue, as in an X-ray or MRI"),
        ("separation", -0.84, {"hollow": 0.051, "unevenness": 0.101}, "grey values don't fall into air and tissue, as"),
        (
            "separation",
            -0.84,
            {"hollow": 0.051, "aeration": 0.501},
            "grey values don't fall into air and tissue, as in an X-ray or MRI",
        ),
        ("separation", -0.62, {"hollow": 0.05}, "grey values don't fall into air and tissue, as in an X-ray or MRI"),
        ("ambient", 0.17, {}, "what surrounds the body is not air"),
        ("upright", 1.3, {"balance": 0.2}, "lungs stand upright: a coronal or sagittal plane, or a slice turned"),
        ("apart", -0.5, {"upright": 0.7}, "dark in the middle of the body instead of on both sides, as in a brain"),
        ("under", 0.6, {"balance": 0.15, "upright": 0.62}, "the body goes on below the lungs: a coronal or sagittal"),
        ("unevenness", 0.145, {}, "its dark regions are too uneven to be lungs, as in an X-ray or MRI"),
        ("aeration", -0.12, {"unevenness": 0.017}, AIR),
        ("aeration", -0.04, {}, AIR),
        ("aeration", -0.06, {"lungs": 0.099}, AIR),
        ("aeration", -0.06, {"unevenness": 0.029}, AIR),
        ("edge", 0.5, {"middle": 0.3, "lung": 0.029}, "no dark air around a body"),
        ("middle", 0.4, {}, "dark where a chest has its spine and heart"),
        ("aspect", -0.92, {}, "the body is taller than wide, unlike a chest in an axial plane"),
    ],
)
def test_each_rule_has_its_limit(sign: str, limit: float, beside: dict[str, float], reason: str) -> None:
    """A negative limit is the least that is let through, a positive one the most."""
    at = dataclasses.replace(PLAIN, **beside, **{sign: abs(limit)})
    beyond = abs(limit) + math.copysign(0.001, limit)
    found = ood.layout_rejection(dataclasses.replace(at, **{sign: beyond}))

    assert ood.layout_rejection(PLAIN) is None
    assert ood.layout_rejection(at) is None
    assert found is not None
    assert found.reason.startswith(reason)
    assert found.score == pytest.approx(max(beyond / abs(limit), abs(limit) / beyond))


@pytest.mark.parametrize(
    "changes",
    [
        {"upright": 5.0, "balance": 0.199},
        {"edge": 1.0, "inverted": 0.399, "between": 0.15},
        {"apart": 0.1, "upright": 0.699},
        {"under": 5.0, "balance": 0.149, "upright": 1.0},
        {"under": 5.0, "upright": 0.619},
        {"aeration": 0.0, "lung": 0.029},
        {"aeration": 0.0, "unevenness": 0.0, "middle": 1.0, "black": 0.21},
    ],
)
def test_a_rule_about_lungs_that_look_otherwise_is_silent(changes: dict[str, float]) -> None:
    assert ood.layout_rejection(dataclasses.replace(PLAIN, **changes)) is None


def test_scores_are_bounded() -> None:
    assert getattr(ood.layout_rejection(dataclasses.replace(PLAIN, colour=1e9)), "score", None) == 100
    assert getattr(ood.layout_rejection(dataclasses.replace(PLAIN, contrast=0)), "score", None) == 100
    assert getattr(ood.layout_rejection(dataclasses.replace(PLAIN, contrast=-1)), "score", None) == 100


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


def test_the_covariance_loses_a_tenth_of_its_correlations() -> None:
    """A covariance of few slices may be singular: what two signs share is trusted to nine tenths."""
    rows = np.random.default_rng(0).normal(0, 0.2, (40, len(ood.FEATURES)))
    rows[:, 1:] += rows[:, :1]
    found = ood.fit(rows, rows[:0])
    assert found is not None
    fitted, apart = np.linalg.inv(np.array(found.precision)), ~np.eye(len(ood.FEATURES), dtype=np.bool_)

    np.testing.assert_allclose(fitted[apart], 0.9 * np.cov(rows, rowvar=False, bias=True)[apart], rtol=1e-6, atol=1e-9)
    assert np.diag(fitted) == pytest.approx(np.square(found.spread))


def test_every_sign_is_allowed_its_least_spread_beside_its_own() -> None:
    least = (0.15, 0.1, 0.08, 0.03, 0.03, 0.06, 0.06, 0.06, 0.02, 0.05, 0.05)
    rows = np.random.default_rng(0).normal(0, 0.1, (30, len(ood.FEATURES)))
    alone, many = ood.fit(rows[:1], rows[:0]), ood.fit(rows, rows[:0])
    assert alone is not None
    assert many is not None
    assert alone.spread == pytest.approx(least)
    assert np.square(many.spread) == pytest.approx(rows.var(axis=0) + np.square(least))
    assert many.mean == pytest.approx(rows.mean(axis=0))


def test_the_threshold_lets_99_of_100_through() -> None:
    """Of 300 rows three lie beyond it, of whichever part is wider; rows that lie close together get the usual one."""
    rows = np.zeros((300, len(ood.FEATURES)))
    rows[:, 0] = 100 * np.linspace(0, 1, 300) ** 40
    for train, validation in ((rows, rows[:0]), (rows[:2], rows)):
        found = ood.fit(train, validation)
        assert found is not None
        away = rows - np.array(found.mean)
        distances = np.sqrt(np.einsum("ni,ij,nj->n", away, np.array(found.precision), away))
        assert found.threshold == pytest.approx(np.sort(distances)[296])
    close = ood.fit(rows / 1e4, rows / 1e4)
    assert close is not None
    assert close.threshold == pytest.approx(11**0.5)


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


def small(grey: NDArray[np.float32], side: int) -> Features:
    return ood_features.measure(picture(np.asarray(Image.fromarray(grey).resize((side, side), Image.Resampling.BOX))))


@pytest.mark.parametrize("side", [64, 99])
def test_a_small_picture_is_told_of_its_resolution(side: int) -> None:
    """Fewer pixels a centimetre make edges steep, and a smoother slice is not what is wrong with it."""
    assert [ood.layout_rejection(small(grey, side)) for grey in SLICES[:8]] == [None] * 8
    sharp = dataclasses.replace(SEEN[0], sharpness=9.0, side=side)
    stranger = ood.ood_reason(sharp, known())
    assert stranger is not None
    assert f": of lower resolution ({side} pixels a side) than the slices" in stranger.reason
    dark = ood.ood_reason(dataclasses.replace(SEEN[0], tissue=-9.0, side=side), known())
    assert dark is not None
    assert "of darker tissue" in dark.reason
    refused = ood.layout_rejection(dataclasses.replace(PLAIN, separation=0.1, side=side))
    assert refused is not None
    assert refused.reason == f"{MIXED}; hard to tell at so low a resolution ({side} pixels a side)"
    assert getattr(ood.layout_rejection(dataclasses.replace(PLAIN, colour=1.0, side=side)), "reason", "") == (
        "a colour picture"
    )


def test_a_picture_large_enough_is_told_of_its_edges() -> None:
    stranger = ood.ood_reason(dataclasses.replace(SEEN[0], sharpness=9.0, side=100), known())
    assert stranger is not None
    assert "sharper than the slices" in stranger.reason
    refused = ood.layout_rejection(dataclasses.replace(PLAIN, separation=0.1, side=100))
    assert refused is not None
    assert refused.reason == MIXED
