"""The stages that a run is made of. Each keeps what it made in a folder of its own and is skipped once it has.

A stage is complete when its `model.onnx` is there (the evaluation: when every model's card has its figures), because
that file is written last and in one step.
"""

import importlib.metadata
import shutil
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import paths, registry
from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, now
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets import cache, files, manifest, split_files
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.splits import Split
from lungcli.imaging import ood, preprocessing
from lungcli.imaging.ood import OodStatistics
from lungcli.metrics import referral
from lungcli.metrics.referral import Target
from lungcli.modelfile import model_paths
from lungcli.modelfile.model_card import DataCard, ModelCard, Pruning, SplitCard

if TYPE_CHECKING:
    from lungcli.modelfile.model_file import Model
    from lungcli.training.loop import TrainingData as Lessons
    from lungcli.training.trainer import Teacher

GUARD_SLICES = 400
MODEL = model_paths.MODEL
EVALUATION = "evaluation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """A data set ready for a recipe: its manifest, its split, and its prepared slices uint8 (n, S, S)."""

    manifest: Manifest
    split: Split
    pixels: NDArray[np.uint8]


def load_run_data(recipe: Recipe, advance: files.Advance | None = None) -> RunData:
    """Open the data of `recipe`, decoding it where that has not been done. Raises UsageError, UnreadableInputError."""
    data, split = load_with_split(recipe)
    pixels = cache.load(data, manifest.folder(data.name), recipe.size, advance)
    return RunData(manifest=data, split=split, pixels=pixels)


def load_with_split(recipe: Recipe) -> tuple[Manifest, Split]:
    """Return the data set of `recipe` and its split. Raises UsageError, UnreadableInputError."""
    data = manifest.load(recipe.data)
    return data, split_files.split_of_recipe(data, recipe)


def resolve_device(recipe: Recipe) -> Recipe:
    """Return the recipe with names spelt as the registry does, and device, precision and threads of this machine."""
    from lungcli.training import devices

    data = manifest.load(recipe.data)
    named = msgspec.structs.replace(recipe, data=data.name, model=registry.net(recipe.model).name)
    return devices.resolve(named)


def learn(run: Run, stage: str, found: RunData) -> Generator[Event, None, None]:
    """Train the net of `stage`, on all devices: by labels, or for the stage `student` by the teachers as well."""
    from lungcli.training import distributed, loop
    from lungcli.training import trainer as learning

    distributed.report_run(run.name, stage)
    pruned = _pruned(run, stage)
    return learning.train(
        stage,
        recipe_of(run.recipe, stage),
        to_learn_from(found),
        run.stage(stage),
        _teachers(run, stage),
        pruned / loop.BEST if pruned else None,
    )


def training_in_words(run: Run, stage: str) -> str:
    """Say which net is trained on what, by whom and on how many devices."""
    from lungcli.training import distributed

    recipe, teachers = recipe_of(run.recipe, stage), _teachers(run, stage)
    taught = f", taught by {' + '.join(each.model for each in teachers)} ({recipe.method})" if teachers else ""
    together = f", on {distributed.process_group().size} devices" if distributed.process_group().size > 1 else ""
    return f"train {recipe.model} on {recipe.data}{taught}{together}"


def _teachers(run: Run, stage: str) -> "list[Teacher]":
    from lungcli.modelfile import model_file
    from lungcli.training import loop
    from lungcli.training import trainer as learning

    sources = [run.stage(each) for each in model_paths.teacher_stages(run.recipe)] if stage == "student" else []
    return [
        learning.Teacher(model=model_file.read_card(source / MODEL).model, weights=source / loop.BEST)
        for source in sources
    ]


def _pruned(run: Run, stage: str) -> Path | None:
    """Return the folder of the pruned net that `stage` starts from; None where it starts from no net."""
    return run.stage("pruned") if stage == "student" and run.recipe.prune else None


def to_learn_from(found: RunData) -> "Lessons":
    """Return what the training and validation parts of `found` give the training loop."""
    from lungcli.training import loop

    return loop.TrainingData(
        pixels=found.pixels,
        labels=np.array(found.manifest.labels(), dtype=np.int64),
        classes=found.manifest.classes,
        train=np.array(found.split.train, dtype=np.int64),
        validation=np.array(found.split.val, dtype=np.int64),
        digest=found.split.digest,
    )


def reused_teacher(run: Run, stage: str) -> str:
    """Name the run whose teacher `stage` takes over; empty where this run trains its own."""
    origins = zip(model_paths.teacher_stages(run.recipe), recipes.as_tuple(run.info.teacher_run), strict=False)
    return dict(origins).get(stage, "")


def reuse_teacher(run: Run, stage: str, found: RunData) -> str:
    """Take the teacher of another run into this one, and say which. Raises UsageError when it knows another split."""
    from lungcli.modelfile import model_file
    from lungcli.training import loop

    origin = reused_teacher(run, stage)
    source = model_paths.weights_folder(origin)
    card = model_file.read_card(source / MODEL)
    check_teacher_compatible(card, found.split, run.recipe.size, origin)
    for name in (loop.BEST, MODEL):
        with paths.atomic_replace(run.stage(stage) / name) as partial:
            shutil.copyfile(source / name, partial)
    return f"{card.model} of {origin}"


def check_teacher_compatible(card: ModelCard, split: Split, size: int, name: str) -> None:
    """Refuse a teacher that may have seen this split's test slices, takes slices of another size, or is in int8."""
    if card.split.digest != split.digest:
        raise UsageError(
            f"the teacher {name!r} was trained on another split than this run's, so it may know the test slices",
            f"train one on this split: name a net, as in --teacher {card.model}",
        )
    if card.size != size:
        raise UsageError(
            f"the teacher {name!r} takes slices of {card.size} pixels, this run {size}", f"use --size {card.size}"
        )
    if card.precision != "float32":
        run, _, _ = name.partition("/")
        raise UsageError(
            f"the teacher {name!r} is an {card.precision} file, and only a net with its float weights can teach",
            f"name the net it was made from: --teacher '{run}/student'",
        )


