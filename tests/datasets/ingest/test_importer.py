"""Importing: every file is a slice or named with a reason, and the data set is there whole or not at all."""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lungcli.core import paths
from lungcli.core.errors import LungcliError, NetworkError, UnreadableInputError, UsageError
from lungcli.core.registry import DataSet
from lungcli.core.worker_process import WorkerProcess
from lungcli.datasets import manifest, split_files, splits
from lungcli.datasets.atomic_dir import LOCKS
from lungcli.datasets.ingest import folder_layout, ingest, published_hashes, source_files
from lungcli.datasets.ingest.importer import default_name, import_dataset, import_published
from lungcli.datasets.ingest.ingest import IncomingFile, safe_filename, write_dataset
from lungcli.datasets.manifest import Manifest, Rejected, Source
from lungcli.datasets.pseudonyms import pseudonym
from lungcli.datasets.splits import Split
from tests.datasets import published
from tests.imaging.dicoms import dicom, hounsfield
from tests.imaging.pictures import encoded, noise, png, write, zipped

PLAIN = {"benign/1.png": png(1), "normal/1.png": png(2), "normal/2.png": png(3)}
MADE_UP = Source(about="made up")


def reasons(made: Manifest) -> dict[str, str]:
    return {item.path: item.reason for item in made.rejected}


def left_behind() -> list[str]:
    home = paths.data_home()
    return sorted(item.name for item in home.iterdir() if item.name != LOCKS) if home.exists() else []


