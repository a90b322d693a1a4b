"""What earlier versions wrote is read, what later ones wrote is refused by its version, and a run may travel."""

import json
import shutil
import signal
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import onnx
import pytest
import torch
from safetensors.numpy import load_file, save_file

from lungcli.batch import filesystem, job_manifest
from lungcli.core import recipe as recipes
from lungcli.core import run_trash, runs
from lungcli.core.errors import LungcliError, ModelFileError, UnreadableInputError, UsageError
from lungcli.core.events import EpochDone, Event
from lungcli.datasets import manifest, split_files
from lungcli.evaluation import evaluate
from lungcli.modelfile import model_file
from lungcli.search import studies, trials
from lungcli.training import checkpoint
from tests.faults.commands import TINY, Call, figures, finished, grows, results, started, wait_until
from tests.faults.conftest import RUN
from tests.faults.formats.make import archived, data, happened, net, searched

FORMATS = Path(__file__).with_name("formats")
EARLIER = FORMATS / "home-0.1.0"
"""What version 0.1.0 left of a compression, a search and a folder of predictions, made from phantoms"""


@pytest.mark.parametrize("version", range(1, runs.FORMAT_VERSION + 1))
def test_runs_of_every_version_are_read(version: int) -> None:
    run = runs.read(FORMATS / f"run-{version}")
    assert (run.info.format_version, run.info.state, run.info.kind) == (version, "done", "train")
    assert (run.recipe.model, run.recipe.seed, run.recipe.epochs) == ("ownmodel", 7, 1)
    assert tuple(runs.events(run)) == happened()


def test_a_run_of_an_earlier_version_becomes_one_of_this_version_when_it_goes_on(tmp_path: Path) -> None:
    shutil.copytree(FORMATS / "run-1", tmp_path / "run-1")
    run = runs.read(tmp_path / "run-1")
    list(runs.record(run, (event for event in happened())))
    assert runs.read(run.folder).info.format_version == runs.FORMAT_VERSION
    recorded = (_without_load(event) for event in runs.events(run))
    assert list(recorded) == [_without_load(event) for event in happened() * 2]


def _without_load(event: Event) -> Event:
    return msgspec.structs.replace(event, load=None, memory=None) if isinstance(event, EpochDone) else event


@pytest.mark.parametrize("version", range(1, checkpoint.FORMAT_VERSION + 1))
def test_checkpoints_of_every_version_are_resumed(version: int) -> None:
    layer, average = net(), net()
    optimizer = torch.optim.AdamW(layer.parameters())
    path = FORMATS / f"checkpoint-{version}.safetensors"
    position = checkpoint.restore(path, "digest", layer, average, optimizer)
    assert (position.epoch, position.batch, position.loss, position.best, position.best_epoch) == (
        2,
        3,
        0.5,
        (0.75, -0.5),
        2,
    )
    assert (position.halvings, position.micro_batch, position.setbacks) == (0, 0, 0)
    assert len(optimizer.state_dict()["state"]) == 2
    assert not torch.equal(layer.weight, average.weight)


def test_a_checkpoint_of_version_1_belongs_to_its_recipe_still() -> None:
    layer, average = net(), net()
    optimizer = torch.optim.AdamW(layer.parameters())
    path = FORMATS / "checkpoint-1.safetensors"
    assert checkpoint.restore(path, "new", layer, average, optimizer, digest_format_1="digest").recipe == "new"
    with pytest.raises(LungcliError, match="belongs to another recipe"):
        checkpoint.restore(path, "new", layer, average, optimizer, digest_format_1="other")


def test_manifests_and_splits_of_every_version_are_read() -> None:
    assert manifest.read(FORMATS / "manifest-1" / "manifest.json") == data()
    path = FORMATS / "split-1.json"
    assert split_files.read(path) == split_files.build(data(), seed=3)
    assert len(split_files.splits_of(data(), path)) == 1


