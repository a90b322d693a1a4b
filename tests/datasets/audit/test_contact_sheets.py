"""Contact sheets: what is on them, in which order, and how large they are."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from lungcli.datasets import manifest
from lungcli.datasets.audit import contact_sheets
from lungcli.datasets.audit.audit import Audit
from lungcli.datasets.audit.contact_sheets import MOST_IN_A_ROW, MOST_ROWS, TILE, Tile, TileRow
from lungcli.datasets.audit.findings import Pair
from lungcli.datasets.ingest.ingest import IncomingFile, write_dataset
from lungcli.datasets.manifest import Source
from tests.imaging.pictures import described, encoded, noise, png


def test_groups_of_several_classes_come_first_then_large_ones() -> None:
    made = described([("a", 1), ("a", 2), ("b", 30), ("a", 3), ("b", 1)])
    joined = tuple(msgspec.structs.replace(item, group=3) if item.group == 4 else item for item in made.slices)

    rows = contact_sheets.near_duplicate_rows(manifest.build("some", joined, (), made.source))

    assert [row.title for row in rows] == ["group 3: 3 a, 1 b", "group 2: 30 b", "group 1: 2 a"]
    assert [len(row.tiles) for row in rows] == [4, MOST_IN_A_ROW, 2]
    assert {tile.label for tile in rows[0].tiles} == {"a", "b"}
    assert (rows[1].tiles[0].name, rows[1].tiles[-1].name) == ("2-0.png", "2-29.png")


def test_a_class_of_one_slice_is_shown_in_a_large_group() -> None:
    made = described([("a", 40), ("b", 1), ("a", 40)])
    one = tuple(msgspec.structs.replace(item, group=0) for item in made.slices)

    (row,) = contact_sheets.near_duplicate_rows(manifest.build("some", one, (), made.source))

    assert len(row.tiles) == MOST_IN_A_ROW
    assert "b" in {tile.label for tile in row.tiles}


def test_conflicts_are_pairs() -> None:
    found = Audit(
        name="some",
        digest="",
        slices=2,
        groups=1,
        classes=(),
        nearest_neighbour=None,
        groupings=(),
        shortcuts=(),
        copies=(),
        conflicts=(Pair(paths=("slices/a/1.png", "slices/b/2.png"), labels=("a", "b"), correlation=0.9871),),
        findings=(),
    )

    assert contact_sheets.conflict_rows(found) == (
        TileRow(
            title="correlation 0.987",
            tiles=(Tile(path="slices/a/1.png", label="a"), Tile(path="slices/b/2.png", label="b")),
        ),
    )


def test_a_tile_keeps_the_aspect(tmp_path: Path) -> None:
    (tmp_path / "wide.png").write_bytes(encoded(np.full((40, 80), 200, dtype=np.uint8)))

    pixels = np.asarray(contact_sheets.tile(tmp_path / "wide.png"))

    assert pixels.shape == (TILE, TILE)
    assert pixels[TILE // 2].min() == 200
    assert pixels[: TILE // 4 - 1].max() == 0


def test_a_damaged_slice_is_crossed_out(tmp_path: Path) -> None:
    crossed = np.asarray(contact_sheets.tile(tmp_path / "gone.png"))

    assert crossed.shape == (TILE, TILE)
    assert (crossed[10, 10], crossed[10, 50]) == (200, 60)


@pytest.mark.parametrize(("rows", "pages"), [(0, 0), (1, 1), (10, 1), (11, 2), (MOST_ROWS + 5, MOST_ROWS // 10)])
def test_a_few_rows_a_sheet(tmp_path: Path, rows: int, pages: int) -> None:
    name = f"{'x' * 90}.png"
    (tmp_path / name).write_bytes(png(1))
    many = [TileRow(title=f"{i}", tiles=(Tile(path=name, label="ä<b>"),)) for i in range(rows)]

    drawn = list(contact_sheets.sheets(many, tmp_path, "some"))

    assert len(drawn) == pages
    assert len({sheet.width for sheet in drawn}) <= 1
    if drawn:
        assert np.asarray(drawn[0]).std() > 10


def test_slices_as_read_stand_above_what_a_net_sees() -> None:
    files = [IncomingFile(label="ab"[i % 2], filename=f"{i}.png", content=encoded(noise(i, 64, 48))) for i in range(20)]
    made = write_dataset("some", files, Source(about="made up"), ordered=False)
    (manifest.folder("some") / made.slices[0].path).write_bytes(b"broken")

    sheet = contact_sheets.prepared_sheet(made, manifest.folder("some"), 32, groups_per_class=3)

    four_rows, three_tiles_fit_four = 4 * (TILE + 40), 4 * (TILE + 8)
    assert sheet.height >= four_rows
    assert sheet.width >= three_tiles_fit_four
