"""The page: whole, alone, readable aloud, and safe against what files are called."""

import html.parser
from pathlib import Path

import msgspec
import pytest

from lungcli.datasets import manifest
from lungcli.datasets.audit import features, html_report
from lungcli.datasets.audit.audit import Audit, audit
from lungcli.datasets.ingest.ingest import IncomingFile, write_dataset
from lungcli.datasets.manifest import Manifest, Source
from tests.imaging.pictures import png

EVIL = "<script>alert(1)</script>"


class Reader(html.parser.HTMLParser):
    """Notes every tag with its attributes, and that all are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in ("meta", "img", "br", "!doctype"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def made() -> Manifest:
    files = [IncomingFile(label="ab"[i // 8], filename=f"{i}.png", content=png(i % 11)) for i in range(16)]
    return write_dataset("some", files, Source(about=f"made up {EVIL}"), ordered=False)


def page(of: Manifest, found: Audit) -> tuple[str, Reader]:
    text = html_report.render_html(found, of, manifest.folder("some"))
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    return text, reader


@pytest.fixture
def audited() -> tuple[Manifest, Audit]:
    of = made()
    return of, audit(of, features.dataset_features(of, manifest.folder("some"), 64))


def test_the_page_stands_alone(audited: tuple[Manifest, Audit]) -> None:
    text, reader = page(*audited)

    assert ("html", {"lang": "en"}) in reader.tags
    assert "default-src 'none'" in text
    assert "prefers-color-scheme: dark" in text
    for tag, attributes in reader.tags:
        assert tag not in ("script", "link", "iframe", "object")
        assert all(value.startswith("data:image/") for name, value in attributes.items() if name in ("src", "href"))
    assert "http:" not in text
    assert "https:" not in text


def test_it_shows_findings_figures_and_pictures(audited: tuple[Manifest, Audit]) -> None:
    text, reader = page(*audited)

    ids = [attributes["id"] for tag, attributes in reader.tags if tag == "article"]
    assert ids == [item.id for item in audited[1].findings]
    assert "conflict.copies" in ids
    pictures = [attributes for tag, attributes in reader.tags if tag == "img"]
    # Five pairs across the classes, and the five near-duplicate groups they make.
    assert len(pictures) == 20
    assert all(item["alt"].startswith(("a slice ", "b slice ")) for item in pictures)
    leak = audited[1].nearest_neighbour
    assert leak is not None
    assert f"{leak.grouped_accuracy:.1%}" in text
    assert "Near-duplicate groups are not patients." in text


def test_names_are_text(audited: tuple[Manifest, Audit]) -> None:
    of, found = audited
    nasty = msgspec.structs.replace(
        found,
        name=EVIL,
        findings=tuple(msgspec.structs.replace(item, title=EVIL, examples=(EVIL,)) for item in found.findings),
        conflicts=tuple(
            msgspec.structs.replace(item, paths=(EVIL, '"><img src=x>'), labels=(EVIL, "b")) for item in found.conflicts
        ),
    )

    text, reader = page(of, nasty)

    assert "<script" not in text
    assert all(attributes["src"].startswith("data:") for tag, attributes in reader.tags if tag == "img")


def test_long_lists_are_cut(audited: tuple[Manifest, Audit], tmp_path: Path) -> None:
    of, found = audited
    first = msgspec.structs.replace(found.findings[0], examples=tuple(f"file {i}" for i in range(30)))

    text, _ = page(of, msgspec.structs.replace(found, findings=(first,), conflicts=found.conflicts * 9))

    assert "and 18 more" in text
    assert "The first 40 of 45." in text


def test_without_a_neighbour_or_a_split(audited: tuple[Manifest, Audit]) -> None:
    of, found = audited
    bare = msgspec.structs.replace(
        found,
        nearest_neighbour=None,
        groupings=tuple(msgspec.structs.replace(item, crossing=()) for item in found.groupings),
        conflicts=(),
    )

    text, _ = page(of, bare)

    assert "What memory alone achieves" not in text
    assert "<td>–</td>" in text