@pytest.fixture(params=["folder", "zip"])
def packed(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Put files in a folder, or in an archive."""
    if request.param == "zip":
        return lambda files: zipped(tmp_path / "My set (1).zip", files)
    return lambda files: write(tmp_path / "My set (1)", files)


@pytest.fixture
def little(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataSet:
    """A published set of five files that the catalog knows."""
    row = published.row(tmp_path)
    monkeypatch.setattr(folder_layout, "DATA_SETS", {row.name: row})
    return row


@pytest.mark.parametrize("above", ["", f"{published.ROOT}/", f"{published.ROOT}/{published.ROOT}/"])
def test_a_published_set(little: DataSet, packed: Callable[[dict[str, bytes]], Path], above: str) -> None:
    foreign = {f"{above}Test cases/000001_01.png": png(900), f"{above}about.txt": b"1190 images"}

    made = import_dataset(packed(published.files(above) | foreign))

    assert made.name == "little"
    assert made.classes == ("benign", "normal")
    assert [item.path for item in made.slices] == [
        *(f"slices/benign/Bengin case ({i}).png" for i in (1, 2, 10)),
        *(f"slices/normal/Normal case ({i}).png" for i in (1, 2)),
    ]
    assert made.source == Source(
        ordered=True,
        about="The little set",
        licence="CC BY 4.0",
        citation="Nobody (2020), The little set, doi:10.1234/little",
        doi="10.1234/little",
        data_set="little",
    )
    assert reasons(made) == {
        f"{above}Test cases/000001_01.png": "not in a class folder",
        f"{above}about.txt": "not a picture",
    }
    assert (manifest.folder("little") / "SOURCE.txt").read_text().splitlines() == [
        "The little set",
        "Licence: CC BY 4.0",
        "DOI: https://doi.org/10.1234/little",
        "Cite as: Nobody (2020), The little set, doi:10.1234/little",
    ]


def test_augmented_copies_are_named_and_left_out(little: DataSet, packed: Callable[[dict[str, bytes]], Path]) -> None:
    more = {
        "Augmented/Bengin cases/aug_0_1.png": png(50),
        "Augmented/Normal cases/Normal case (1).png": png(51),
        "again/Normal cases/Normal case (2).png": png(22),
    }

    made = import_dataset(packed(published.files() | more))

    assert len(made.slices) == 5
    assert reasons(made) == {
        "Augmented/Bengin cases/aug_0_1.png": published_hashes.FOREIGN,
        "Augmented/Normal cases/Normal case (1).png": published_hashes.DIFFERS,
        # Folders come in alphabetical order, archives in their own.
        **(
            {"again/Normal cases/Normal case (2).png": published_hashes.COPY}
            if "again/Normal cases/Normal case (2).png" in reasons(made)
            else {f"{published.ROOT}/Normal cases/Normal case (2).png": published_hashes.COPY}
        ),
    }


def test_a_part_of_a_published_set(little: DataSet, packed: Callable[[dict[str, bytes]], Path]) -> None:
    part = {name: content for name, content in published.files().items() if "(1)" in name}

    made = import_published(little, packed(part))

    assert (len(made.slices), published_hashes.count_published(little, made.slices)) == (2, 2)


def test_a_download_must_be_complete(little: DataSet, packed: Callable[[dict[str, bytes]], Path]) -> None:
    part = {name: content for name, content in published.files().items() if "(2)" not in name}

    with pytest.raises(NetworkError) as caught:
        import_published(little, packed(part), complete=True)

    assert caught.value.message == (
        "it has 3 of the 5 published files of little; missing: Bengin case (2).png, Normal case (2).png"
    )
    assert left_behind() == []


@pytest.mark.parametrize("damage", ["altered", "other class", "unreadable"])
def test_a_published_file_that_differs_is_refused(little: DataSet, tmp_path: Path, damage: str) -> None:
    files = published.files("")
    content = files.pop("Normal cases/Normal case (2).png")
    match damage:
        case "altered":
            files["Normal cases/Normal case (2).png"] = png(77)
        case "other class":
            files["Bengin cases/Normal case (2).png"] = content
        case _:
            files["Normal cases/Normal case (2).png"] = b""
    source = write(tmp_path / "set", files)

    for importing in (import_dataset, functools.partial(import_published, little)):
        with pytest.raises(NetworkError, match=r"1 of its files are not as little was published: .*Normal") as caught:
            importing(source)
        assert "--name OTHER" in caught.value.hint
        assert left_behind() == []


def test_what_differs_may_be_taken_in_as_other_data(little: DataSet, tmp_path: Path) -> None:
    source = write(tmp_path / "set", published.files("") | {"Normal cases/Normal case (2).png": png(77)})

    made = import_dataset(source, name="mine")

    assert (made.name, len(made.slices), made.rejected) == ("mine", 5, ())
    assert made.source == Source(about="imported from set", ordered=True)
    assert not (manifest.folder("mine") / "SOURCE.txt").exists()


def test_the_layout_alone_makes_no_published_set(little: DataSet, tmp_path: Path) -> None:
    files = {"Bengin cases/a.png": png(1), "Normal cases/b.png": png(2)}

    made = import_dataset(write(tmp_path / "My pictures", files))

    assert (made.name, made.source) == ("my-pictures", Source(about="imported from My pictures", ordered=True))


def test_nothing_of_a_published_set(little: DataSet, tmp_path: Path) -> None:
    source = write(tmp_path / "set", {"Bengin cases/a.png": png(1), "Normal cases/b.png": png(2)})

    with pytest.raises(NetworkError, match="none of its files is one of the 5 published files of little"):
        import_published(little, source)


def test_a_set_without_known_hashes_is_told_by_its_numbers(
    little: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = dataclasses.replace(little, hashes="", counts=(("benign", 3), ("normal", 2)))
    monkeypatch.setattr(folder_layout, "DATA_SETS", {row.name: row})
    part = dict(list(published.files("").items())[2:])

    whole = import_dataset(write(tmp_path / "whole", published.files("")))
    other = import_dataset(write(tmp_path / "other", part))

    assert [item.source.data_set for item in (whole, other)] == ["little", ""]
    assert published_hashes.count_published(row, other.slices) == 3


def test_a_file_that_changes_while_it_is_read(little: DataSet, tmp_path: Path) -> None:
    source = write(tmp_path / "set", published.files(""))

    def meddle(done: int, total: int) -> None:
        (source / "Bengin cases" / "Bengin case (1).png").write_bytes(png(99))

    with pytest.raises(LungcliError, match="has changed while it was read"):
        import_published(little, source, meddle)
    assert left_behind() == []


TABLE = "path,label,patient\nx/1.png,Malignant,p1\nx/2.png,malignant,p1\n3.png,NORMAL,p2\n"
TABLED = {"x/1.png": png(1), "x/2.png": png(2), "3.png": png(3), "4.png": png(4), "notes.txt": b""}


def test_a_table_says_class_and_patient(packed: Callable[[dict[str, bytes]], Path], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE)

    made = import_dataset(packed(TABLED), table=tmp_path / "t.csv")

    assert made.name == "my-set-1"
    assert [(item.path, item.label, item.patient, item.group) for item in made.slices] == [
        ("slices/malignant/1.png", "malignant", pseudonym("p1"), 0),
        ("slices/malignant/2.png", "malignant", pseudonym("p1"), 0),
        ("slices/normal/3.png", "normal", pseudonym("p2"), 1),
    ]
    assert reasons(made) == {"4.png": "not in the table"}


OWN_TABLE = (
    "path,label,patient,institution,mask,licence,source\n"
    "a/1.png,malignant,Jane Doe,Clinic A,m/1.png,CC BY 3.0,The collection\n"
    "a/2.png,tumour-free,Jane Doe,Clinic A,,CC BY 3.0,The collection\n"
)
WITH_OWN_TABLE = {"labels.csv": OWN_TABLE.encode(), "a/1.png": png(1), "a/2.png": png(2), "m/1.png": png(3)}


@pytest.mark.parametrize("above", ["", "the pack/"])
def test_labels_csv_of_a_source_is_its_table(packed: Callable[[dict[str, bytes]], Path], above: str) -> None:
    made = import_dataset(packed({f"{above}{name}": content for name, content in WITH_OWN_TABLE.items()}))

    assert (made.source.licence, made.source.citation) == ("CC BY 3.0", "The collection")
    assert [(item.label, item.institution, item.group) for item in made.slices] == [
        ("malignant", "Clinic A", 0),
        ("tumour-free", "Clinic A", 0),
    ]
    first, second = made.slices
    assert (first.mask, second.mask) == ("masks/malignant/1.png.png", None)
    assert (manifest.folder(made.name) / "masks/malignant/1.png.png").read_bytes() == png(3)
    assert first.mask_sha256 == hashlib.sha256(png(3)).hexdigest()
    assert made.rejected == ()


@pytest.mark.parametrize(
    ("sources", "citation"),
    [
        (["B", "A", "", "B"], "A; B"),
        ([f"LIDC IDRI scanner {i}" for i in range(9)], "LIDC IDRI scanner"),
        ([f"{i}" for i in range(7)], "0; 1; 2; 3; 4; 5; 6"),
    ],
)
def test_sources_of_slices_are_cited_in_a_line(tmp_path: Path, sources: list[str], citation: str) -> None:
    files = {f"{i}.png": png(i) for i in range(len(sources))}
    rows = [f"{i}.png,{'ab'[i % 2]},{source}" for i, source in enumerate(sources)]

    made = import_dataset(
        write(tmp_path / "set", files | {"labels.csv": "\n".join(["path,label,source", *rows]).encode()})
    )

    assert made.source.citation == citation


def test_names_of_patients_are_written_nowhere(packed: Callable[[dict[str, bytes]], Path]) -> None:
    made = import_dataset(packed(WITH_OWN_TABLE))

    written = b"".join(path.read_bytes() for path in paths.home().rglob("*") if path.is_file())
    assert b"Jane" not in written
    assert {item.patient for item in made.slices} == {pseudonym("Jane Doe")}


@pytest.mark.parametrize(("columns", "lacking"), [("path,class,patient", "label"), ("label,patient", "path")])
def test_a_label_table_without_a_column_is_never_passed_over(
    packed: Callable[[dict[str, bytes]], Path], columns: str, lacking: str
) -> None:
    with pytest.raises(UnreadableInputError, match=rf"labels\.csv: it needs one column {lacking}, and has") as caught:
        import_dataset(packed({"labels.csv": f"{columns}\n".encode(), **PLAIN}))
    assert "must name the columns: path,label" in caught.value.hint
    assert not manifest.existing()


def test_a_labels_csv_of_something_else_is_no_table(packed: Callable[[dict[str, bytes]], Path]) -> None:
    made = import_dataset(packed({"labels.csv": b"id,colour\n1,red\n", **PLAIN}))

    assert made.classes == ("benign", "normal")


@pytest.mark.parametrize(
    ("mask", "reason"),
    [(b"x", "it is not a picture"), (encoded(noise(3, 64, 48)), "a mask of 48×64 pixels for a slice of 48×48 pixels")],
)
def test_a_slice_is_kept_without_a_bad_mask(
    packed: Callable[[dict[str, bytes]], Path], mask: bytes, reason: str
) -> None:
    made = import_dataset(packed(WITH_OWN_TABLE | {"m/1.png": mask}))

    assert [item.mask for item in made.slices] == [None, None]
    assert reasons(made) == {"m/1.png": reason}


GIVEN = {
    f"{part}/{label}/{number}.png": png(10 * place + number + 5 * (label == "normal"))
    for place, part in enumerate(("train", "valid", "test"))
    for label in ("benign", "normal")
    for number in range(1, 4)
}


def given_split(data: Manifest) -> Split:
    (split,) = split_files.splits_of(data, split_files.find(data, "given"))
    return split


def test_folders_of_parts_are_kept_as_a_split(packed: Callable[[dict[str, bytes]], Path]) -> None:
    data = import_dataset(packed(GIVEN))

    split = given_split(data)
    assert (split.protocol, len(split.train), len(split.val), len(split.test)) == ("given", 6, 6, 6)
    assert {data.slices[i].sha256 for i in split.test} == {
        hashlib.sha256(content).hexdigest() for name, content in GIVEN.items() if name.startswith("test/")
    }
    assert splits.leak_warning(data, split) == ""


def test_a_given_split_that_leaks_is_kept_and_says_so(packed: Callable[[dict[str, bytes]], Path]) -> None:
    data = import_dataset(packed(GIVEN | {"test/benign/1.png": GIVEN["train/benign/1.png"]}))

    warning = splits.leak_warning(data, given_split(data))

    assert "a given split leaks: 1 near-duplicate groups and 1 slices with exact copies" in warning


@pytest.mark.parametrize("missing", ["valid", "test"])
def test_of_two_parts_one_is_tested_and_validation_comes_from_training(
    packed: Callable[[dict[str, bytes]], Path], missing: str
) -> None:
    files = {name: content for name, content in GIVEN.items() if not name.startswith(missing)}
    data = import_dataset(packed(files))

    split = given_split(data)
    tested = "test" if missing == "valid" else "valid"
    assert {data.slices[i].sha256 for i in split.test} == {
        hashlib.sha256(content).hexdigest() for name, content in files.items() if name.startswith(tested)
    }
    assert split.val
    assert len(split.train) + len(split.val) == 6


def test_training_alone_is_no_split(packed: Callable[[dict[str, bytes]], Path]) -> None:
    data = import_dataset(packed({name: content for name, content in GIVEN.items() if name.startswith("train")}))

    assert split_files.saved(data) == {}


def test_a_column_is_a_split(packed: Callable[[dict[str, bytes]], Path]) -> None:
    lines = ["path,label,split"] + [f"{name},{name.split('/')[1]},{name.split('/')[0]}" for name in GIVEN]

    data = import_dataset(packed(GIVEN | {"labels.csv": "\n".join(lines).encode()}))

    assert len(given_split(data).val) == 6


def test_slices_of_a_dicom_patient_are_one_group_and_nobody_is_named(tmp_path: Path) -> None:
    """The case of 20 files of 10 patients that made 20 groups."""
    rng = np.random.default_rng(0)
    files = {}
    for number in range(20):
        patient = number // 2
        stored = rng.integers(0, 2000, (48, 48)).astype(np.int16)
        tags = {"PatientID": f"MRN{patient:05d}", "InstitutionName": "St Mary", "ManufacturerModelName": "One"}
        files[f"{('benign', 'normal')[patient % 2]}/{number}.dcm"] = dicom(stored, **tags)

    data = import_dataset(write(tmp_path / "scans", files))

    assert len(data.slices) == 20
    assert len({item.group for item in data.slices}) == len({item.patient for item in data.slices}) == 10
    assert {item.institution for item in data.slices} == {f"{pseudonym('St Mary', 'institution')} One"}
    text = (manifest.folder("scans") / manifest.FILE).read_text()
    assert "MRN" not in text
    assert "Mary" not in text


def test_a_table_overrules_the_header(tmp_path: Path) -> None:
    files = {
        "a.dcm": dicom(PatientID="4711", InstitutionName="St Mary"),
        "b.png": png(1),
        "labels.csv": b"path,label,patient,institution\na.dcm,benign,p1,Clinic A\nb.png,normal,,\n",
    }

    first, second = import_dataset(write(tmp_path / "set", files)).slices

    assert (first.patient, first.institution) == (pseudonym("p1"), "Clinic A")
    assert (second.patient, second.institution) == ("", "")


def flat() -> bytes:
    return encoded(np.full((48, 48), 90, dtype=np.uint8))


@pytest.mark.parametrize("any_picture", [False, True])
def test_pictures_of_something_else_are_imported_and_listed_unless_they_are_welcome(
    packed: Callable[[dict[str, bytes]], Path], any_picture: bool
) -> None:
    lungs = Image.fromarray(np.clip(hounsfield() / 1500 * 255 + 230, 0, 255).astype(np.uint8))
    file = io.BytesIO()
    lungs.save(file, "PNG")
    red = encoded(np.full((48, 48, 3), (200, 0, 0), dtype=np.uint8))
    source = packed({"normal/lungs.png": file.getvalue(), "normal/red.png": red, "benign/flat.png": flat()})

    data = import_dataset(source, any_picture=any_picture)

    assert len(data.slices) == 3
    assert data.source.any_picture is any_picture
    assert [item.path for item in data.doubtful] == ([] if any_picture else ["benign/flat.png", "normal/red.png"])
    assert all(item.reason for item in data.doubtful)


def test_a_data_set_may_have_one_class(packed: Callable[[dict[str, bytes]], Path]) -> None:
    made = import_dataset(packed({"normal/1.png": png(1), "normal/2.png": png(2)}))

    assert made.classes == ("normal",)


def test_a_bad_table_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(TABLE + "../secret.png,normal,p3\n")

    with pytest.raises(UnreadableInputError, match=r"t\.csv, line 5: the path '\.\./secret\.png' leads outside"):
        import_dataset(write(tmp_path / "set", TABLED), "some", table=tmp_path / "t.csv")
    assert left_behind() == []


@given(edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=12), keep=st.floats(0.3, 1))
@settings(max_examples=60, deadline=None)
def test_a_damaged_zip_is_a_data_set_or_an_error(edits: list[tuple[float, int]], keep: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = zipped(Path(folder) / "a.zip", PLAIN | {"normal/4.png": png(4), "benign/5.jpg": b"\xff\xd8 no"})
        content = bytearray(path.read_bytes())
        for where, value in edits:
            content[int(where * len(content))] = value
        path.write_bytes(bytes(content[: int(len(content) * keep)]))
        before = left_behind()
        with contextlib.suppress(LungcliError):
            made = import_dataset(path)
            assert {item.sha256 for item in made.slices} <= {
                hashlib.sha256(content).hexdigest() for content in (*PLAIN.values(), png(4))
            }
            manifest.remove(made.name)
        assert left_behind() == before


def test_what_is_written_is_what_was_there(packed: Callable[[dict[str, bytes]], Path]) -> None:
    files = {"a/x.png": encoded(noise(1, 40, 60)), "b/y.jpg": encoded(noise(2), "JPEG")}

    made = import_dataset(packed(files))

    assert made.name == "my-set-1"
    assert made.source.about.startswith("imported from My set (1)")
    assert manifest.load("my-set-1") == made
    assert [item.size for item in made.slices] == [(60, 40), (48, 48)]
    for item, content in zip(made.slices, files.values(), strict=True):
        assert (manifest.folder(made.name) / item.path).read_bytes() == content
        assert item.sha256 == hashlib.sha256(content).hexdigest()


def test_folder_and_zip_give_the_same_digest(tmp_path: Path) -> None:
    one = import_dataset(write(tmp_path / "one", PLAIN))
    two = import_dataset(zipped(tmp_path / "two.zip", PLAIN))

    assert one.digest == two.digest


def test_nothing_is_dropped_in_silence(packed: Callable[[dict[str, bytes]], Path]) -> None:
    odd = {
        "benign/empty.png": b"",
        "benign/text.png": b"not a picture at all, only text",
        "benign/cut.jpg": encoded(noise(5), "JPEG")[:400],
        "normal/dot.png": encoded(noise(5, 8, 8)),
        "normal/.DS_Store": b"x",
        "__MACOSX/normal/._1.png": b"x",
        "normal/Thumbs.db": b"x",
        "readme.md": b"hello",
        "loose.png": png(7),
    }

    made = import_dataset(packed(PLAIN | odd))

    assert len(made.slices) == 3
    assert reasons(made) == {
        "benign/empty.png": "it is empty",
        "benign/text.png": "it is not a picture",
        "benign/cut.jpg": "it is damaged or cut off",
        "normal/dot.png": "it is too small, 8×8 pixels",
        "normal/.DS_Store": "not a picture",
        "__MACOSX/normal/._1.png": "not a picture",
        "normal/Thumbs.db": "not a picture",
        "readme.md": "not a picture",
        "loose.png": "not in a class folder",
    }


def test_odd_names(packed: Callable[[dict[str, bytes]], Path]) -> None:
    files = {"Gruppe [Ä]/Fall (1) ñ 肺.png": png(1), "b c/x.png": png(2)}

    made = import_dataset(packed(files), name="Lungen (ä)")

    assert made.classes == ("b c", "gruppe [ä]")
    assert [item.path for item in made.slices] == ["slices/b c/x.png", "slices/gruppe [ä]/Fall (1) ñ 肺.png"]
    assert (manifest.folder("Lungen (ä)") / made.slices[1].path).read_bytes() == png(1)


def test_same_name_twice_in_a_class(packed: Callable[[dict[str, bytes]], Path]) -> None:
    files = {"train/a/X.png": png(1), "test/a/X.png": png(2), "val/a/x.PNG": png(3), "train/b/X.png": png(4)}

    made = import_dataset(packed(files))

    assert len({item.path.casefold() for item in made.slices}) == 4
    assert {item.sha256 for item in made.slices} == {hashlib.sha256(png(i)).hexdigest() for i in (1, 2, 3, 4)}


def test_file_numbers_join_neighbours_only_where_they_follow_the_scans(tmp_path: Path) -> None:
    first = noise(1).astype(float)
    alike = (first * 0.63 + noise(2) * 0.37).astype("uint8")
    incoming = [
        IncomingFile(label="a", filename="case (7).png", content=encoded(noise(1))),
        IncomingFile(label="a", filename="case (8).png", content=encoded(alike)),
        IncomingFile(label="b", filename="case (9).png", content=png(9)),
    ]

    in_order = write_dataset("one", incoming, MADE_UP, ordered=True)
    unordered = write_dataset("two", incoming, MADE_UP, ordered=False)

    assert [item.group for item in in_order.slices] == [0, 0, 1]
    assert [item.group for item in unordered.slices] == [0, 1, 2]


def test_a_layout_like_iqothnccd_is_in_order(tmp_path: Path) -> None:
    alike = (noise(1) * 0.63 + noise(2) * 0.37).astype("uint8")
    pair = {"Bengin cases/case (1).png": png(1), "Bengin cases/case (2).png": encoded(alike)}
    other = {"Normal cases/case (1).png": png(3)}

    made = import_dataset(write(tmp_path / "x", pair | other))

    assert [item.group for item in made.slices] == [0, 0, 1]


def test_copies_are_of_one_group() -> None:
    incoming = [IncomingFile(label="ab"[i % 2], filename=f"{i}.png", content=png(i // 2)) for i in range(6)]

    made = write_dataset("some", incoming, MADE_UP, ordered=False)

    assert [item.group for item in made.slices] == [0, 1, 2, 0, 1, 2]


def test_patients_are_kept_and_grouped() -> None:
    incoming = [
        IncomingFile(label="ab"[i % 2], filename=f"{i}.png", content=png(i), patient=f"p{i // 3}") for i in range(6)
    ]

    made = write_dataset("some", incoming, MADE_UP, ordered=False)

    assert {(item.patient, item.group) for item in made.slices} == {("p0", 0), ("p1", 1)}


def test_content_may_be_bytes_a_file_or_made_on_demand(tmp_path: Path) -> None:
    asked: list[int] = []

    def draw() -> bytes:
        asked.append(1)
        return png(3)

    write(tmp_path, {"b.png": png(2)})
    incoming = [
        IncomingFile(label="a", filename="1.png", content=png(1)),
        IncomingFile(label="a", filename="2.png", content=tmp_path / "b.png"),
        IncomingFile(label="b", filename="3.png", content=draw),
        IncomingFile(label="b", filename="4.png", content=tmp_path / "gone.png", origin="there/4.png"),
    ]

    made = write_dataset("some", incoming, MADE_UP, ordered=False, rejected=[Rejected(path="x", reason="y")])

    assert [item.sha256 for item in made.slices] == [hashlib.sha256(png(i)).hexdigest() for i in (1, 2, 3)]
    assert reasons(made) == {"x": "y", "there/4.png": "there is no such file"}
    assert asked == [1]


def test_counts_every_file(packed: Callable[[dict[str, bytes]], Path]) -> None:
    seen: list[tuple[int, int]] = []

    import_dataset(packed(PLAIN), advance=lambda done, total: seen.append((done, total)))

    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_everybodys_first_slice_may_be_called_the_same() -> None:
    items = [IncomingFile(label="a", filename=name, content=b"") for name in ["1.png"] * 20_000 + ["1-3.png", "1.PNG"]]

    targets = [str(target) for target in ingest._targets(items)]

    assert targets[:3] == ["slices/a/1.png", "slices/a/1-2.png", "slices/a/1-3.png"]
    assert targets[-3:] == ["slices/a/1-20000.png", "slices/a/1-3-2.png", "slices/a/1-20001.PNG"]
    assert len({target.casefold() for target in targets}) == len(items)


def test_taken_name_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import_dataset(write(tmp_path / "x", PLAIN), name="mine")
    monkeypatch.setattr(source_files, "_walk", lambda _: pytest.fail("work was begun"))

    with pytest.raises(UsageError, match="there is a data set 'mine' already"):
        import_dataset(tmp_path / "x", name="mine")


def test_names_that_cannot_be_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be the name"):
        import_dataset(write(tmp_path / "x", PLAIN), name="../x")


@pytest.mark.parametrize(
    ("files", "error", "match"),
    [
        ({"some/1.png": png(1), "some/2.png": png(2)}, UsageError, "not named after a class"),
        ({"benign/1.png": png(1), "normal/2.png": b""}, UsageError, "all readable slices are 'benign'"),
        ({"1.png": png(1)}, UnreadableInputError, "not in class folders"),
        ({"a/1.txt": b"x", "b/2.txt": b"x"}, UnreadableInputError, "no pictures"),
        ({"a/1.png": b"x", "b/2.png": b"x"}, UnreadableInputError, "none of its files is a slice; the first: a/1.png"),
    ],
)
def test_sources_no_classifier_can_be_made_of(
    packed: Callable[[dict[str, bytes]], Path], files: dict[str, bytes], error: type[LungcliError], match: str
) -> None:
    with pytest.raises(error, match=match) as caught:
        import_dataset(packed(files))
    assert "one folder a class" in caught.value.hint
    assert left_behind() == []


def test_missing_source(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="No such file"):
        import_dataset(tmp_path / "none")


def test_picture_instead_of_a_data_set(tmp_path: Path) -> None:
    write(tmp_path, {"scan.png": png(1)})

    with pytest.raises(UnreadableInputError, match=r"not a folder and not a whole \.zip file"):
        import_dataset(tmp_path / "scan.png")


def test_zip_that_reaches_outside_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInputError, match="points outside"):
        import_dataset(zipped(tmp_path / "a.zip", PLAIN | {"../benign/evil.png": png(4)}))
    assert left_behind() == []
    assert not (tmp_path.parent / "benign").exists()


def test_damaged_member_of_a_zip_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = zipped(tmp_path / "a.zip", PLAIN | {"benign/bad.png": bytes(range(256)) * 4})
    content = bytearray(path.read_bytes())
    content[content.index(b"benign/bad.png") + len(b"benign/bad.png") + 60] ^= 0xFF
    path.write_bytes(bytes(content))

    made = import_dataset(path)

    assert reasons(made) == {"benign/bad.png": "damaged in the .zip file"}


def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "x", PLAIN)

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(Path, "write_bytes", full)

    with pytest.raises(LungcliError, match="No space left on device") as caught:
        import_dataset(source)
    assert "LUNGCLI_HOME" in caught.value.hint
    assert left_behind() == []


def test_home_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "x", PLAIN)
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("LUNGCLI_DATA", str(tmp_path / "file" / "data"))

    with pytest.raises(LungcliError, match="cannot write"):
        import_dataset(source)


def test_interrupt_leaves_nothing(tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        import_dataset(write(tmp_path / "x", PLAIN), advance=interrupt)
    assert left_behind() == []


def test_an_unreadable_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "x", PLAIN | {"benign/locked.png": png(8)})
    read_bytes = Path.read_bytes

    def locked(path: Path) -> bytes:
        if path.name == "locked.png":
            raise PermissionError(13, "Permission denied", str(path))
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", locked)

    made = import_dataset(source)

    assert reasons(made) == {"benign/locked.png": "permission denied"}


@pytest.mark.parametrize(
    ("error", "reason"),
    [(TimeoutError, "it takes more than 10 s"), (EOFError, "its decoder ends or needs too much memory")],
)
def test_a_picture_that_hangs_or_ends_its_decoder_is_named(
    error: type[Exception], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = io.BytesIO()
    Image.open(io.BytesIO(png(8))).save(slow, "TIFF")
    source = write(tmp_path / "x", PLAIN | {"benign/slow.tif": slow.getvalue()})
    assert len(import_dataset(source, name="whole").slices) == 4

    def ask(_: WorkerProcess, __: bytes, ___: float) -> bytes:
        raise error

    monkeypatch.setattr(WorkerProcess, "ask", ask)

    made = import_dataset(source)

    assert reasons(made) == {"benign/slow.tif": reason}
    assert len(made.slices) == 3


def test_linked_class_folders_are_followed_without_loops(tmp_path: Path) -> None:
    source = write(tmp_path / "x", PLAIN)
    linked = tmp_path / "linked"
    linked.mkdir()
    for folder in source.iterdir():
        (linked / folder.name).symlink_to(folder, target_is_directory=True)
    (source / "benign" / "back").symlink_to(linked, target_is_directory=True)

    made = import_dataset(linked)

    assert sorted(item.sha256 for item in made.slices) == sorted(
        hashlib.sha256(content).hexdigest() for name, content in PLAIN.items() if name.endswith(".png")
    )


def test_a_class_in_two_unicode_forms_is_one(tmp_path: Path) -> None:
    source = write(tmp_path / "x", {"bösartig/1.png": png(1), "bo\u0308sartig/2.png": png(2), "gut/3.png": png(3)})
    made = import_dataset(source)
    assert made.classes == ("bösartig", "gut")
    assert [item.label for item in made.slices].count("bösartig") == 2


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("Lung CT (v2).zip", "lung-ct-v2"),
        ("Ärzte_2024.zip", "ärzte-2024"),
        ("---.zip", "dataset"),
        ("x" * 200 + ".zip", "x" * 80),
    ],
)
def test_default_names(source: str, name: str) -> None:
    assert default_name(Path(source)) == name


@pytest.mark.parametrize(
    ("name", "fit"),
    [
        ("case (1).jpg", "case (1).jpg"),
        ('a<b>:"|?*.png', "a_b______.png"),
        ("a\nb.png", "a_b.png"),
        ("dots. . .", "dots"),
        ("...", "_"),
        ("\udcff.png", "_.png"),
        ("肺" * 100 + ".png", "肺" * 65 + ".png"),
    ],
)
def test_safe_names(name: str, fit: str) -> None:
    assert safe_filename(name) == fit
