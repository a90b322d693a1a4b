"""Evaluating a model file on a data set, and storing the figures in the file."""

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lungcli.core.errors import UsageError
from lungcli.datasets import cache, files, manifest, splits, training_slices
from lungcli.evaluation import compare, evaluate, external_validation
from lungcli.evaluation.evaluate import with_figures
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import ExternalFigures, ModelCard, RobustnessFigures
from lungcli.modelfile.model_file import Model
from lungcli.pipeline import stages

# One group of near-duplicates says nothing of other people, and gives no interval.
_LEAST_GROUPS = 2
RANDOM_SPLIT_WARNING = (
    "A random split puts near-duplicates of its test slices, often of the same patient, into the training part: "
    "its figures are too good."
)


def evaluate_on(
    model: Model, name: str, *, random: bool, advance: files.Advance | None = None
) -> list[tuple[str, str, Evaluation]]:
    """Evaluate `model` on the data set `name`: a list of (title, warning, evaluation).

    On the data it was trained on: the test part of its own split, and with `random` that of a random split. On other
    data: every slice, but those in groups with slices that the model was trained or chosen on. Raises ModelFileError
    when the classes differ, UsageError where fewer than two groups are left.
    """
    card = model.card
    data = manifest.load(name)
    if data.digest != card.data.digest:
        return [_evaluate_elsewhere(model, data, advance)]
    run_data = _training_data(model, name, advance)
    if run_data.split.digest != card.split.digest:
        raise UsageError(
            f"the model was trained on {card.split.in_words()}, which has changed: "
            "its test slices may be training slices",
            "train it again",
        )
    if not run_data.split.test:
        raise UsageError(
            f"the model was trained on the test part of {name!r} as well, so no slices are left to evaluate it on",
            "see the figures of its recipe with `lungcli models card`, or evaluate it on other data: --data NAME",
        )
    evaluation = run_data.evaluate(model, "test")
    warning = splits.leak_warning(run_data.manifest, run_data.split) and RANDOM_SPLIT_WARNING
    title = f"{name}, test part of the model's own {splits.describe(run_data.split).removeprefix('the ')}"
    evaluations = [(title, warning, evaluation)]
    if random and run_data.split.protocol == "grouped":
        other = splits.make_split(run_data.manifest, protocol="random", seed=card.split.seed)
        evaluation = evaluate.evaluate(model, run_data.pixels, other.test, run_data.manifest, other, part="test")
        used = len(set(other.test) & {*run_data.split.train, *run_data.split.val})
        warning = (
            f"{used} of these {len(other.test)} slices were used to train or choose the model. {RANDOM_SPLIT_WARNING}"
        )
        evaluations.append((f"{name}, test part of a random split, as in the literature", warning, evaluation))
    return evaluations


def _evaluate_elsewhere(
    model: Model, data: manifest.Manifest, advance: files.Advance | None
) -> tuple[str, str, Evaluation]:
    """Evaluate on all slices of other data that the model has not seen."""
    card = model.card
    indices = training_slices.unseen(card.training_slices, data)
    seen = len(data.slices) - len(indices)
    if len({data.slices[i].group for i in indices}) < _LEAST_GROUPS:
        own = "" if card.split.final else "on its own test part (leave --data out), or "
        raise UsageError(
            f"the model was trained on {data.name!r}, or copies of it: {seen} of its {len(data.slices)} slices are in "
            "groups with training slices, and too few are left to evaluate on",
            f"evaluate {own}on data that it has not seen: {card.data.name!r} is the name of its own",
        )
    digest = f"all of {data.digest}" if not seen else f"unseen of {data.digest}: {indices}"
    unseen = splits.Split(train=(), val=(), test=indices, protocol="grouped", seed=0, digest=digest)
    pixels = cache.load(data, manifest.folder(data.name), card.size, advance, card.recipe.resize)
    evaluation = evaluate.evaluate(model, pixels, indices, data, unseen, part="all")
    unsigned = _unsigned(card, data)
    if card.adopted or card.training_slices is None:
        title = f"{data.name}, {len(indices)} of {len(data.slices)} slices" if seen else f"{data.name}, all slices"
        warning = (
            f"the model file does not say which slices it was trained on, so slices of {data.name} may be among them"
        )
        warning += f"; {seen} slices are left out, since it was calibrated on them or on slices of their groups" * bool(
            seen
        )
    elif seen:
        title = f"{data.name}, {len(indices)} of {len(data.slices)} slices"
        warning = f"{seen} slices are left out: the model was trained on them, or on slices of their groups"
    else:
        claim = "none has the content of a training slice" if unsigned else "the model has seen none of them"
        title, warning = f"{data.name}, all slices ({claim})", ""
    if unsigned:
        warning += "; " * bool(warning) + (
            f"copies of training slices that were encoded anew are not recognised, since {unsigned} is of an earlier "
            "version, without signatures"
        )
    return title, warning, evaluation


def _unsigned(card: ModelCard, data: manifest.Manifest) -> str:
    """Name what lacks the signatures that copies are recognised by; empty where nothing does, or nothing is known."""
    if card.training_slices is None:
        return ""
    if not card.training_slices.signatures:
        return "the model file"
    return "" if all(item.signature for item in data.slices) else f"the data set {data.name!r}"


