"""Every parser of foreign bytes: what it is given, and how. Each returns a value or raises a LungcliError."""

import contextlib
import functools
import gzip
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec
import nibabel
import numpy as np
from PIL import Image
from pydicom.uid import JPEGLosslessSV1, JPEGLSLossless

from lungcli.core import names, package_data, registry, run_trash, runs, versioned
from lungcli.core import recipe as recipes
from lungcli.core.errors import LungcliError
from lungcli.core.recipe import Recipe
from lungcli.datasets import manifest, split_files, splits
from lungcli.datasets.download import http, mirrors, resumable
from lungcli.datasets.ingest import label_table, safe_zip
from lungcli.evaluation import evaluate
from lungcli.imaging import dicom, volumes
from lungcli.imaging.image_io import read
from lungcli.modelfile import model_card, model_file, onnx_wire
from lungcli.predict import inputs
from lungcli.tui.runs import event_reader
from tests.imaging import dicoms, pictures
from tests.modelfile import graphs

Parse = Callable[[bytes, Path], object]
Seeds = Callable[[], tuple[bytes, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A parser: `parse(content, folder)` may use the folder, which is empty; `seeds` makes whole files.

    `needs` names the package of an extra without which there is nothing to parse for.
    """

    parse: Parse
    seeds: Seeds
    needs: str = ""


def _picture(content: bytes, _folder: Path) -> None:
    with warnings.catch_warnings():
        # Pillow warns of damaged tags; the command line does not pass that on.
        warnings.simplefilter("ignore")
        found = read(content, "x.png")
    assert np.isfinite(found.grey).all()
    assert 0 <= found.grey.min() <= found.grey.max() <= 1


def _pictures() -> tuple[bytes, ...]:
    grey, deep = pictures.noise(1), (pictures.noise(2).astype(np.uint16) << 8) + 3
    colour = np.stack([grey, grey, 255 - grey], axis=2)
    made = [pictures.encoded(grey, kind) for kind in ("PNG", "JPEG", "TIFF", "BMP")]
    made += [pictures.encoded(deep, kind) for kind in ("PNG", "TIFF")]
    made += [pictures.encoded(colour, kind) for kind in ("PNG", "JPEG", "TIFF", "BMP")]
    made += [pictures.encoded(grey, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "packbits")]
    made += [pictures.encoded(grey, "JPEG", progressive=True), pictures.encoded(grey > 99, "PNG")]
    palette = Image.fromarray(colour).quantize(16)
    return (*made, pictures.encoded(np.asarray(palette), "PNG"))


def _volume(content: bytes, _folder: Path, name: str = "x.nii") -> None:
    volume = volumes.opened(content, name, "x")
    for number in range(min(volume.slices, 3)):
        assert np.isfinite(volumes.read_slice(volume, number, "x").grey).all()


def _volumes() -> tuple[bytes, ...]:
    from tests.imaging import test_volumes

    whole = test_volumes.encoded()
    return whole, gzip.compress(whole), test_volumes.encoded(kind=nibabel.Nifti2Image)


def _itk_volumes() -> tuple[bytes, ...]:
    from tests.imaging import test_volumes

    return test_volumes.meta_image(), test_volumes.nrrd()


def _itk_volume(content: bytes, folder: Path) -> None:
    _volume(content, folder, "x.nrrd" if content.startswith(b"NRRD") else "x.mha")


def _dicom(content: bytes, folder: Path) -> None:
    assert dicom.header(content).frames is not None
    file = folder / "x.dcm"
    file.write_bytes(content)
    assert dicom.header(file).frames is not None
    opened = dicom.opened(content, "x")
    for place in dicom.places(opened):
        assert len(place) == 2
    grey = dicom.read_frame(opened, 0, "x").grey
    assert 0 <= grey.min() <= grey.max() <= 1


def _dicoms() -> tuple[bytes, ...]:
    from tests.imaging import test_dicom

    return (*test_dicom.WHOLE, *map(test_dicom.transcoded, (JPEGLosslessSV1, JPEGLSLossless)))


def _zip(content: bytes, folder: Path) -> None:
    file = folder / "x.zip"
    file.write_bytes(content)
    with contextlib.suppress(LungcliError), safe_zip.open_zip(file) as archive:
        for member in safe_zip.checked_members(archive)[:20]:
            with contextlib.suppress(LungcliError):
                safe_zip.read_member(archive, member)
    for item in inputs.items([str(file)], inputs.Naming()):
        if callable(item.source):
            with contextlib.suppress(LungcliError):
                item.source()


def _zips() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as folder:
        files = {"a/benign/1.png": pictures.png(1), "a/normal/ä 2.png": pictures.png(2), "x.dcm": dicoms.dicom()}
        return (
            pictures.zipped(Path(folder) / "a.zip", files).read_bytes(),
            pictures.zipped(Path(folder) / "b.zip", {"1.png": b"", "2.txt": b"text" * 99}).read_bytes(),
        )


DESCRIBED = pictures.described([("benign", 3), ("benign", 2), ("benign", 2), *[("normal", 2)] * 4])


def _manifest(content: bytes, folder: Path) -> None:
    file = folder / "set" / manifest.FILE
    file.parent.mkdir()
    file.write_bytes(content)
    found = manifest.read(file)
    assert len(found.labels()) == len(found.slices)
    for item in found.slices:
        assert (file.parent / item.path).resolve().is_relative_to(file.parent.resolve())
    splits.make_split(found, "grouped", 0)


def _manifests() -> tuple[bytes, ...]:
    return (msgspec.json.encode(DESCRIBED), msgspec.json.format(msgspec.json.encode(DESCRIBED), indent=1))


def _split(content: bytes, folder: Path) -> None:
    file = folder / "x.json"
    file.write_bytes(content)
    split_files.splits_of(DESCRIBED, file)


def _splits() -> tuple[bytes, ...]:
    made = [split_files.build(DESCRIBED), split_files.build(DESCRIBED, "random", folds=3)]
    return tuple(map(msgspec.json.encode, made))


def _run(content: bytes, folder: Path) -> None:
    (folder / "run.json").write_bytes(content)
    (folder / "recipe.toml").write_bytes(_recipes()[0])
    (folder / run_trash.TAGS).write_bytes(content)
    (folder / "worker.json").write_bytes(content)
    run_trash.tags(folder)
    found = runs.read(folder)
    runs.state(found)
    runs.worker(found)


def _runs() -> tuple[bytes, ...]:
    made = runs.RunInfo(kind="compress", state="done", created=_WHEN, changed=_WHEN, teacher_run=("a", "b/student"))
    return (msgspec.json.encode(made), b'["tag", "other"]', msgspec.json.encode(runs.Worker(pid=1, host="here")))


def _events(content: bytes, folder: Path) -> None:
    (folder / "events.jsonl").write_bytes(content)
    for line in event_reader.read_on(folder / "events.jsonl", event_reader.Place()).lines:
        event_reader.decode(line)
    info = runs.RunInfo(kind="train", state="done", created=_WHEN, changed=_WHEN)
    list(runs.events(runs.Run(name="x", folder=folder, info=info, recipe=_RECIPE)))


def _event_files() -> tuple[bytes, ...]:
    from tests.core import test_runs

    return (b"".join(msgspec.json.encode(event) + b"\n" for event in test_runs.three_batches()),)


def _recipe(content: bytes, folder: Path) -> None:
    file = folder / "x.toml"
    file.write_bytes(content)
    with contextlib.suppress(LungcliError):
        recipes.as_toml(recipes.load(file))
    for _, made in package_data.load(str(file)).recipes():
        assert made


def _recipes() -> tuple[bytes, ...]:
    bundles = [path.read_bytes() for path in package_data.recipe_files().values()]
    return (recipes.as_toml(_RECIPE).encode(), *bundles)


def _labels(content: bytes, folder: Path) -> None:
    file = folder / "x.csv"
    file.write_bytes(content)
    found = label_table.read(file, [PurePosixPath("a/1.png"), PurePosixPath("b/ü 2.png"), PurePosixPath("c.png")])
    assert all(".." not in row.path.parts and not row.path.is_absolute() for row in found)


def _label_files() -> tuple[bytes, ...]:
    return (
        b"path,label,patient\na/1.png,benign,7\nb/\xc3\xbc 2.png,normal,8\n",
        b'\xef\xbb\xbfPath,Label\r\n"a/1.png",Malignant\r\nb\\\xc3\xbc 2.png,normal\r\n',
    )


def _card(content: bytes, _folder: Path) -> None:
    model_card.encode(model_card.decode(content.decode("utf-8", "replace"), "x"))


def _cards() -> tuple[bytes, ...]:
    real = model_file.read_card(Path(package_data.FOLDER) / "default.onnx")
    return (model_card.encode(graphs.card()).encode(), model_card.encode(real).encode())


def _model(content: bytes, folder: Path) -> None:
    with contextlib.suppress(ValueError):
        onnx_wire.summary(memoryview(content))
    file = folder / "x.onnx"
    file.write_bytes(content)
    model_file.read_card(file)
    model = model_file.load(file, threads=1)
    model.logits(graphs.slices(1, size=model.card.size))


@functools.cache
def _models() -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        graphs.model_file(folder / "a.onnx")
        graphs.convolutional(folder / "net")
        model_file.write(folder / "net", graphs.card(), folder / "b.onnx")
        graphs.nodules(folder / "net", size=32)
        model_file.write(folder / "net", graphs.card(size=32), folder / "c.onnx")
        return tuple((folder / f"{each}.onnx").read_bytes() for each in "abc")


def _verdicts(content: bytes, folder: Path) -> None:
    file = folder / "evaluation.json"
    file.write_bytes(content)
    evaluate.load(file)


def _verdict_files() -> tuple[bytes, ...]:
    from lungcli.metrics.predictions import Evaluation

    made = Evaluation(
        classes=graphs.CLASSES,
        part="test",
        protocol="grouped",
        split_digest="s",
        slices=("slices/benign/1.png", "slices/normal/2.png"),
        labels=(0, 2),
        groups=(0, 1),
        probabilities=((0.5, 0.25, 0.25), (0.1, 0.1, 0.8)),
    )
    return (msgspec.json.encode(made),)


def _headers(content: bytes, folder: Path) -> None:
    """Four lines: status, Content-Range, ETag, Retry-After; and all of it as a sidecar and as an address."""
    status, content_range, validator, again = (content.decode("utf-8", "replace").split("\n") + [""] * 4)[:4]
    kept = resumable.Sidecar(validator='"one"', size=100)
    number = int(status) if status.isascii() and status.isdigit() and len(status) < 5 else 206
    assert resumable.range_action(number, content_range, validator, 50, kept) in (
        "append",
        "start over",
        "complete",
        "drop",
    )
    wait = http.retry_after(again, 1e9)
    assert wait is None or wait >= 0
    http.redacted_url("https://example.org/" + again)
    (folder / "x.json").write_bytes(content)
    versioned.read_or(folder / "x.json", resumable.Sidecar, None)


def _header_lines() -> tuple[bytes, ...]:
    return (
        b'206\nbytes 50-99/100\n"one"\n120',
        b'416\nbytes */50\n"one"\nWed, 21 Oct 2015 07:28:00 GMT',
        b'{"validator": "\\"one\\"", "size": 100}',
    )


def _listing(content: bytes, _folder: Path) -> None:
    assert mirrors.is_http_url(mirrors.largest_zip(content).url)


def _listings() -> tuple[bytes, ...]:
    details = {"download_url": "https://example.org/a.zip", "sha256_hash": "ab" * 32}
    return (msgspec.json.encode([{"filename": "a.zip", "size": 9, "content_details": details}] * 2),)


def _name(content: bytes, _folder: Path) -> None:
    text = os.fsdecode(content)
    with contextlib.suppress(LungcliError):
        assert "/" not in names.checked(text, "run")
    names.natural(text)
    names.find(text, registry.NETS, "net")


def _names() -> tuple[bytes, ...]:
    return (b"mobilenet_v2", b"My run (2)", "Läufe 3".encode())


def _page(content: bytes, folder: Path) -> None:
    from tests.fuzz import page

    page.parse(content, folder)


def _requests() -> tuple[bytes, ...]:
    from tests.fuzz import page

    return page.seeds()


_WHEN = graphs.card().created
_RECIPE = Recipe(data="phantom", model="resnet18")

TARGETS: Mapping[str, Target] = {
    "picture": Target(parse=_picture, seeds=_pictures),
    "dicom": Target(parse=_dicom, seeds=_dicoms),
    "volume": Target(parse=_volume, seeds=_volumes),
    "itk": Target(parse=_itk_volume, seeds=_itk_volumes, needs="SimpleITK"),
    "zip": Target(parse=_zip, seeds=_zips),
    "manifest": Target(parse=_manifest, seeds=_manifests),
    "split": Target(parse=_split, seeds=_splits),
    "run": Target(parse=_run, seeds=_runs),
    "events": Target(parse=_events, seeds=_event_files),
    "recipe": Target(parse=_recipe, seeds=_recipes),
    "labels": Target(parse=_labels, seeds=_label_files),
    "card": Target(parse=_card, seeds=_cards),
    "model": Target(parse=_model, seeds=_models),
    "verdicts": Target(parse=_verdicts, seeds=_verdict_files),
    "headers": Target(parse=_headers, seeds=_header_lines),
    "listing": Target(parse=_listing, seeds=_listings),
    "name": Target(parse=_name, seeds=_names),
    "page": Target(parse=_page, seeds=_requests, needs="gradio"),
}
