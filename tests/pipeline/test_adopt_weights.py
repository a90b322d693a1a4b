"""Adopted weights of nets of three channels and of one: both kinds of file predict the same, and teach in torch."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file

from lungcli.core import runs
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.core.recipe import Recipe
from lungcli.modelfile import foreign_net, model_file, model_paths
from lungcli.modelfile.foreign_net import Conventions
from lungcli.pipeline import adopt_weights, teachers
from lungcli.training import state_dict, trainer
from tests.modelfile import graphs

pytestmark = pytest.mark.long

SIZE = 64
NORMALISATION = {3: foreign_net.SCALES["imagenet"], 1: ((0.4,), (0.3,))}


def weights_of(folder: Path, channels: int) -> tuple[torch.nn.Module, Path]:
    """A ResNet18 for pictures of so many channels, and its weights as a file."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(channels)
        net = torchvision.models.resnet18(num_classes=3).eval()
        net.conv1 = torch.nn.Conv2d(channels, 64, 7, 2, 3, bias=False)
    save_file(net.state_dict(), folder / "net.safetensors")
    return net, folder / "net.safetensors"


def said(of: int, **changes: object) -> Conventions:
    mean, std = NORMALISATION[of]
    values = {"classes": ("normal", "benign", "malignant"), "mean": mean, "std": std, "resize": "stretch", "size": SIZE}
    return Conventions(**values | changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=[3, 1])
def channels(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def adopted(channels: int, tmp_path_factory: pytest.TempPathFactory) -> tuple[torch.nn.Module, Path]:
    """The source, and the folder in which it is adopted as `mine`."""
    folder = tmp_path_factory.mktemp("adopted")
    net, weights = weights_of(folder, channels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LUNGCLI_HOME", str(folder / "home"))
        adopt_weights.adopt_weights(weights, folder / "models" / "mine.onnx", said(channels))
    return net, folder / "models"


@pytest.fixture
def model(adopted: tuple[torch.nn.Module, Path], home: Path) -> Path:
    """The adopted model in the home of the test."""
    shutil.copytree(adopted[1], home / "models")
    return model_paths.resolve("mine")


def test_it_predicts_what_torch_does_from_the_file_and_from_its_weights(
    adopted: tuple[torch.nn.Module, Path], model: Path, channels: int
) -> None:
    """The input is made here by hand; classes are in alphabetical order there."""
    slices = graphs.slices(3, size=SIZE)
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in NORMALISATION[channels])
    grey = torch.from_numpy(slices[:, None]).float()
    with torch.inference_mode():
        expected = adopted[0]((grey / 255 - mean) / std)[:, [1, 2, 0]].numpy()
        teacher = trainer.load_teacher(trainer.Teacher(model="resnet18", weights=model), Recipe(data="x", model="x"), 3)
        given = teacher(grey).numpy()
    assert isinstance(teacher, state_dict.Preprocessed)
    np.testing.assert_allclose(given, expected, atol=1e-4)
    np.testing.assert_allclose(model_file.load(model).logits(slices), expected, atol=1e-4)
    adoption = model_file.read_card(model).adopted
    assert adoption is not None
    assert adoption.channels == channels


def test_a_run_that_it_teaches_has_its_weights(model: Path, phantom: None) -> None:
    from lungcli.pipeline import stages

    recipe = Recipe(data="phantom", model="ownmodel", teacher="adopted:mine", size=SIZE, resize="stretch")
    run = runs.create("small", "distill", recipe, teacher_run="mine")
    teachers.reuse_teacher(run, "teacher", stages.load_run_data(recipe))
    model.unlink()
    assert state_dict.restore(run.stage("teacher") / model_paths.MODEL)


def test_weights_that_are_not_those_of_the_file_do_not_teach(model: Path) -> None:
    """The file itself does, as where there are none."""
    weights, teacher = model_paths.weights_beside(model), trainer.Teacher(model="resnet18", weights=model)
    assert trainer.in_words(teacher) == "resnet18 in torch"
    with weights.open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\0\0\0@")
    assert state_dict.restore(model) is None
    weights.unlink()
    assert state_dict.restore(model) is None
    assert trainer.in_words(teacher) == "resnet18 in ONNX Runtime"
    loaded = trainer.load_teacher(teacher, Recipe(data="x", model="x", threads=1), 3)
    assert loaded(torch.zeros(1, 1, SIZE, SIZE)).shape == (1, 3)


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"channels": 3}, ModelFileError, "a net of 1 channel, not 3"),
        ({"layout": "NHWC"}, ModelFileError, "whose net has NCHW, not NHWC"),
        ({"activation": "softmax"}, ModelFileError, "whose net has logits, not softmax"),
        ({"mean": (0.1, 0.2, 0.3)}, UsageError, "--mean has 3 values, and the net takes pictures of 1 channel$"),
    ],
)
def test_what_the_weights_contradict_is_refused(
    tmp_path: Path, changes: dict[str, object], error: type[Exception], reason: str
) -> None:
    _, weights = weights_of(tmp_path, 1)
    with pytest.raises(error, match=reason):
        adopt_weights.adopt_weights(weights, tmp_path / "mine.onnx", said(1, **changes))
    assert not (tmp_path / "mine.onnx").exists()