def evaluation_of(path: Path, advance: files.Advance | None = None) -> Evaluation | None:
    """Return the evaluation of a model file on the test part of its own split: stored beside it in a run, or made now.

    None where its data set or split file is missing or has changed, for a final fit, and for a search's trial that was
    not chosen: to compare many on the test part is to choose by it. Raises ModelFileError, and UnreadableInputError for
    a damaged evaluation or data.
    """
    if (stored := compare.stored_evaluation(path)) is not None:
        return stored
    model = model_file.load(path)
    if _is_trial(model):
        return None
    name, digest = model.card.data.name, model.card.data.digest
    try:
        run_data = _training_data(model, name, advance) if manifest.load(name).digest == digest else None
    except UsageError:
        return None
    return (
        run_data.evaluate(model, "test")
        if run_data is not None and run_data.split.digest == model.card.split.digest and run_data.split.test
        else None
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTestPart:
    """A test part that several models are compared on: that of the model with `card`, in `data`.

    The `split` has only those of its test slices that none of the others has seen, nor anything of their groups;
    `left_out` of them are gone.
    """

    card: ModelCard
    data: manifest.Manifest
    split: splits.Split
    left_out: int


def shared_test_part(cards: Sequence[ModelCard]) -> SharedTestPart | None:
    """Return the first test part that all these models may be evaluated on; None where there is none.

    Its data set is on this machine, and every other model was trained on the same split, or on other data. Raises
    UsageError where that split has changed, and where the models have seen too much of every such part.
    """
    seen = ""
    for card in cards:
        if not _may_share(card, cards):
            continue
        data, split = stages.load_with_split(msgspec.structs.replace(card.recipe, data=card.data.name))
        if split.digest != card.split.digest:
            raise UsageError(f"{card.split.in_words(card.data.name)} has changed", "train its model again")
        others = [other.training_slices for other in cards if other.split.digest != split.digest]
        left = tuple(sorted(set(split.test).intersection(*(training_slices.unseen(known, data) for known in others))))
        left_out = len(split.test) - len(left)
        if len({data.slices[i].group for i in left}) >= _LEAST_GROUPS:
            digest = f"unseen of {split.digest}: {left}" if left_out else split.digest
            split = msgspec.structs.replace(split, test=left, digest=digest)
            return SharedTestPart(card=card, data=data, split=split, left_out=left_out)
        seen = seen or f"{left_out} of the {len(split.test)} test slices of {data.name!r}"
    if seen:
        raise UsageError(
            f"{seen} are in groups with slices that one of these models was trained on, and too few are left to "
            "compare them on",
            "evaluate each on data that it has not seen: lungcli evaluate MODEL --data NAME",
        )
    return None


def _may_share(card: ModelCard, cards: Sequence[ModelCard]) -> bool:
    """Whether the test part of a model is one that no other of these models may have been trained on, and is here."""
    if card.split.final or any(
        other.classes != card.classes
        or (other.split.digest != card.split.digest and other.data.digest == card.data.digest)
        for other in cards
    ):
        return False
    try:
        return manifest.load(card.data.name).digest == card.data.digest
    except UsageError:
        return False


def evaluation_beside(path: Path, shared: SharedTestPart, advance: files.Advance | None = None) -> Evaluation | None:
    """Evaluate a model file on a shared test part; None for a trial, as in `evaluation_of`."""
    model = model_file.load(path)
    if _is_trial(model):
        return None
    folder, own = manifest.folder(shared.data.name), model.card
    pixels = cache.load(shared.data, folder, own.size, advance, own.recipe.resize)
    return evaluate.evaluate(model, pixels, shared.split.test, shared.data, shared.split, part="test")


def _is_trial(model: Model) -> bool:
    """Whether a model is a search's trial that was not chosen."""
    # The validation predictions lie beside the model that the trial ends with; its student is of the same trial.
    return model.card.figures is None and any(model.path.parent.parent.glob(f"*/{compare.VALIDATION}"))


def _training_data(model: Model, name: str, advance: files.Advance | None) -> stages.RunData:
    """Open the data set `name`, split and prepared as the model's own recipe says."""
    return stages.load_run_data(msgspec.structs.replace(model.card.recipe, data=name, size=model.card.size), advance)


def save_robustness(path: Path, evaluation: Evaluation, figures: tuple[RobustnessFigures, ...]) -> bool:
    """Store robustness figures in the model file, if they are of its own test part; return whether they were."""
    card = model_file.read_card(path)
    if (evaluation.part, evaluation.split_digest) != ("test", card.split.digest):
        return False
    model_file.recard(path, msgspec.structs.replace(card, robustness=figures))
    return True


def save_figures(path: Path, evaluation: Evaluation) -> bool:
    """Store figures in a model file that has none, if they are of its own test part; return whether they were."""
    card = model_file.read_card(path)
    if card.figures is not None or (evaluation.part, evaluation.split_digest) != ("test", card.split.digest):
        return False
    model_file.recard(path, with_figures(card, evaluation))
    return True


def save_external(path: Path, results: Iterable[ExternalFigures]) -> None:
    """Store the figures of a user's own folders in the model file, in place of earlier ones of the same slices."""
    card = model_file.read_card(path)
    external = functools.reduce(external_validation.with_folder, results, card.external)
    model_file.recard(path, msgspec.structs.replace(card, external=external))