def test_a_model_of_an_earlier_preparation_never_meets_other_pixels() -> None:
    with pytest.raises(ModelFileError, match="slices of preparation 2; this lungcli makes preparation 3") as caught:
        model_file.load(FORMATS / "model-1.onnx")
    assert caught.value.hint == "train the model again"


def test_archives_and_studies_of_every_version_are_resumed(tmp_path: Path) -> None:
    shutil.copytree(FORMATS / "archive-1", tmp_path / "archive")
    job_manifest.write_checked(archived(), filesystem.open_location(str(tmp_path / "archive")))
    journal = shutil.copy(FORMATS / "study-1.journal", tmp_path)
    after, figures = searched()
    study, found = studies.find("old", str(journal))
    assert msgspec.to_builtins(found) == msgspec.to_builtins(after)
    (trial,) = trials.outcomes(study, found)
    assert (trial.trial, trial.state, trial.run, trial.within_limits) == (0, "complete", "old-0000", True)
    assert (trial.drawn["model"], set(trial.drawn)) == ("ownmodel", {"model", "bits", "learning_rate"})
    assert (trial.bytes, trial.p50, trial.balanced_accuracy) == (8000, 1.5, figures.balanced_accuracy)
    assert studies.create_or_open("old", str(journal), after).study_name == "old"


FORMER_NAMES = {"'seed'": "'kd-mean'"}


def values(document: object) -> "Counter[str]":
    """Every value in a JSON document, by whatever name and however deep."""
    if isinstance(document, dict | list):
        inner: Iterable[object] = document.values() if isinstance(document, dict) else document
        return sum(map(values, inner), Counter())
    return Counter([repr(document)])


def nothing_is_lost(written: str | bytes, read: object) -> bool:
    """Say whether what was read has every value that was written; fields and methods may have other names by now."""
    before, after = (
        Counter(FORMER_NAMES.get(value, value) for value in values(json.loads(document)).elements())
        for document in (written, msgspec.json.encode(read))
    )
    return not before - after


@pytest.fixture
def earlier(home: Path) -> Path:
    """A home as version 0.1.0 left it."""
    shutil.copytree(EARLIER, home, dirs_exist_ok=True)
    return home


def test_a_run_of_an_earlier_release_opens(earlier: Path) -> None:
    run = runs.load("small")
    assert (run.info.kind, run.info.state, run.info.teacher_run) == ("compress", "done", "old")
    assert (run.recipe.model, run.recipe.prune, run.recipe.temperature) == ("ownmodel", 0.9, 20.0)
    assert run_trash.tags(run.folder) == ("paper", "old")
    assert nothing_is_lost((run.folder / "run.json").read_bytes(), run.info)
    lines, read = run.events.read_bytes().splitlines(), tuple(runs.events(run))
    assert len(read) == len(lines) == 32
    assert all(nothing_is_lost(*pair) for pair in zip(lines, read, strict=True))
    evaluation = run.stage("int8") / "evaluation.json"
    assert nothing_is_lost(evaluation.read_bytes(), evaluate.load(evaluation))


def test_a_recipe_of_an_earlier_release_opens(earlier: Path) -> None:
    path = earlier / "runs" / "small" / "recipe.toml"
    recipe = recipes.load(path)
    assert nothing_is_lost(json.dumps(tomllib.loads(path.read_text())), recipe)
    assert (recipe.method, recipe.alpha, recipe.label_smoothing, recipe.split) == ("kd-mean", 0.8, 0.0, "mine")


def test_a_model_file_of_another_preparation_is_refused(earlier: Path) -> None:
    """It would meet pixels that it was not trained on."""
    with pytest.raises(ModelFileError, match="slices of preparation 2; this lungcli makes preparation 3"):
        model_file.read_card(earlier / "runs" / "small" / "int8" / "model.onnx")


