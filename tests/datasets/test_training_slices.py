"""Slices that a model has seen: found again by content, as re-encoded copies and by their groups, and no others."""

import hashlib
import io

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lungcli.core import package_data
from lungcli.datasets import groups, manifest, training_slices
from lungcli.datasets.manifest import Manifest
from lungcli.imaging.image_io import read
from lungcli.modelfile import model_file
from tests.imaging.pictures import described, encoded, noise


def signature_of(content: bytes) -> str:
    return training_slices.signature(groups.thumbnail(read(content).grey))


def signed(data: Manifest) -> Manifest:
    """A data set whose slices are different noise."""
    slices = tuple(
        msgspec.structs.replace(item, signature=signature_of(encoded(noise(number))))
        for number, item in enumerate(data.slices)
    )
    return manifest.build(data.name, slices, (), data.source)


DATA = signed(described([("benign", 2), ("normal", 3), ("normal", 1), ("benign", 1)]))


def test_the_contents_of_a_record() -> None:
    known = training_slices.record(DATA, (0, 1, 3))

    assert known.count == 3
    assert len(known.hashes) == 3 * training_slices.HASH_BYTES
    assert len(known.signatures) == 3 * 16
    assert msgspec.json.decode(msgspec.json.encode(known), type=type(known)) == known


@given(st.sets(st.integers(0, 6)))
def test_contents_are_recognized_and_others_are_not(indices: set[int]) -> None:
    known = training_slices.record(DATA, indices)

    seen = training_slices.recognized(known, [item.sha256 for item in DATA.slices], ["" for _ in DATA.slices])

    assert {i for i, is_seen in enumerate(seen.tolist()) if is_seen} == indices
    assert not training_slices.recognized(known, ["ff" * 32], [""]).any()


@given(st.sets(st.integers(0, 6)), st.sets(st.integers(0, 6)))
def test_what_two_have_seen_is_recognized_as_by_either(ours: set[int], theirs: set[int]) -> None:
    records = [training_slices.record(DATA, indices) for indices in (ours, theirs, ours | theirs)]
    assert training_slices.union(records[0], records[1]) == records[2]
    assert training_slices.union(records[0], None) == records[0]


@pytest.mark.parametrize("change", ["jpeg", "half the size", "darker"])
def test_a_copy_encoded_anew_is_recognized_by_its_signature(change: str) -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).resize((256, 256))
    copy, kind = picture, "PNG"
    if change == "jpeg":
        kind = "JPEG"
    elif change == "half the size":
        copy = picture.resize((128, 128))
    else:
        copy = picture.point(lambda value: value * 0.7)
    contents = []
    for image, form in ((picture, "PNG"), (copy, kind)):
        file = io.BytesIO()
        image.save(file, form, quality=60)
        contents.append(file.getvalue())
    original, again = map(signature_of, contents)
    data = manifest.build(
        "d", (msgspec.structs.replace(DATA.slices[0], sha256="aa" * 32, signature=original),), (), DATA.source
    )
    known = training_slices.record(data, (0,))

    assert training_slices.recognized(known, ["bb" * 32], [again]).all()
    # By its hash alone nothing is claimed of it.
    assert not training_slices.recognized(known, ["bb" * 32], [""]).any()


@pytest.mark.parametrize("name", ["benign", "malignant", "normal"])
def test_the_bundled_model_recognizes_slices_that_it_was_trained_on(name: str) -> None:
    """Those that come with the program, as they are and as a smaller JPEG file."""
    known = model_file.read_card(package_data.FOLDER / "default.onnx").training_slices
    content = (package_data.FOLDER / "slices" / f"{name}.jpg").read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        again = encoded(np.asarray(picture.convert("L").resize((256, 256))), "JPEG", quality=75)

    assert training_slices.recognized(known, [hashlib.sha256(content).hexdigest()], [""]).all()
    assert training_slices.recognized(known, ["bb" * 32], [signature_of(again)]).all()


def test_unlike_and_flat_pictures_are_not_recognized() -> None:
    known = training_slices.record(DATA, range(7))
    flat = signature_of(encoded(np.full((48, 48), 9, dtype=np.uint8)))

    assert not training_slices.recognized(known, ["bb" * 32] * 2, [signature_of(encoded(noise(99))), flat]).any()
    assert not training_slices.recognized(None, ["bb" * 32], [flat]).any()


def test_a_group_with_a_seen_slice_is_left_out_whole() -> None:
    other = manifest.build(
        "other",
        tuple(
            msgspec.structs.replace(item, sha256=f"{number:064x}", signature="", group=item.group)
            if number != 2
            else item
            for number, item in enumerate(DATA.slices)
        ),
        (),
        DATA.source,
    )

    assert training_slices.unseen(training_slices.record(DATA, (2,)), other) == (0, 1, 5, 6)
    assert training_slices.unseen(None, other) == tuple(range(7))


def test_signatures_are_the_same_on_every_machine() -> None:
    ramp = groups.thumbnail(np.arange(4096, dtype=np.float32).reshape(64, 64))

    assert training_slices.signature(ramp) == "76c6170d394569df7a1adfca6ed75229"
