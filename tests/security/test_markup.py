"""Foreign texts on the page: a model's own, names of files and what a DICOM header says are shown, and never markup."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lungcli.core.recipe import Recipe
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import ModelCard
from lungcli.web import html, results, slice_worker
from lungcli.web.slice_worker import Upload
from tests.imaging import dicoms
from tests.modelfile import graphs

MARKUP = "<script>alert(1)</script><img src=x onerror='alert(1)'>\"><svg/onload=alert(1)>&lt;b&gt;"
Mark = Callable[[str], str]


class Structure(HTMLParser):
    """The elements of a page, each with the names of its attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, ...]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def marked_card(mark: Mark) -> ModelCard:
    """A card whose every text is foreign."""
    classes = tuple(map(mark, ("benign", "malignant", "normal")))
    plain = graphs.card(classes=classes)
    return msgspec.structs.replace(
        plain,
        model=mark("tiny"),
        stage=mark("student"),
        teacher=mark("resnet18"),
        data=msgspec.structs.replace(plain.data, name=mark("set"), licence=mark("CC0"), citation=mark("by them")),
        recipe=Recipe(data=mark("set"), model=mark("tiny"), size=graphs.SIZE, positive_class=classes[1]),
    )


def page(mark: Mark, folder: Path) -> Structure:
    """All that the page says of a DICOM slice, one of another body part, one that is damaged, and of the model."""
    model_file.write(graphs.brightness(folder / "net"), marked_card(mark), folder / "m.onnx")
    model = model_file.load(folder / "m.onnx", threads=1)
    header: dict[str, Any] = {
        "PatientName": mark("A"),
        "SeriesDescription": mark("lung"),
        "StudyDescription": mark("chest"),
        "Manufacturer": mark("maker"),
        "SeriesInstanceUID": "1.2.3",
    }
    uploads = {
        "a.dcm": dicoms.dicom(**header),
        "b.dcm": dicoms.dicom(**header | {"SeriesDescription": mark("knee"), "BodyPartExamined": "KNEE"}),
        "c.dcm": dicoms.dicom(**header, PhotometricInterpretation=mark("GREY")[:16]),
        "d.png": b"no picture",
    }
    shown = [slice_worker.predict(Upload(name=mark(name), content=content), model) for name, content in uploads.items()]
    name = mark("run/int8")
    parts = [results.shown(shown, model.card, name), *(results.shown([each], model.card, name) for each in shown)]
    parts += [html.model_line(model.card, name), html.model_card(model.card, name)]
    parts += [html.error_message(mark("it failed"), mark("try again")), html.unseen(mark("x"))]
    return Structure("".join(parts))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_foreign_text_becomes_markup(tmp_path: Path) -> None:
    harmless, hostile = page(lambda text: text, tmp_path), page(lambda text: text + MARKUP, tmp_path)
    assert hostile.elements == harmless.elements
    assert len(harmless.elements) > 100
    for words in ("benign", "a.dcm", "d.png", "set", "CC0", "run/int8", "it failed"):
        assert words + MARKUP in hostile.text, words