def test_a_data_set_and_its_split_of_an_earlier_release_open(earlier: Path) -> None:
    phantom = manifest.load("phantom")
    assert (len(phantom.slices), phantom.classes) == (36, ("benign", "malignant", "normal"))
    assert nothing_is_lost((earlier / "data" / "phantom" / "manifest.json").read_bytes(), phantom)
    path = split_files.find(phantom, "mine")
    (split,) = split_files.splits_of(phantom, path)
    assert (len(split.train), len(split.val), len(split.test)) == (15, 11, 10)
    assert split.digest == runs.load("small").info.split
    assert nothing_is_lost(path.read_bytes(), split_files.read(path))


def test_a_study_of_an_earlier_release_opens(earlier: Path) -> None:
    study, found = studies.find("old", studies.storage_of("old", ""))
    assert nothing_is_lost(json.dumps(study.user_attrs["plan"]), found)
    first, second = trials.outcomes(study, found)
    assert (first.state, first.run, second.run) == ("complete", "old-0000", "old-0001")
    assert first.drawn["method"] == "kd"
    assert first.balanced_accuracy
    assert (first.n, first.groups, first.balanced_accuracy.high) == (11, 3, 1.0)


def test_an_output_folder_of_an_earlier_release_opens(earlier: Path) -> None:
    output = filesystem.open_location(str(earlier / "output"))
    written = (earlier / "output" / job_manifest.MANIFEST).read_bytes()
    again = msgspec.json.decode(written, type=job_manifest.JobManifest)
    job_manifest.write_checked(again, output)
    assert nothing_is_lost(written, again)
    with pytest.raises(UsageError, match="not bundled"):
        job_manifest.write_checked(archived(), output)


def newer(content: str) -> str:
    """The same, of a version to come that can say what this one does not know."""
    found = json.loads(content)
    found |= {"format_version": 99, "kind": "unheard-of", "protocol": "unheard-of", "precision": "unheard-of"}
    return json.dumps({**found, "classes": 7})


def test_files_of_a_newer_version_are_refused_by_its_version(tmp_path: Path) -> None:
    shutil.copytree(FORMATS, tmp_path / "f")
    here = tmp_path / "f"
    for path in (here / "run-2" / "run.json", here / "manifest-1" / "manifest.json", here / "split-1.json"):
        path.write_text(newer(path.read_text()))
    with pytest.raises(LungcliError, match="format 99; this lungcli reads up to 2") as caught:
        runs.read(here / "run-2")
    assert "upgrade lungcli" in caught.value.hint
    with pytest.raises(UnreadableInputError, match="format 99; this lungcli reads up to 1"):
        manifest.read(here / "manifest-1" / "manifest.json")
    with pytest.raises(UnreadableInputError, match="format 99; this lungcli reads up to 2"):
        split_files.read(here / "split-1.json")
    job = here / "archive-1" / job_manifest.MANIFEST
    job.write_text(newer(job.read_text()))
    with pytest.raises(LungcliError, match="format 99; this lungcli reads up to 1"):
        job_manifest.write_checked(archived(), filesystem.open_location(str(job.parent)))
    journal = here / "study-1.journal"
    journal.write_text(journal.read_text().replace('"format_version":1', '"format_version":99,"kind":"unheard-of"'))
    for opened in (
        lambda: studies.find("old", str(journal)),
        lambda: studies.create_or_open("old", str(journal), searched()[0]),
    ):
        with pytest.raises(LungcliError, match="format 99; this lungcli reads up to 1"):
            opened()
    model = onnx.load(here / "model-1.onnx")
    model.metadata_props[0].value = newer(model.metadata_props[0].value)
    onnx.save(model, here / "model-1.onnx")
    with pytest.raises(ModelFileError, match="format 99; this lungcli reads up to 2"):
        model_file.read_card(here / "model-1.onnx")
    saved = here / "checkpoint-2.safetensors"
    save_file(load_file(saved), saved, metadata={"position": '{"format_version": 99, "epoch": "third"}'})
    layer = net()
    with pytest.raises(LungcliError, match="format 99; this lungcli reads up to 2"):
        checkpoint.restore(saved, "digest", layer, layer, torch.optim.AdamW(layer.parameters()))
    save_file(load_file(saved), saved, metadata={"position": '{"epoch": "third"}'})
    with pytest.raises(LungcliError, match="is damaged"):
        checkpoint.restore(saved, "digest", layer, layer, torch.optim.AdamW(layer.parameters()))


