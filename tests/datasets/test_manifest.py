"""Manifests: what is written is read back, what is damaged or newer is refused, digests follow the content."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.core import paths
from lungcli.core.errors import UnreadableInputError, UsageError
from lungcli.datasets import manifest
from lungcli.datasets.manifest import Rejected, Slice, Source
from tests.imaging.pictures import described

MADE_UP = Source(about="made up")


def saved(name: str = "some") -> manifest.Manifest:
    made = described([("normal", 2), ("benign", 1)], name)
    manifest.save(made, manifest.folder(name))
    return made


def test_make_works_out_classes_and_digest() -> None:
    made = described([("normal", 2), ("benign", 1)])

    assert made.classes == ("benign", "normal")
    assert made.labels() == (1, 1, 0)
    assert made.digest == manifest.digest(made.slices)


@pytest.mark.parametrize("change", [{"path": "x"}, {"label": "y"}, {"sha256": "z"}, {"group": 77}])
def test_digest_changes_with_what_decides_a_training(change: dict[str, object]) -> None:
    first, *others = described([("normal", 2), ("benign", 1)]).slices
    changed = msgspec.structs.replace(first, **change)

    assert manifest.digest((changed, *others)) != manifest.digest((first, *others))


def test_digest_follows_institutions_and_masks_but_not_their_names() -> None:
    first, *others = described([("normal", 2), ("benign", 1)]).slices
    named = [tuple(msgspec.structs.replace(item, institution=name) for item in (first, *others)) for name in "ab"]
    mixed = [(msgspec.structs.replace(first, institution=name), *others) for name in "ab"]
    masked = [(msgspec.structs.replace(first, mask="masks/a.png", mask_sha256=sha), *others) for sha in "ab"]

    # As before there were any, for a data set of one institution without masks.
    assert {manifest.digest(item) for item in named} == {manifest.digest((first, *others))}
    assert len({manifest.digest(item) for item in mixed}) == 1
    assert len({manifest.digest(item) for item in (*named, *mixed, *masked)}) == 4


def test_institution_is_the_name_of_the_set_where_the_source_does_not_say() -> None:
    first, *others = described([("normal", 2)], "ours").slices
    data = manifest.build("ours", (msgspec.structs.replace(first, institution="Clinic A"), *others), (), MADE_UP)

    assert data.institutions() == ("Clinic A", "ours")


@pytest.mark.parametrize("mask", ["slices/a.png", "masks/../../a.png", "/masks/a.png", "masks\\a.png"])
def test_a_mask_that_leads_outside_is_refused(mask: str) -> None:
    first, *others = described([("normal", 1), ("benign", 1)]).slices
    data = manifest.build("some", (msgspec.structs.replace(first, mask=mask), *others), (), MADE_UP)
    manifest.save(data, manifest.folder("some"))

    with pytest.raises(UnreadableInputError, match="does not lie in its folder 'masks'"):
        manifest.load("some")


@pytest.mark.parametrize("signature", ["x", "ab", "AB" * 16, "ab" * 17])
def test_a_signature_that_is_none_is_refused(signature: str) -> None:
    first, *others = described([("normal", 1), ("benign", 1)]).slices
    data = manifest.build("some", (msgspec.structs.replace(first, signature=signature), *others), (), MADE_UP)
    manifest.save(data, manifest.folder("some"))

    with pytest.raises(UnreadableInputError, match="has a signature that is none"):
        manifest.load("some")


def test_digest_changes_with_the_order_but_not_with_the_name() -> None:
    made = described([("normal", 2)])

    assert manifest.digest(made.slices[::-1]) != made.digest
    assert (
        manifest.build("other", made.slices, (Rejected(path="a", reason="b"),), Source(about="c")).digest == made.digest
    )


def test_saved_is_loaded_under_any_spelling() -> None:
    made = saved("My-Set")

    assert manifest.load("my_set") == made
    assert manifest.existing() == {"My-Set": paths.data_home() / "My-Set"}


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
PLAIN = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S"), exclude_characters="\\"), max_size=20)
SLICES = st.builds(
    Slice,
    path=PLAIN.map(lambda name: f"slices/{name.replace('..', '')}"),
    label=TEXT,
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    size=st.tuples(st.integers(32, 8000), st.integers(32, 8000)),
    group=st.integers(0, 2**53),
    patient=TEXT,
    institution=TEXT,
    mask=st.none() | PLAIN.map(lambda name: f"masks/{name.replace('..', '')}"),
    mask_sha256=TEXT,
    signature=st.just("") | st.binary(min_size=16, max_size=16).map(bytes.hex),
)


@settings(deadline=None)
@given(
    slices=st.lists(SLICES, max_size=8).map(tuple),
    rejected=st.lists(st.builds(Rejected, path=TEXT, reason=TEXT), max_size=3).map(tuple),
    source=st.builds(Source, about=TEXT, synthetic=st.booleans(), ordered=st.booleans(), licence=TEXT, citation=TEXT),
)
def test_any_manifest_is_read_back_as_it_was(
    tmp_path_factory: pytest.TempPathFactory,
    slices: tuple[Slice, ...],
    rejected: tuple[Rejected, ...],
    source: Source,
) -> None:
    folder: Path = tmp_path_factory.mktemp("set")
    made = manifest.build("any", slices, rejected, source)

    manifest.save(made, folder)
    found = manifest.read(folder / "manifest.json")

    assert found == made
    assert manifest.digest(found.slices) == made.digest
    assert [found.classes[label] for label in found.labels()] == [item.label for item in slices]


def test_unknown_data_set() -> None:
    saved("lungs")

    with pytest.raises(UsageError, match="unknown data set 'lunks'") as caught:
        manifest.load("lunks")
    assert "did you mean 'lungs'?" in caught.value.hint


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"name": "x"}', b"\xff\xfe"])
def test_damaged_manifest(content: bytes) -> None:
    saved()
    (manifest.folder("some") / "manifest.json").write_bytes(content)

    with pytest.raises(UnreadableInputError, match=r"the manifest .*manifest\.json is damaged"):
        manifest.load("some")


def test_manifest_of_a_newer_lungcli() -> None:
    newer = msgspec.structs.replace(saved(), format_version=manifest.FORMAT_VERSION + 1)
    manifest.save(newer, manifest.folder("some"))

    with pytest.raises(UnreadableInputError, match="format 2; this lungcli reads up to 1") as caught:
        manifest.load("some")
    assert "upgrade" in caught.value.hint


def test_unfinished_and_hidden_folders_are_no_data_sets() -> None:
    manifest.save(described([("a", 1)]), paths.data_home() / ".some.partial-1")
    (paths.data_home() / "empty").mkdir()

    assert manifest.existing() == {}


def test_no_home_yet() -> None:
    assert manifest.existing() == {}


def test_remove() -> None:
    saved()
    manifest.remove("some")

    assert not manifest.folder("some").exists()
    with pytest.raises(UsageError, match="unknown data set"):
        manifest.remove("some")


def test_require_new() -> None:
    assert manifest.require_new("some") == paths.data_home() / "some"
    saved()
    with pytest.raises(UsageError, match="there is a data set 'some' already"):
        manifest.require_new("some")


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", "a\\b", ".x", "-x", "x.", "x" * 81, "a\nb"])
def test_names_that_cannot_be_folders(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a data set"):
        manifest.folder(name)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../../etc/passwd",
        "slices/../../x.png",
        "other/x.png",
        "slices\\..\\x.png",
        "slices/\x1b[2J.png",
    ],
)
def test_a_slice_outside_the_folder_is_refused(path: str) -> None:
    made = saved()
    moved = manifest.build(
        "some", (msgspec.structs.replace(made.slices[0], path=path), *made.slices[1:]), (), made.source
    )
    manifest.save(moved, manifest.folder("some"))

    with pytest.raises(UnreadableInputError, match="does not lie in its folder"):
        manifest.load("some")


@pytest.mark.parametrize("digest", ["", "../../../etc/x", "*", "z" * 64])
def test_a_digest_that_would_name_other_files_is_refused(digest: str) -> None:
    """The cache names its files after it."""
    manifest.save(msgspec.structs.replace(saved(), digest=digest), manifest.folder("some"))

    with pytest.raises(UnreadableInputError, match="its digest is none"):
        manifest.load("some")


def test_a_slice_of_a_class_that_is_not_named_is_refused() -> None:
    made = saved()
    manifest.save(msgspec.structs.replace(made, classes=("other",)), manifest.folder("some"))

    with pytest.raises(UnreadableInputError, match="is of a class that it does not name"):
        manifest.load("some")


def test_the_only_data_set_need_not_be_named() -> None:
    with pytest.raises(UsageError, match="there is none on this machine yet") as caught:
        manifest.only()
    assert "lungcli data phantom" in caught.value.hint
    saved("one")
    assert manifest.only() == "one"
    saved("two")
    with pytest.raises(UsageError, match="no data set is named with --data, and there are several: one, two"):
        manifest.only()
