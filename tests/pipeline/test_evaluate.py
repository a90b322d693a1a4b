"""Evaluating on other data: what the model has seen is never called other data."""

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from lungcli.core.errors import UsageError
from lungcli.datasets import manifest, splits, training_slices
from lungcli.datasets.ingest import importer
from lungcli.datasets.manifest import Manifest
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import SplitCard
from lungcli.modelfile.model_file import Model
from lungcli.pipeline import evaluate, stages
from tests.modelfile import graphs


def trained_on_phantom(folder: Path) -> tuple[Model, Manifest, splits.Split]:
    """A net whose card says that it was trained on a split of the phantom."""
    data = manifest.load("phantom")
    split = splits.make_split(data)
    known = training_slices.record(data, (*split.train, *split.val))
    model = model_file.load(graphs.model_file(folder / "m.onnx", training_slices=known), threads=1)
    return model, data, split


def imported(data: Manifest, indices: Sequence[int], folder: Path) -> Manifest:
    """Some slices of a data set, as somebody else would import them."""
    for i in indices:
        item = data.slices[i]
        target = folder / item.label / f"{i:03d}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest.folder(data.name) / item.path, target)
    return importer.import_dataset(folder, "mine")


@pytest.mark.usefixtures("phantom")
def test_training_slices_under_another_name_are_left_out(tmp_path: Path) -> None:
    model, data, split = trained_on_phantom(tmp_path)
    imported(data, (*split.train[:9], *split.test), tmp_path / "mine")

    ((title, warning, evaluation),) = evaluate.evaluate_on(model, "mine", random=False)

    # The net has three classes, and so has the test part.
    assert len(evaluation.slices) == len(split.test)
    assert title == f"mine, {len(split.test)} of {len(split.test) + 9} slices"
    assert warning.startswith("9 slices are left out: the model was trained on them")


@pytest.mark.usefixtures("phantom")
def test_nothing_but_training_slices_is_refused(tmp_path: Path) -> None:
    model, data, split = trained_on_phantom(tmp_path)
    imported(data, split.train, tmp_path / "mine")

    with pytest.raises(UsageError, match="the model was trained on 'mine', or copies of it") as caught:
        evaluate.evaluate_on(model, "mine", random=False)
    assert "'phantom' is the name of its own" in caught.value.hint


@pytest.mark.usefixtures("phantom")
def test_other_slices_are_all_evaluated(tmp_path: Path) -> None:
    model, data, split = trained_on_phantom(tmp_path)
    imported(data, split.test, tmp_path / "mine")

    ((title, warning, evaluation),) = evaluate.evaluate_on(model, "mine", random=False)

    assert (title, warning) == ("mine, all slices (the model has seen none of them)", "")
    assert len(evaluation.slices) == len(split.test)


@pytest.mark.usefixtures("phantom")
@pytest.mark.parametrize("unsigned", ["the model file", "the data set 'mine'"])
def test_without_signatures_nothing_is_claimed_of_copies(tmp_path: Path, unsigned: str) -> None:
    model, data, split = trained_on_phantom(tmp_path)
    mine = imported(data, split.test, tmp_path / "mine")
    if unsigned == "the model file":
        known = model.card.training_slices
        assert known is not None
        card = msgspec.structs.replace(model.card, training_slices=msgspec.structs.replace(known, signatures=b""))
        model = dataclasses.replace(model, card=card)
    else:
        slices = tuple(msgspec.structs.replace(item, signature="") for item in mine.slices)
        manifest.save(manifest.build("mine", slices, (), mine.source), manifest.folder("mine"))

    ((title, warning, _),) = evaluate.evaluate_on(model, "mine", random=False)

    assert title == "mine, all slices (none has the content of a training slice)"
    assert f"encoded anew are not recognised, since {unsigned} is of an earlier version" in warning


@pytest.mark.usefixtures("phantom")
def test_a_model_file_that_does_not_say_claims_nothing(tmp_path: Path) -> None:
    model = model_file.load(graphs.model_file(tmp_path / "m.onnx"), threads=1)

    ((title, warning, _),) = evaluate.evaluate_on(model, "phantom", random=False)

    assert title == "phantom, all slices"
    assert "does not say which slices it was trained on" in warning


@pytest.mark.usefixtures("phantom")
def test_models_are_compared_without_what_another_has_seen(tmp_path: Path) -> None:
    data = manifest.load("phantom")
    split = splits.make_split(data)
    ours = graphs.model_file(
        tmp_path / "ours.onnx",
        data=msgspec.structs.replace(graphs.card().data, digest=data.digest),
        split=SplitCard(protocol="grouped", seed=0, digest=split.digest),
        training_slices=training_slices.record(data, (*split.train, *split.val)),
    )
    own = model_file.read_card(ours)
    group = data.slices[split.test[0]].group
    known = {
        "nothing": (),
        "a slice": split.test[:1],
        "all": split.test,
    }
    cards = {
        name: graphs.card(training_slices=training_slices.record(data, indices)) for name, indices in known.items()
    }

    whole = evaluate.shared_test_part([own, graphs.card(), cards["nothing"]])
    part = evaluate.shared_test_part([own, cards["nothing"], cards["a slice"]])

    assert whole is not None
    assert (whole.split, whole.left_out) == (split, 0)
    assert part is not None
    assert set(split.test) - set(part.split.test) == {i for i in split.test if data.slices[i].group == group}
    assert part.left_out == len(split.test) - len(part.split.test)
    assert part.split.digest != split.digest
    evaluation = evaluate.evaluation_beside(ours, part)
    assert evaluation is not None
    assert group not in evaluation.groups
    assert len(evaluation.slices) == len(part.split.test)
    with pytest.raises(UsageError, match=f"{len(split.test)} of the {len(split.test)} test slices of 'phantom'"):
        evaluate.shared_test_part([own, cards["all"]])


@pytest.mark.usefixtures("home")
def test_a_data_set_that_nobody_typed_is_not_called_unknown() -> None:
    with pytest.raises(UsageError, match="'phantom', which the model was trained on, is not on this machine") as caught:
        stages.recipe_on(graphs.card(), "")
    assert "name another with --data" in caught.value.hint
    assert stages.recipe_on(graphs.card(), "mine").data == "mine"