def test_files_of_a_newer_version_are_refused_by_the_command(made: Path) -> None:
    path = made / "runs" / RUN / "run.json"
    path.write_text(newer(path.read_text()))
    for words in (("runs", "show", RUN), ("runs", "resume", RUN)):
        said = finished(Call(home=made, arguments=words), 1)[1]
        assert f"error: the run '{RUN}' has format 99; this lungcli reads up to 2" in said
        assert "upgrade lungcli" in said
    assert "format 99" in finished(Call(home=made, arguments=("runs", "list")))[1]
    finished(Call(home=made, arguments=("runs", "remove", RUN, "--yes")))
    path = made / "data" / "phantom" / "manifest.json"
    path.write_text(newer(path.read_text()))
    assert "format 99" in finished(Call(home=made, arguments=("data", "show", "phantom")), 4)[1]


def test_a_recipe_is_known_by_what_it_decides(tmp_path: Path) -> None:
    """A later version's new field, at its default, leaves a checkpoint's recipe the same."""
    recipe = recipes.make(data="d", model="m", epochs=3, augment={"blur": 2.0})
    assert recipes.non_defaults(recipe) == {"data": "d", "model": "m", "epochs": 3, "augment": {"blur": 2.0}}
    assert recipes.non_defaults(msgspec.structs.replace(recipe, epochs=30)) != recipes.non_defaults(recipe)


@pytest.mark.long
def test_two_processes_cannot_work_on_one_run(made: Path) -> None:
    first = Call(home=made, arguments=("train", "--model", "ownmodel", "--name", "both", *TINY))
    with started(first) as process:
        wait_until(grows(made / "runs" / "both" / "events.jsonl"), process)
        # Held where it is, it cannot be over before the other has begun, however busy the machine.
        process.send_signal(signal.SIGSTOP)
        said = finished(first, 2)[1]
        assert "error: another process works on the run 'both'" in said
        said = finished(Call(home=made, arguments=("runs", "remove", "both", "--yes")), 2)[1]
        assert "is being worked on" in said
        assert process.poll() is None


@pytest.mark.long
def test_a_run_copied_from_another_machine_is_one_here(made: Path, tmp_path: Path) -> None:
    """Nothing in it says where it lay: it is shown, it predicts, and it goes on where the same data is."""
    there = tmp_path / "elsewhere"
    shutil.copytree(made / "data", there / "data")
    (there / "runs").mkdir()
    copied = shutil.copytree(made / "runs" / RUN, there / "runs" / "from afar")
    assert not [path for path in copied.rglob("*") if path.is_file() and str(made).encode() in path.read_bytes()]
    (copied / "worker.json").write_text('{"pid": 1, "host": "another machine"}')
    (copied / "train" / "model.onnx").unlink()
    (copied / "train" / "best.safetensors").unlink()
    shown = json.loads(finished(Call(home=there, arguments=("runs", "list", "--json")))[0])
    assert [(run["name"], run["state"]) for run in shown["runs"]] == [("from afar", "done")]
    finished(Call(home=there, arguments=("runs", "resume", "from afar")))
    assert results(there, "from afar") == results(made, RUN)
    happened_there, happened_here = (list(runs.events(runs.read(folder))) for folder in (copied, made / "runs" / RUN))
    assert figures(happened_there) == figures(happened_here)
    shutil.rmtree(there / "data")
    (copied / "train" / "model.onnx").unlink()
    said = finished(Call(home=there, arguments=("runs", "resume", "from afar")), 2)[1]
    assert "unknown data set 'phantom'" in said
