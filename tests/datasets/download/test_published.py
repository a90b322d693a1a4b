"""Downloads: whatever the sources do, a data set is there whole and verified, or not at all."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest

from lungcli.core import paths
from lungcli.core.errors import InterruptedRunError, NetworkError, UsageError
from lungcli.core.registry import DataSet, Mirror
from lungcli.datasets import atomic_dir
from lungcli.datasets.download import published as download
from lungcli.datasets.download.http import ProgressCallbacks, RetryPolicy
from lungcli.datasets.ingest import published_hashes
from lungcli.datasets.manifest import Manifest
from tests.datasets import published
from tests.datasets.servers import Answer, Served, served
from tests.imaging.pictures import png, zipped

__all__ = ["served"]

QUICK = RetryPolicy(tries=2, first_wait=0.0, silence=5.0)
PAGE = Answer(body=b"<!DOCTYPE html><title>Log in</title>")


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """The published set as a .zip file, its root doubled, with a foreign folder."""
    files = published.files(f"{published.ROOT}/{published.ROOT}/")
    return zipped(tmp_path / "set.zip", files | {"Test cases/000001_01.png": png(90)}).read_bytes()


@pytest.fixture
def row(tmp_path: Path, served: Served) -> DataSet:
    """A set with two mirrors, both on loopback."""
    places = tuple(Mirror(name=name, kind="zip", url=f"{served.url}/{name}.zip") for name in ("first", "second"))
    return dataclasses.replace(published.row(tmp_path), mirrors=places)


def get(row: DataSet, said: list[str] | None = None, urls: tuple[str, ...] = ()) -> Manifest:
    heard = said if said is not None else []
    return download.download(row, ProgressCallbacks(moved=lambda _, __: None, say=heard.append), urls=urls, retry=QUICK)


def there() -> set[str]:
    home = paths.data_home()
    return {path.name for path in home.iterdir()} - {atomic_dir.LOCKS} if home.exists() else set()


def paths_asked(served: Served) -> list[str]:
    return [path for path, _ in served.asked]


def test_from_nothing_to_a_verified_set(served: Served, row: DataSet, archive: bytes) -> None:
    served.give(Answer(body=archive))

    made = get(row)

    assert published_hashes.count_published(row, made.slices) == len(made.slices) == 5
    assert [item.path for item in made.rejected] == ["Test cases/000001_01.png"]
    assert there() == {"little"}
    assert paths_asked(served) == ["/first.zip"]


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        ([Answer(status=403)], "it answers 403 Forbidden"),
        ([Answer(status=500)] * 2, "it answers 500 Internal Server Error, 2 times in a row"),
        ([Answer(status=429, headers={"Retry-After": "9999"})], "asks to wait 9999 s"),
        ([PAGE], "a web page (for logging in?) instead of a .zip file"),
        ([Answer(status=302, headers={"Location": "/login"}), PAGE], "a web page"),
        ([Answer(body=b"PK\x03\x04 and no more")], "not a whole .zip file"),
    ],
)
def test_when_one_source_fails_the_next_is_asked(
    served: Served, row: DataSet, archive: bytes, answers: list[Answer], why: str
) -> None:
    served.give(*answers, Answer(body=archive))
    said: list[str] = []

    assert len(get(row, said).slices) == 5

    assert there() == {"little"}
    assert paths_asked(served)[-1] == "/second.zip"
    assert any(text.startswith("first: ") and why in text for text in said)


def wrong_archives(tmp_path: Path) -> dict[str, bytes]:
    files = published.files()
    one = f"{published.ROOT}/Normal cases/Normal case (2).png"
    return {
        "differs": zipped(tmp_path / "1.zip", files | {one: png(77)}).read_bytes(),
        "missing": zipped(tmp_path / "2.zip", {k: v for k, v in files.items() if k != one}).read_bytes(),
        "augmented": zipped(tmp_path / "3.zip", {f"{k}-aug.png": v[:-1] for k, v in files.items()}).read_bytes(),
        "outside": zipped(tmp_path / "4.zip", files | {"../evil.png": png(1)}).read_bytes(),
        "cut": zipped(tmp_path / "5.zip", files).read_bytes()[:-100],
    }


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("differs", "1 of its files are not as little was published"),
        ("missing", "it has 4 of the 5 published files of little; missing: Normal case (2).png"),
        ("augmented", "none of its files is one of the 5 published files"),
        ("outside", "points outside of it"),
        ("cut", "not a whole .zip file"),
    ],
)
def test_a_wrong_archive_is_never_used(served: Served, row: DataSet, tmp_path: Path, kind: str, why: str) -> None:
    served.give(Answer(body=wrong_archives(tmp_path)[kind]))

    with pytest.raises(NetworkError) as caught:
        get(row)

    assert caught.value.message.startswith("no source of little works: first: ")
    assert caught.value.message.count(why) == 2
    assert "; second: " in caught.value.message
    assert caught.value.hint == (
        "by hand: open https://doi.org/10.1234/little in a browser, download the .zip file, "
        "then: lungcli data download little --from-zip FILE"
    )
    assert there() <= {".little.download"}
    assert list(download.partial_folder(row).glob("*")) == []


def test_addresses_replace_the_mirrors(served: Served, row: DataSet, archive: bytes) -> None:
    served.give(Answer(status=404), Answer(body=archive))

    get(row, urls=(f"{served.url}/mine", f"{served.url}/other"))

    assert paths_asked(served) == ["/mine", "/other"]


def test_a_list_with_hash_leads_to_the_archive(served: Served, row: DataSet, archive: bytes) -> None:
    def listed(sha256: str) -> Answer:
        details = {"download_url": f"{served.url}/signed", "sha256_hash": sha256}
        files = [{"filename": "set.zip", "size": len(archive), "content_details": details}]
        return Answer(body=json.dumps(files).encode())

    url = f"{served.url}/public-api/datasets/x/files"
    served.give(listed("ab" * 32), Answer(body=archive))
    with pytest.raises(NetworkError, match="not the sha256 it must have"):
        get(row, urls=(url,))
    assert list(download.partial_folder(row).iterdir()) == []

    served.give(listed(""), Answer(body=archive))
    assert len(get(row, urls=(url,)).slices) == 5


def test_each_source_keeps_its_own_part(served: Served, row: DataSet, archive: bytes) -> None:
    half = len(archive) // 2
    served.give(Answer(body=archive, cut=half), Answer(status=403), Answer(body=archive, cut=half), Answer(status=403))
    with pytest.raises(NetworkError):
        get(row)
    assert sorted(path.stat().st_size for path in download.partial_folder(row).glob("*.part")) == [half, half]

    served.give(Answer(status=403), Answer(body=archive))
    get(row)

    assert served.ranges() == [f"bytes={half}-"] * 2
    assert there() == {"little"}


def test_interrupt_while_it_arrives(served: Served, row: DataSet, archive: bytes) -> None:
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    served.give(Answer(body=archive))
    with pytest.raises(InterruptedRunError, match="MB have arrived and are kept"):
        download.download(row, ProgressCallbacks(moved=interrupt, say=lambda _: None))
    assert there() == {".little.download"}

    assert len(get(row).slices) == 5
    assert there() == {"little"}


def test_interrupt_while_it_is_read_needs_no_second_transfer(served: Served, row: DataSet, archive: bytes) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    served.give(Answer(body=archive))
    with pytest.raises(InterruptedRunError):
        download.download(row, ProgressCallbacks(moved=lambda _, __: None, say=lambda _: None), interrupt)
    assert there() == {".little.download"}

    get(row)
    assert paths_asked(served) == ["/first.zip"]


def test_one_download_at_a_time(served: Served, row: DataSet) -> None:
    with (
        atomic_dir.exclusive_lock(paths.data_home(), "little.download", "busy"),
        pytest.raises(UsageError, match="another process downloads little"),
    ):
        get(row)
    assert served.asked == []


def test_a_set_that_is_there_is_not_touched(served: Served, row: DataSet, archive: bytes) -> None:
    served.give(Answer(body=archive))
    get(row)
    served.asked.clear()

    with pytest.raises(UsageError, match="there is a data set 'little' already"):
        get(row)
    assert served.asked == []


def test_what_arrived_can_be_thrown_away(served: Served, row: DataSet, archive: bytes) -> None:
    served.give(Answer(body=archive, cut=1000), Answer(status=403))
    with pytest.raises(NetworkError):
        get(row)

    download.remove_partial(row)

    assert there() == set()


def test_a_full_disk_ends_it_at_once(
    served: Served, row: DataSet, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.give(Answer(body=archive))
    usage = shutil.disk_usage(paths.home())
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))

    with pytest.raises(Exception, match="not enough space"):
        get(row)
    assert len(served.asked) == 1
