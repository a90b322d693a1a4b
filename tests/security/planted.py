"""A home full of names that mean harm: every foreign name in it would retitle, recolour or reorder a terminal."""

from pathlib import Path
from typing import Any

import msgspec

from lungcli.core import paths, recipe, run_trash, runs
from lungcli.core.events import EpochDone, RunFailed, RunStarted, StageDone, StageStarted
from lungcli.datasets import manifest
from lungcli.datasets.manifest import Rejected, Slice, Source
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_card, model_file
from lungcli.modelfile.model_paths import MODEL
from tests.imaging import dicoms, pictures
from tests.modelfile import graphs

# Sets the title, rings, recolours (ESC and C1), clears the screen, looks like Rich's markup, and writes backwards.
NASTY = "\x1b]0;owned\x07[red]\x9b31m\x1b[2J\u202egnp"
CLASSES = (f"benign{NASTY}", "malignant", "normal")
RUN, DATA = f"run{NASTY}", f"set{NASTY}"


def plant(pictures_folder: Path) -> Path:
    """Fill the home (as set by LUNGCLI_HOME) with a run and a data set, and a folder with pictures to be judged."""
    _run(_data_set())
    return _pictures(pictures_folder)


def _data_set() -> manifest.Manifest:
    folder = paths.data_home() / DATA
    slices = []
    for index, label in enumerate(CLASSES):
        for number in range(6):
            path = f"slices/{index}/{number}.png"
            content = pictures.png(10 * index + number)
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
            slices.append(
                Slice(
                    path=path,
                    label=label,
                    sha256=_sha256(content),
                    size=(48, 48),
                    group=10 * index + number // 2,
                    patient=f"patient{NASTY}{index}{number // 2}",
                )
            )
    source = Source(about=f"about{NASTY}", licence=f"licence{NASTY}", citation=f"cite{NASTY}", doi=f"doi{NASTY}")
    manifest_ = manifest.build(DATA, tuple(slices), (Rejected(path=f"bad{NASTY}", reason=f"why{NASTY}"),), source)
    manifest.save(manifest_, folder)
    return manifest_


def _sha256(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


def _card() -> model_card.ModelCard:
    # Its names are refused where they are no line of text: see `test_model_card`.
    card = graphs.card()
    data = msgspec.structs.replace(card.data, licence=f"licence{NASTY}", citation=f"cite{NASTY}")
    split = msgspec.structs.replace(card.split, protocol=f"grouped{NASTY}")
    return msgspec.structs.replace(card, data=data, split=split, versions={f"lib{NASTY}": f"1{NASTY}"})


def _run(made: manifest.Manifest) -> None:
    folder = paths.runs_home() / RUN
    stage = folder / "train"
    stage.mkdir(parents=True)
    graphs.brightness(folder / "net")
    model_file.write(folder / "net", _card(), stage / MODEL)
    (folder / "net").unlink()
    when = _card().created
    info = runs.RunInfo(kind="train", state="failed", created=when, changed=when, cpu=f"cpu{NASTY}")
    (folder / "run.json").write_bytes(msgspec.json.encode(info))
    wanted = recipe.Recipe(data=DATA, model=f"net{NASTY}", teacher=f"teacher{NASTY}", size=graphs.SIZE)
    recipe.save(wanted, folder / "recipe.toml")
    (folder / run_trash.TAGS).write_bytes(msgspec.json.encode([f"tag{NASTY}"]))
    (folder / "notes.txt").write_text(f"note{NASTY}")
    (folder / "notes.md").write_text(f"note{NASTY}")
    name = f"train{NASTY}"
    epoch = EpochDone(
        time=when,
        stage=name,
        epoch=1,
        epochs=2,
        loss=1.0,
        validation_loss=1.0,
        balanced_accuracy=0.5,
        sensitivity=0.5,
        learning_rate=0.1,
        images_per_second=9.0,
        best=True,
    )
    happened = (
        RunStarted(time=when, stages=(name,)),
        StageStarted(time=when, stage=name, about=f"about{NASTY}", epochs=2),
        epoch,
        StageDone(time=when, stage=name, about=f"about{NASTY}"),
        RunFailed(time=when, error=f"error{NASTY}"),
    )
    (folder / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in happened))
    evaluation = Evaluation(
        classes=CLASSES,
        part="test",
        protocol=f"grouped{NASTY}",
        split_digest="s",
        slices=tuple(f"{item.path}{NASTY}" for item in made.slices),
        labels=made.labels(),
        groups=tuple(item.group for item in made.slices),
        probabilities=tuple((0.2, 0.5, 0.3) for _ in made.slices),
    )
    (stage / "evaluation.json").write_bytes(msgspec.json.encode(evaluation))


def _pictures(folder: Path) -> Path:
    inner = folder / f"folder{NASTY}"
    inner.mkdir(parents=True)
    slice_ = pictures.encoded(pictures.noise(3, 256, 256))
    (inner / f"slice{NASTY}.png").write_bytes(slice_)
    (inner / f"text{NASTY}.png").write_text(f"no picture{NASTY}")
    (inner / f"none{NASTY}").write_text("x")
    tags: dict[str, Any] = {
        "PatientName": f"Muster{NASTY}".replace("\\", ""),
        "PatientID": f"4711{NASTY}",
        "SeriesInstanceUID": "1.2.3",
        "SeriesDescription": f"series{NASTY}",
        "StudyDescription": f"study{NASTY}",
    }
    (inner / f"slice{NASTY}.dcm").write_bytes(dicoms.dicom(SpecificCharacterSet="ISO_IR 192", **tags))
    (inner / f"cut{NASTY}.dcm").write_bytes(dicoms.dicom(SpecificCharacterSet="ISO_IR 192", **tags)[:700])
    pictures.zipped(inner / f"zip{NASTY}.zip", {f"a{NASTY}/b{NASTY}.png": slice_, f"c{NASTY}.png": b"text"})
    pictures.zipped(inner / f"evil{NASTY}.zip", {f"../a{NASTY}.png": slice_})
    return folder
