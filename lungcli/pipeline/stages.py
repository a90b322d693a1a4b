"""The stages of a run. Each has a folder of its own, and is skipped once it is complete.

A stage is complete when its `model.onnx` is there, which is written last and atomically; the evaluation, when every
model's card has its figures.
"""

import importlib.metadata
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import names, paths, registry
from lungcli.core.errors import UsageError
from lungcli.core.events import Event, now
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets import cache, files, lesions, manifest, split_files, training_slices
from lungcli.datasets.manifest import Manifest
from lungcli.datasets.splits import Split
from lungcli.evaluation import calibrate, evaluate
from lungcli.imaging import ood, preprocessing
from lungcli.imaging.ood import OodStatistics
from lungcli.metrics import referral
from lungcli.metrics.operating_point import OperatingTarget
from lungcli.metrics.predictions import MALIGNANT, Evaluation, positive_class
from lungcli.metrics.referral import Target
from lungcli.modelfile import model_file, model_paths
from lungcli.modelfile.model_card import DataCard, ModelCard, Pruning, SplitCard
from lungcli.modelfile.model_file import Model

if TYPE_CHECKING:
    from lungcli.training.loop import TrainingData
    from lungcli.training.trainer import Start, Teacher

GUARD_SLICES = 400
MODEL = model_paths.MODEL
EVALUATION = "evaluation.json"
START_WEIGHTS, START_MODEL = "start.safetensors", "start.onnx"
"""In a run's folder: the weights that it starts from, and the model file of those."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunData:
    """A data set ready for a recipe: its manifest, its split, and its prepared slices uint8 (n, S, S).

    Where nobody has labelled it, the labels are predictions, and nothing can be calibrated.
    """

    manifest: Manifest
    split: Split
    pixels: NDArray[np.uint8]
    labelled: bool = True

    def evaluate(self, model: Model, part: Literal["val", "test"]) -> Evaluation:
        """Evaluate a model on a part of the data. Raises ModelFileError where it has other classes."""
        indices = self.split.val if part == "val" else self.split.test
        return evaluate.evaluate(model, self.pixels, indices, self.manifest, self.split, part)


def load_run_data(recipe: Recipe, advance: files.Advance | None = None) -> RunData:
    """Open the data of `recipe`, decoding it where that has not been done. Raises UsageError, UnreadableInputError."""
    data, split = load_with_split(recipe)
    pixels = cache.load(data, manifest.folder(data.name), recipe.size, advance, recipe.resize)
    return RunData(manifest=data, split=split, pixels=pixels)


def recipe_on(card: ModelCard, data: str) -> Recipe:
    """Return the recipe to open the data set `data` for a model; its own where that is empty. Raises UsageError."""
    if card.adopted and not data:
        raise UsageError("the model was trained elsewhere and has no data set of its own", "name one: --data NAME")
    if not data and card.data.name not in (known := manifest.existing()):
        raise UsageError(
            f"the data set {card.data.name!r}, which the model was trained on, is not on this machine",
            f"name another with --data{': ' if known else ''}{', '.join(known)}, or import it under that name",
        )
    return msgspec.structs.replace(card.recipe, data=data or card.data.name, size=card.size)


def load_with_split(recipe: Recipe) -> tuple[Manifest, Split]:
    """Return the data set of `recipe` and its split. Raises UsageError, UnreadableInputError."""
    data = manifest.load(recipe.data)
    return data, split_files.split_of_recipe(data, recipe)


def resolve_device(recipe: Recipe) -> Recipe:
    """Return the recipe with names as in the registry and the data set, and what this machine decides.

    Raises UsageError for unknown names.
    """
    from lungcli.training import devices

    data = manifest.load(recipe.data)
    named = msgspec.structs.replace(
        recipe,
        data=data.name,
        model=registry.net(recipe.model).name,
        positive_class=_positive_class(data, recipe.positive_class),
    )
    return devices.resolve(named)


def _positive_class(data: Manifest, name: str) -> str:
    """Return the positive class as the data set spells it; empty for malignant, so that both are one recipe."""
    label = names.find(name, {label: label for label in data.classes}, "class of the data set") if name else ""
    return "" if label == MALIGNANT else label


def require_metric(recipe: Recipe) -> None:
    """Raise UsageError where the data set of a recipe has no such metric as the gate is to use."""
    data = manifest.load(recipe.data)
    if recipe.metric == "worst-institution" and len(set(data.institutions())) < 2:
        raise UsageError(
            f"--metric {recipe.metric} takes slices of several institutions, and {data.name!r} has one",
            "combine data sets of several: lungcli data combine A B --name AB",
        )
    if recipe.metric.endswith("sensitivity") and not positive_class(data.classes, recipe.positive_class):
        raise UsageError(
            f"--metric {recipe.metric} is of a positive class, and {data.name!r} has no class malignant",
            "name one with --positive-class",
        )


def train(run: Run, stage: str, run_data: RunData) -> Generator[Event, None, None]:
    """Train the net of `stage` on all devices; the stage `student` is distilled from the teachers."""
    from lungcli.training import distributed, trainer

    distributed.report_run(run.name, stage)
    return trainer.train(
        stage,
        recipe_of(run.recipe, stage),
        training_material(run_data, run.recipe),
        run.stage(stage),
        _teachers(run, stage),
        _start(run, stage, run_data.manifest.classes),
    )


def training_in_words(run: Run, stage: str) -> str:
    """Say which net is trained on which data, from which teachers and on how many devices."""
    from lungcli.training import distributed, trainer

    recipe, teachers = recipe_of(run.recipe, stage), _teachers(run, stage)
    names = " + ".join(map(trainer.in_words, teachers))
    distilled = f", distilled from {names} ({recipe.method})" if teachers else ""
    start = f", from the weights of {recipe.start}" if recipe.start and not _pruned(run, stage) else ""
    devices = f", on {distributed.process_group().size} devices" if distributed.process_group().size > 1 else ""
    return f"train {recipe.model} on {recipe.data}{start}{distilled}{devices}"


def _teachers(run: Run, stage: str) -> "list[Teacher]":
    from lungcli.training import loop, trainer

    if stage != "student":
        return []
    sources = [run.stage(teacher) for teacher in model_paths.teacher_stages(run.recipe)]
    cards = [model_file.read_card(source / MODEL) for source in sources]
    return [
        trainer.Teacher(model=card.model, weights=source / (loop.BEST if name in registry.NETS else MODEL))
        for name, card, source in zip(run.recipe.teachers, cards, sources, strict=True)
    ]


def _pruned(run: Run, stage: str) -> Path | None:
    """Return the folder of the pruned net that `stage` starts from; None where it starts from none."""
    return run.stage("pruned") if stage == "student" and run.recipe.prune else None


def _start(run: Run, stage: str, classes: tuple[str, ...]) -> "Start | None":
    from lungcli.training import loop, trainer

    if pruned := _pruned(run, stage):
        return trainer.Start(weights=pruned / loop.BEST)
    if not recipe_of(run.recipe, stage).start:
        return None
    same_classes = model_file.read_card(run.folder / START_MODEL).classes == classes
    return trainer.Start(weights=run.folder / START_WEIGHTS, head=same_classes)


def training_material(run_data: RunData, recipe: Recipe) -> "TrainingData":
    """Return the training and validation parts of `run_data` as the training loop takes them, and the recipe's lesions.

    Lesions of patients that have slices in the validation or the test part are left out. Raises UsageError where the
    recipe's lesions have no masks, or nothing is called malignant.
    """
    from lungcli.training import loop

    data, split = run_data.manifest, run_data.split
    institutions = sorted(set(data.institutions()))
    held_out = frozenset(data.slices[row].patient for row in (*split.val, *split.test))
    if recipe.lesions and MALIGNANT not in data.classes:
        raise UsageError(f"lesions are malignant, and {data.name!r} has no such class", "leave --lesions out")
    return loop.TrainingData(
        pixels=run_data.pixels,
        labels=np.array(data.labels(), dtype=np.int64),
        classes=data.classes,
        train=np.array(split.train, dtype=np.int64),
        validation=np.array(split.val, dtype=np.int64),
        digest=split.digest + (lesions.digest(recipe.lesions) if recipe.lesions else ""),
        institutions=np.array([institutions.index(name) for name in data.institutions()], dtype=np.int64),
        lesions=lesions.load(recipe.lesions, "train", held_out) if recipe.lesions else None,
        positive_class=recipe.positive_class,
    )


def check_own_split(card: ModelCard, path: Path, run_data: RunData) -> None:
    """Raise UsageError where `run_data` is split otherwise than the data that the model was trained on.

    Of adopted models nobody knows: what they are calibrated on is recorded as seen.
    """
    if not card.adopted and card.split.digest != run_data.split.digest:
        raise UsageError(
            f"{path} was trained on another split than {run_data.manifest.name!r} has, "
            "so calibration might use its test slices",
            f"name the data it was trained on ({card.data.name}) with --data, as it was then",
        )


def calibrated_card(
    model: Model,
    run_data: RunData,
    *,
    referral_target: Target | None = None,
    operating_target: OperatingTarget | None = None,
) -> ModelCard:
    """Return the card of `model` with temperature, operating point and referral fitted on its validation part.

    Targets that are not given are those in the card, or the defaults. Without any, what was chosen on institutions left
    out stays. Raises UsageError when `run_data` is split otherwise than the data it was trained on, or has no slices of
    a target.
    """
    card = model.card
    check_own_split(card, model.path, run_data)
    if card.chosen_on != "validation slices" and referral_target is None and operating_target is None:
        return card
    if referral_target is None:
        referral_target = referral.parse_target(card.referral.target) if card.referral else referral.DEFAULT
    if operating_target is None:
        point = card.operating_point
        operating_target = point.target if point else calibrate.default_target(run_data.manifest.institutions())
    validation = np.array(run_data.split.val, dtype=np.int64)
    labels = np.array(run_data.manifest.labels(), dtype=np.int64)[validation]
    card = with_seen(card, run_data)
    if not run_data.labelled:
        return card
    groups = np.array([item.group for item in run_data.manifest.slices], dtype=np.int64)[validation]
    return calibrate.calibrate_card(
        card,
        evaluate.predict_logits(model, run_data.pixels, validation),
        labels,
        groups,
        referral_target=referral_target,
        operating_target=operating_target,
    )


def with_seen(card: ModelCard, run_data: RunData) -> ModelCard:
    """Return the card of an adopted model that has seen the training and validation parts; of others as it is."""
    if not card.adopted:
        return card
    seen = training_slices.record(run_data.manifest, (*run_data.split.train, *run_data.split.val))
    return msgspec.structs.replace(card, training_slices=seen)


def not_evaluated(run: Run) -> list[str]:
    """Return the stages whose model has not been evaluated on the test part."""
    return [
        stage
        for stage in model_paths.stages(run)
        if model_file.read_card(run.stage(stage) / MODEL).figures is None
        or not (run.recipe.final or (run.stage(stage) / EVALUATION).exists())
    ]


def evaluate_stages(run: Run, stages: Iterable[str], run_data: RunData) -> None:
    """Evaluate the model of each of `stages` on the test part, and store the figures in their cards."""
    for stage in stages:
        path = run.stage(stage) / MODEL
        model = model_file.load(path)
        evaluation = run_data.evaluate(model, "test")
        evaluate.save(evaluation, run.stage(stage) / EVALUATION)
        model_file.recard(path, evaluate.with_figures(model.card, evaluation))


def record_failed_checks(run: Run, failed: tuple[str, ...]) -> None:
    """Write the checks that a compression failed into the cards of the models that failed them."""
    for stage, checks in (("student", tuple(name for name in failed if name == "distillation")), ("int8", failed)):
        path = run.stage(stage) / MODEL
        if (card := model_file.read_card(path)).failed_checks != checks:
            model_file.recard(path, msgspec.structs.replace(card, failed_checks=checks))


def recipe_of(recipe: Recipe, stage: str) -> Recipe:
    """Return the recipe of `stage`: a teacher is another net with the same budget.

    Only the stages `pruned` and `student` prune; teachers and base student stay whole. Each teacher has a seed of its
    own, so that two of the same net differ, and a teacher from a base student of its net.
    """
    teachers = dict(zip(model_paths.teacher_stages(recipe), enumerate(recipe.teachers), strict=True))
    if stage in teachers:
        index, net = teachers[stage]
        return msgspec.structs.replace(recipe, model=net, teacher="", start="", seed=recipe.seed + 1 + index, prune=0.0)
    if stage == "student":
        return recipe
    return msgspec.structs.replace(recipe, teacher="", prune=recipe.prune if stage == "pruned" else 0.0)


def versions() -> dict[str, str]:
    """Versions of the libraries that decide a result."""
    return {name: importlib.metadata.version(name) for name in ("lungcli", "torch", "torchvision", "onnxruntime")}


def export(run: Run, stage: str, run_data: RunData, cut: Pruning | None = None) -> str:
    """Make the model file of a stage from its best weights, calibrated on the validation part; describe it.

    Its card has the `cut`, or else that of the pruned net that the stage started from.
    """
    from lungcli.training import trainer

    recipe, folder, pruned = recipe_of(run.recipe, stage), run.stage(stage), _pruned(run, stage)
    pruning = model_file.read_card(pruned / MODEL).pruning if pruned else cut
    with paths.scratch("stage") as scratch:
        graph, trial = scratch / "graph.onnx", scratch / "trial.onnx"
        parameters = trainer.export_best(recipe, len(run_data.manifest.classes), folder, graph)
        trained_recipe = trainer.with_final_micro_batch(recipe, folder)
        card = msgspec.structs.replace(_card(stage, trained_recipe, run_data, parameters), pruning=pruning)
        if recipe.start and card.training_slices:
            before = model_file.read_card(run.folder / START_MODEL).training_slices
            card = msgspec.structs.replace(card, training_slices=training_slices.union(card.training_slices, before))
        model_file.write(graph, card, trial)
        card = calibrated_card(model_file.load(trial), run_data)
        card = msgspec.structs.replace(card, guard=guard_statistics(run_data))
        model_file.write(graph, card, folder / MODEL)
    trainer.remove_checkpoints(folder)
    return f"{card.model}, {card.parameters / 1e6:.2f} M parameters"


def guard_statistics(run_data: RunData) -> OodStatistics | None:
    """Fit the out-of-distribution guard on 400 slices each of the training and validation parts.

    None for data of any picture, which no guard belongs to.
    """
    if run_data.manifest.source.any_picture:
        return None
    folder = manifest.folder(run_data.manifest.name)

    def files(part: tuple[int, ...]) -> list[Path]:
        stride = max(1, len(part) // GUARD_SLICES)
        return [folder / run_data.manifest.slices[i].path for i in part[::stride][:GUARD_SLICES]]

    return ood.fit_files(files(run_data.split.train), files(run_data.split.val))


def split_card(recipe: Recipe, split: Split) -> SplitCard:
    """Describe the split of a run."""
    return SplitCard(
        protocol=split.protocol,
        seed=split.seed,
        digest=split.digest,
        name=recipe.split,
        folds=split.folds,
        fold=split.fold,
        final=split.final,
    )


def _card(stage: str, recipe: Recipe, run_data: RunData, parameters: int) -> ModelCard:
    source = run_data.manifest.source
    return ModelCard(
        model=recipe.model,
        stage=stage,
        precision="float32",
        classes=run_data.manifest.classes,
        size=recipe.size,
        preparation=preprocessing.VERSION,
        temperature=1.0,
        parameters=parameters,
        teacher=" + ".join(recipe.teachers),
        data=DataCard(
            name=run_data.manifest.name,
            digest=run_data.manifest.digest,
            slices=len(run_data.manifest.slices),
            groups=len({item.group for item in run_data.manifest.slices}),
            synthetic=source.synthetic,
            licence=source.licence,
            citation=source.citation,
            any_picture=source.any_picture,
        ),
        split=split_card(recipe, run_data.split),
        recipe=recipe,
        training_slices=training_slices.record(run_data.manifest, (*run_data.split.train, *run_data.split.val)),
        created=now(),
        versions=versions(),
    )
