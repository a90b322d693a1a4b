"""The order in which files are leafed through."""

from pathlib import Path

from lungcli.datasets import series


def test_files_of_all_folders_by_number_hidden_ones_left_out(tmp_path: Path) -> None:
    for name in ("s10.png", "s9.png", ".hidden.png", "deep/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "deep" / "back").symlink_to(tmp_path)
    assert list(series.files_in(tmp_path)) == [tmp_path / name for name in ("deep/a.png", "s9.png", "s10.png")]
