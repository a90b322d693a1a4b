"""Judging a model file on a data set, and keeping what was found in the file."""

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from lungcli.core.errors import UsageError
from lungcli.datasets import cache, files, manifest, splits
from lungcli.metrics.predictions import Evaluation
from lungcli.modelfile.model_card import Elsewhere, StressFigures
from lungcli.pipeline import stages

if TYPE_CHECKING:
    from lungcli.modelfile.model_file import Model

RANDOM_SPLIT_FLATTERS = (
    "A random split puts look-alikes of its test slices, often of the same body, into the training part: "
    "it measures memory, and flatters."
)


def judge(
    model: "Model", name: str, *, random: bool, advance: files.Advance | None = None
) -> list[tuple[str, str, Evaluation]]:
    """Evaluate `model` on the data set `name`: a list of (title, warning, evaluation).

    On the data it was trained on: the test part of its own split, and with `random` that of a random split. On other
    data: every slice, however few groups it has. Raises ModelFileError when the classes differ.
    """
    from lungcli.evaluation import evaluate as evaluation

    card = model.card
    foreign = manifest.load(name)
    if foreign.digest != card.data.digest:
        everything = tuple(range(len(foreign.slices)))
        whole = splits.Split(
            train=(), val=(), test=everything, protocol="grouped", seed=0, digest=f"all of {foreign.digest}"
        )
        pixels = cache.load(foreign, manifest.folder(foreign.name), card.size, advance)
        verdicts = evaluation.evaluate(model, pixels, everything, foreign, whole, part="all")
        same_name = foreign.name == card.data.name
        why = (
            f"{name} has changed since the model learned from it, so it may have met these slices" if same_name else ""
        )
        return [(f"{name}, all slices (not the model's own data)", why, verdicts)]
    own = _learned_from(model, name, advance)
    if own.split.digest != card.split.digest:
        raise UsageError(
            f"the model was trained on {card.split.in_words()}, which is divided otherwise now: "
            "it may know the test slices",
            "train it again",
        )
    verdicts = _tested(model, own)
    flatters = "" if own.split.protocol == "grouped" else RANDOM_SPLIT_FLATTERS
    title = f"{name}, test part of the model's own {splits.describe(own.split).removeprefix('the ')}"
    found = [(title, flatters, verdicts)]
    if random and own.split.protocol == "grouped":
        other = splits.make_split(own.manifest, protocol="random", seed=card.split.seed)
        verdicts = evaluation.evaluate(model, own.pixels, other.test, own.manifest, other, part="test")
        met = len(set(other.test) & {*own.split.train, *own.split.val})
        why = f"{met} of these {len(other.test)} slices were used to train or choose the model. {RANDOM_SPLIT_FLATTERS}"
        found.append((f"{name}, test part of a random split, as in the literature", why, verdicts))
    return found


def verdicts_of(path: Path, advance: files.Advance | None = None) -> Evaluation | None:
    """Return the verdicts of a model file on the test part of its own split: kept beside it in a run, or found now.

    None where its data set or split file is not here, or is not as it was, and for a trial of a search that was not
    chosen yet: who compares many on the test part chooses by it. Raises ModelFileError, and UnreadableInputError for
    damaged verdicts or data.
    """
    from lungcli.evaluation import compare
    from lungcli.modelfile import model_file

    if (kept := compare.verdicts(path)) is not None:
        return kept
    model = model_file.load(path)
    # The verdicts lie beside the model that the trial ends with; its student is of the same trial.
    if model.card.figures is None and any(path.parent.parent.glob(f"*/{compare.VALIDATION}")):
        return None
    name, digest = model.card.data.name, model.card.data.digest
    try:
        own = _learned_from(model, name, advance) if manifest.load(name).digest == digest else None
    except UsageError:
        return None
    return _tested(model, own) if own is not None and own.split.digest == model.card.split.digest else None


def _learned_from(model: "Model", name: str, advance: files.Advance | None) -> stages.RunData:
    """Open the data set `name` as the model's own recipe divides and prepares it."""
    return stages.load_run_data(msgspec.structs.replace(model.card.recipe, data=name, size=model.card.size), advance)


def _tested(model: "Model", own: stages.RunData) -> Evaluation:
    from lungcli.evaluation import evaluate

    return evaluate.evaluate(model, own.pixels, own.split.test, own.manifest, own.split, part="test")


def keep_stress(path: Path, judged: Evaluation, stressed: tuple[StressFigures, ...]) -> bool:
    """Write figures under stress into the model file, if they are of its own test part; say whether they were."""
    from lungcli.modelfile import model_file

    card = model_file.read_card(path)
    if (judged.part, judged.split_digest) != ("test", card.split.digest):
        return False
    model_file.recard(path, msgspec.structs.replace(card, stress=stressed))
    return True


def keep_figures(path: Path, judged: Evaluation) -> bool:
    """Write figures into a model file that has none, if they are of its own test part; say whether they were."""
    from lungcli.modelfile import model_file

    card = model_file.read_card(path)
    if card.figures is not None or (judged.part, judged.split_digest) != ("test", card.split.digest):
        return False
    model_file.recard(path, msgspec.structs.replace(card, figures=judged.figures()))
    return True


def keep_elsewhere(path: Path, found: Iterable[Elsewhere]) -> None:
    """Write the figures of a user's own folders into the model file, in place of earlier ones of the same slices."""
    from lungcli.evaluation import external_validation
    from lungcli.modelfile import model_file

    card = model_file.read_card(path)
    kept = functools.reduce(external_validation.with_folder, found, card.elsewhere)
    model_file.recard(path, msgspec.structs.replace(card, elsewhere=kept))
