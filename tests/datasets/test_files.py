"""Files in reading order, and worked on in several threads."""

from pathlib import Path

import pytest

from lungcli.datasets import files


def test_files_are_listed_by_number_with_subfolders_and_without_hidden_ones(tmp_path: Path) -> None:
    for name in ("s10.png", "s9.png", ".hidden.png", "deep/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "deep" / "back").symlink_to(tmp_path)
    assert list(files.files_in(tmp_path)) == [tmp_path / name for name in ("deep/a.png", "s9.png", "s10.png")]


def test_results_come_in_order_and_progress_counts_them() -> None:
    progress: list[tuple[int, int]] = []
    results = list(files.map_in_order(lambda number: number * number, range(20), lambda *done: progress.append(done)))
    assert results == [number * number for number in range(20)]
    assert progress == [(done, 20) for done in range(1, 21)]


def test_an_error_of_one_item_ends_the_others() -> None:
    def fail_at_3(number: int) -> int:
        if number == 3:
            raise ValueError("3")
        return number

    results = files.map_in_order(fail_at_3, range(20))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="3"):
        next(results)
