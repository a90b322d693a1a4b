"""Dividing an archive into shards."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from lungcli.batch import shards
from lungcli.batch.shards import File, Shard


def files(*names: str) -> list[File]:
    return [File(name=name, size=len(name), changed=7) for name in names]


def divided(*names: str, most: int) -> list[tuple[str, ...]]:
    return [shard.files for shard in shards.divide(files(*names), most)]


def test_folders_stay_whole_and_share_shards() -> None:
    names = ("b/1", "a/2", "c", "a/1", "b/x/1", "b/2")
    assert divided(*names, most=4) == [("c", "a/1", "a/2"), ("b/1", "b/2", "b/x/1")]
    assert divided(*names, most=3) == [("c", "a/1", "a/2"), ("b/1", "b/2", "b/x/1")]
    assert divided(*names, most=2) == [("c",), ("a/1", "a/2"), ("b/1", "b/2"), ("b/x/1",)]


def test_a_folder_larger_than_a_shard_is_cut() -> None:
    names = (*(f"a/{i}" for i in range(5)), "b/0")
    assert divided(*names, most=2) == [("a/0", "a/1"), ("a/2", "a/3"), ("a/4", "b/0")]


def test_the_name_of_a_shard_is_fixed_by_its_files() -> None:
    (shard,) = shards.divide(files("a/1", "a/2"), 10)
    assert shard.name == "verdicts-8d63864c6a2bc6614337.parquet"
    assert shards.is_shard(shard.name)
    for other in (File(name="a/2", size=4, changed=7), File(name="a/2", size=3, changed=8)):
        (changed,) = shards.divide([*files("a/1"), other], 10)
        assert changed.name != shard.name


def test_added_files_do_not_change_the_shards_before_them() -> None:
    names = [f"{folder:03}/{i}" for folder in range(20) for i in range(3)]
    before = set(shards.divide(files(*names), 10))
    after = set(shards.divide(files(*names, "019/x", "020/1"), 10))
    assert len(before) == 7
    assert len(before - after) == 1


def test_names_that_are_no_text_are_told_apart() -> None:
    first, second = (next(shards.divide(files(name), 1)) for name in ("a\udcff", "a\udcfe"))
    assert first.name != second.name


@settings(deadline=None, max_examples=60)
@given(st.sets(st.text("ab/", min_size=1, max_size=5).filter(lambda name: name[-1] != "/")), st.integers(1, 9))
def test_every_file_is_in_one_shard_whatever_the_order(names: set[str], most: int) -> None:
    found: list[Shard] = list(shards.divide(files(*names), most))
    assert sorted(name for shard in found for name in shard.files) == sorted(names)
    assert all(0 < len(shard.files) <= most for shard in found)
    shuffled = random.Random(0).sample(sorted(names), len(names))
    assert list(shards.divide(files(*shuffled), most)) == found
    assert shards.digest(found) == shards.digest(list(shards.divide(files(*names), most)))
