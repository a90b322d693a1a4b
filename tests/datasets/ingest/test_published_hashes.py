"""The published files of a data set: the bundled list, and comparing with it."""

from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

from lungcli.core import registry
from lungcli.datasets.ingest import published_hashes
from lungcli.datasets.ingest.published_hashes import COPY, DIFFERS, FOREIGN, LocalFile
from lungcli.datasets.manifest import Slice
from tests.datasets import published


@pytest.mark.parametrize("row", [row for row in registry.DATA_SETS.values() if row.hashes], ids=lambda row: row.name)
def test_the_bundled_lists_are_complete(row: registry.DataSet) -> None:
    files = published_hashes.published_files(row)

    assert Counter(item.label for item in files.values()) == Counter(dict(row.counts))
    assert all(len(bytes.fromhex(item.sha256)) == 32 for item in files.values())


def test_iqothnccd() -> None:
    row = registry.data_set("IQ-OTHNCCD")

    assert row.slices == 1097
    assert published_hashes.published_files(row)["Bengin case (1).jpg"] == published_hashes.PublishedFile(
        label="benign", sha256="f10f32ba46ca6dfa27056ae429fd56bc38c4a6c24b8caa5330ef5fdee75974d9"
    )
    assert len({item.sha256 for item in published_hashes.published_files(row).values()}) == 1054


def test_every_row_can_be_had_and_cited() -> None:
    for row in registry.DATA_SETS.values():
        assert bool(row.mirrors) is bool(row.counts) is bool(row.folders) is not bool(row.by_hand)
        assert row.institutions
        assert row.classes
        assert all(mirror.url.startswith("https://") for mirror in row.mirrors)
        assert row.citation
        assert row.page.startswith("https://")
        assert {label for _, label in row.folders} == {label for label, _ in row.counts}


def test_every_verdict(tmp_path: Path) -> None:
    row = published.row(tmp_path)
    right = published_hashes.published_files(row)["Normal case (1).png"].sha256
    at_hand = [
        ("a/Normal case (1).png", "normal", right, ""),
        ("b/Normal case (1).png", "normal", right, COPY),
        ("c/Normal case (1).png", "benign", right, DIFFERS),
        ("Normal case (2).png", "normal", right, DIFFERS),
        ("Normal case (3).png", "normal", right, FOREIGN),
        ("Bengin case (1).png", "benign", "", DIFFERS),
    ]

    compared = published_hashes.compare(
        row, [LocalFile(path=PurePosixPath(path), label=label, sha256=sha256) for path, label, sha256, _ in at_hand]
    )

    assert compared.reasons == tuple(reason for *_, reason in at_hand)
    assert [str(path) for path in compared.differing] == ["Normal case (2).png", "Bengin case (1).png"]
    assert compared.missing == (
        "Bengin case (1).png",
        "Bengin case (2).png",
        "Bengin case (10).png",
        "Normal case (2).png",
    )
    assert compared.matching == 1


def test_slices_count_once(tmp_path: Path) -> None:
    row = published.row(tmp_path)
    right = published_hashes.published_files(row)["Normal case (1).png"].sha256
    slices = [
        Slice(path=f"slices/{folder}/{name}", label="normal", sha256=right, size=(48, 48), group=0)
        for folder, name in (("a", "Normal case (1).png"), ("b", "Normal case (1).png"), ("a", "Normal case (2).png"))
    ]

    assert published_hashes.count_published(row, slices) == 1
