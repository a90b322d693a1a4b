"""Write what this version keeps on disk as fixtures of its formats, for all later versions to read.

Run: python -m tests.faults.formats.make FOLDER     (once for every new format; what is there stays as it is)
"""

import datetime
import sys
from pathlib import Path

import msgspec
import torch
from torch import nn

from lungcli.batch import job_manifest
from lungcli.core import recipe as recipes
from lungcli.core import runs
from lungcli.core.events import BatchDone, CheckpointWritten, EpochDone, Event, RunDone, RunStarted, StageStarted
from lungcli.datasets import manifest, split_files
from lungcli.datasets.manifest import Slice, Source
from lungcli.metrics.intervals import Estimate
from lungcli.modelfile import model_card, model_file
from lungcli.search import space, studies, trials
from lungcli.search.trials import TrialMetrics
from lungcli.training import checkpoint
from lungcli.training.checkpoint import Position
from tests.modelfile import graphs

THEN = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


def happened() -> tuple[Event, ...]:
    """A few events of a run."""
    return (
        RunStarted(time=THEN, stages=("train", "evaluate")),
        StageStarted(time=THEN, stage="train", about="train ownmodel on phantom", epochs=1),
        BatchDone(
            time=THEN, stage="train", epoch=1, batch=1, batches=1, loss=1.5, learning_rate=0.001, images_per_second=9.5
        ),
        EpochDone(
            time=THEN,
            stage="train",
            epoch=1,
            epochs=1,
            loss=1.5,
            validation_loss=1.25,
            balanced_accuracy=0.5,
            sensitivity=None,
            learning_rate=0.0,
            images_per_second=9.5,
            best=True,
        ),
        CheckpointWritten(time=THEN, stage="train", epoch=1, batch=0),
        RunDone(time=THEN),
    )


def net() -> nn.Linear:
    """A net of six weights, the same each time."""
    torch.manual_seed(0)
    return nn.Linear(2, 2)


def data() -> manifest.Manifest:
    """Ten slices of two classes that exist nowhere."""
    slices = tuple(
        Slice(path=f"slices/{label}/{i}.png", label=label, sha256=f"{i:064x}", size=(512, 512), group=i)
        for label in ("benign", "normal")
        for i in range(10)
    )
    return manifest.build("old", slices, (), Source(about="of a version that was", licence="CC0"))


def archived() -> job_manifest.JobManifest:
    """A job over an archive that exists nowhere."""
    return job_manifest.JobManifest(
        lungcli="0.1.0",
        disclaimer="of a version that was",
        model="bundled",
        model_sha256="a" * 64,
        archive_sha256="b" * 64,
        shard_size=1000,
        force=False,
        include_phi=True,
        listing_sha256="c" * 64,
        files=3,
        shards=1,
    )


def searched() -> tuple[space.StudyPlan, TrialMetrics]:
    """What a study was after, and what its one trial came to."""
    axes: dict[str, tuple[space.Value, ...] | space.Range]
    axes = {"model": ("ownmodel",), "bits": (8, 32), "learning_rate": space.Range(low=1e-4, high=1e-2, log=True)}
    after = space.StudyPlan(
        axes=axes, settings={"data": "old", "teacher": ["resnet18"]}, split="d", seed=3, max_bytes=9000
    )
    right = Estimate(value=0.5, low=0.25, high=0.75)
    return after, TrialMetrics(bytes=8000, p50=1.5, balanced_accuracy=right, n=12, groups=5)


def study(to: Path) -> None:
    """Keep that study in a journal file."""
    after, figures = searched()
    made = studies.create_or_open("old", str(to), after)
    with studies.storage_errors(str(to)):
        made.sampler = trials.sampler(made, after, 1)
        trial = made.ask()
        trials.draw_values(trial, after, 1)
        trials.note_run(trial, "old-0000")
        made.tell(trial, trials.note_metrics(trial, figures, after))


def main() -> None:
    """Write every fixture."""
    folder = Path(sys.argv[1])
    run = folder / f"run-{runs.FORMAT_VERSION}"
    run.mkdir(parents=True)
    info = runs.RunInfo(kind="train", state="done", created=THEN, changed=THEN)
    (run / "run.json").write_bytes(msgspec.json.format(msgspec.json.encode(info), indent=1))
    recipes.save(recipes.make(data="phantom", model="ownmodel", epochs=1, seed=7), run / "recipe.toml")
    (run / "events.jsonl").write_bytes(b"".join(msgspec.json.encode(event) + b"\n" for event in happened()))
    layer, average = net(), net()
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    position = Position(recipe="digest", epoch=2, batch=3, loss=0.5, best=(0.75, -0.5), best_epoch=2)
    path = folder / f"checkpoint-{checkpoint.FORMAT_VERSION}.safetensors"
    checkpoint.save(path, position, layer, average, optimizer)
    (folder / f"manifest-{manifest.FORMAT_VERSION}").mkdir()
    manifest.save(data(), folder / f"manifest-{manifest.FORMAT_VERSION}")
    divided = split_files.build(data(), seed=3)
    path = folder / f"split-{split_files.FORMAT_VERSION}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(divided), indent=1))
    job = folder / f"archive-{job_manifest.FORMAT_VERSION}"
    job.mkdir()
    (job / job_manifest.MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(archived()), indent=2))
    study(folder / f"study-{space.FORMAT_VERSION}.journal")
    graphs.nodules(folder / "net")
    model_file.write(
        folder / "net", graphs.card(size=128, temperature=1.5), folder / f"model-{model_card.FORMAT_VERSION}.onnx"
    )
    (folder / "net").unlink()


if __name__ == "__main__":
    main()