def check_own_split(card: ModelCard, path: Path, found: RunData) -> None:
    """Refuse to fit a model file on slices that are not divided as those it was trained on were."""
    if card.split.digest != found.split.digest:
        raise UsageError(
            f"{path} was trained on another split than {found.manifest.name!r} has, "
            "so calibration might meet its test slices",
            f"name the data it was trained on ({card.data.name}) with --data, as it was then",
        )


def calibrated(model: "Model", found: RunData, target: Target) -> ModelCard:
    """Return the card of `model` with all that is fitted on the validation part of its split, never on the test part.

    Raises UsageError when `found` is divided otherwise than the data it was trained on, or has no slices of `target`.
    """
    from lungcli.evaluation import calibrate, evaluate

    card = model.card
    check_own_split(card, model.path, found)
    validation = np.array(found.split.val, dtype=np.int64)
    labels = np.array(found.manifest.labels(), dtype=np.int64)[validation]
    return calibrate.calibrated(card, evaluate.logits_of(model, found.pixels, validation), labels, target)


def not_evaluated(run: Run) -> list[str]:
    """Return the stages whose model has not judged the test part."""
    from lungcli.modelfile import model_file

    return [
        stage
        for stage in model_paths.stages(run)
        if model_file.read_card(run.stage(stage) / MODEL).figures is None
        or not (run.stage(stage) / EVALUATION).exists()
    ]


def evaluate(run: Run, stages: Iterable[str], found: RunData) -> None:
    """Judge the test part with the model of each of `stages`, and put the figures into their cards."""
    from lungcli.evaluation import evaluate as evaluation
    from lungcli.modelfile import model_file

    for stage in stages:
        path = run.stage(stage) / MODEL
        model = model_file.load(path)
        verdicts = evaluation.evaluate(model, found.pixels, found.split.test, found.manifest, found.split, part="test")
        evaluation.save(verdicts, run.stage(stage) / EVALUATION)
        model_file.recard(path, msgspec.structs.replace(model.card, figures=verdicts.figures()))


def recipe_of(recipe: Recipe, stage: str) -> Recipe:
    """Return the recipe that `stage` follows: a teacher is another net under the same budget.

    Only the student is pruned, and what is cut for it; teachers and base student stay whole.
    Each teacher has a seed of its own: two of the same net differ, and so does a teacher from a base of its net.
    """
    taught_by = dict(zip(model_paths.teacher_stages(recipe), enumerate(recipe.teachers), strict=True))
    if stage in taught_by:
        index, net = taught_by[stage]
        return msgspec.structs.replace(recipe, model=net, teacher="", seed=recipe.seed + 1 + index, prune=0.0)
    if stage == "student":
        return recipe
    return msgspec.structs.replace(recipe, teacher="", prune=recipe.prune if stage == "pruned" else 0.0)


def versions() -> dict[str, str]:
    """Versions of the libraries that decide a result."""
    return {name: importlib.metadata.version(name) for name in ("lungcli", "torch", "torchvision", "onnxruntime")}


def export(run: Run, stage: str, found: RunData, cut: Pruning | None = None) -> str:
    """Turn the best weights of a stage into its model file, calibrated on the validation part; say what that is.

    Its card tells of the `cut`, or else of that of the pruned net that the stage started from.
    """
    from lungcli.modelfile import model_file
    from lungcli.training import trainer as learning

    recipe, folder, pruned = recipe_of(run.recipe, stage), run.stage(stage), _pruned(run, stage)
    pruning = model_file.read_card(pruned / MODEL).pruning if pruned else cut
    with paths.scratch("stage") as scratch:
        graph, trial = scratch / "graph.onnx", scratch / "trial.onnx"
        parameters = learning.export_best(recipe, len(found.manifest.classes), folder, graph)
        done = learning.with_final_micro_batch(recipe, folder)
        card = msgspec.structs.replace(_card(stage, done, found, parameters), pruning=pruning)
        model_file.write(graph, card, trial)
        card = calibrated(model_file.load(trial), found, referral.DEFAULT)
        card = msgspec.structs.replace(card, guard=guard_statistics(found))
        model_file.write(graph, card, folder / MODEL)
    learning.remove_checkpoints(folder)
    return f"{card.model}, {card.parameters / 1e6:.2f} M parameters"


def guard_statistics(found: RunData) -> OodStatistics | None:
    """How the training slices were acquired, with a threshold that validation agrees to; 400 of each part tell."""
    folder = manifest.folder(found.manifest.name)

    def files(part: tuple[int, ...]) -> list[Path]:
        stride = max(1, len(part) // GUARD_SLICES)
        return [folder / found.manifest.slices[i].path for i in part[::stride][:GUARD_SLICES]]

    return ood.fit_files(files(found.split.train), files(found.split.val))


def _card(stage: str, recipe: Recipe, found: RunData, parameters: int) -> ModelCard:
    source = found.manifest.source
    return ModelCard(
        model=recipe.model,
        stage=stage,
        precision="float32",
        classes=found.manifest.classes,
        size=recipe.size,
        preparation=preprocessing.VERSION,
        temperature=1.0,
        parameters=parameters,
        teacher=" + ".join(recipe.teachers),
        data=DataCard(
            name=found.manifest.name,
            digest=found.manifest.digest,
            slices=len(found.manifest.slices),
            groups=len({item.group for item in found.manifest.slices}),
            synthetic=source.synthetic,
            licence=source.licence,
            citation=source.citation,
        ),
        split=SplitCard(
            protocol=found.split.protocol,
            seed=found.split.seed,
            digest=found.split.digest,
            name=recipe.split,
            folds=found.split.folds,
            fold=found.split.fold,
        ),
        recipe=recipe,
        created=now(),
        versions=versions(),
    )
