"""A net that no model file can be made of is refused before its first epoch, and checking changes nothing."""

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lungcli.core import recipe as recipes
from lungcli.core import registry, runs
from lungcli.core.errors import UsageError
from lungcli.core.events import RunStarted
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Run
from lungcli.datasets.phantom import dataset
from lungcli.pipeline import export_check, jobs, stages
from lungcli.training import trainer

PLACE = {"size": 64, "epochs": 1, "batch": 16, "device": "cpu", "threads": 1, "precision": "float32"}


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, stride=8), nn.Linear(4, 3)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class _Sorting(_Net):
    """Its graph has an operator that no model file has."""

    def forward(self, slices: Tensor) -> Tensor:
        return self.logits(self.stem(slices).sort(dim=3).values)


class _Moody(_Net):
    """It does one thing or another by what it sees, which cannot be exported."""

    def forward(self, slices: Tensor) -> Tensor:
        features = self.stem(slices)
        return self.logits(features if features.sum() > 0 else -features)


class _Asking(_Net):
    """It does one thing or another by a size, which can be exported, but not taken apart."""

    def forward(self, slices: Tensor) -> Tensor:
        features = self.stem(slices)
        return self.logits(features if features.shape[2] > 1 else -features)


def asking(num_classes: int) -> nn.Module:
    assert num_classes == 3
    return _Asking()


def sorting(num_classes: int) -> nn.Module:
    assert num_classes == 3
    return _Sorting()


def moody(num_classes: int) -> nn.Module:
    assert num_classes == 3
    return _Moody()


@pytest.fixture(autouse=True)
def odd(monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with nets that cannot become model files, or not everything that others can."""
    for name in ("asking", "moody", "sorting"):
        row = registry.ArchSpec(name=name, about="", build=f"tests.pipeline.test_export_check:{name}", millions=0.1)
        monkeypatch.setitem(registry.NETS, name, row)


def started(kind: runs.Kind, **settings: object) -> tuple[Run, stages.RunData]:
    dataset.make(slices=45, side=64)
    run = jobs.start(kind, recipes.make(data="phantom", **{**PLACE, **settings}))[0]
    return run, stages.load_run_data(run.recipe)


@pytest.mark.parametrize(
    ("name", "why"), [("sorting", "it has the operator '"), ("moody", "moody cannot be exported, so it is not trained")]
)
def test_a_net_that_cannot_become_a_model_file_is_refused_before_any_work(name: str, why: str) -> None:
    for kind, settings in (("train", {"model": name}), ("distill", {"model": name, "teacher": "ownmodel"})):
        run, found = started(kind, **settings)  # type: ignore[arg-type]
        events = jobs.execute(run, found)
        assert isinstance(next(events), RunStarted)
        with pytest.raises(UsageError, match=why) as caught:
            list(events)
        assert not set("\n\x1b") & set(caught.value.message)
        assert "lungcli models list" in caught.value.hint
        assert not [path for path in run.folder.rglob("*") if "checkpoint" in path.name or path.suffix == ".onnx"]


def test_too_large_a_graph_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcli.modelfile.graph_limits.MOST_VALUES", 1000)
    run, found = started("train", model="ownmodel")
    with pytest.raises(UsageError, match=r"no model file can be made of ownmodel at 64 pixels.* values a slice"):
        export_check.require_exportable(run, len(found.manifest.classes))


def test_what_cannot_be_fine_tuned_in_int8_is_refused_as_well() -> None:
    run, found = started("compress", model="asking", teacher="asking", qat_epochs=1)
    with pytest.raises(UsageError, match="asking cannot be fine-tuned in int8"):
        export_check.require_exportable(run, len(found.manifest.classes))
    run, found = started("compress", model="asking", teacher="asking")
    export_check.require_exportable(run, len(found.manifest.classes))


def test_checking_draws_nothing_and_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = started("compress", model="ownmodel", teacher="ownmodel")
    exported: list[str] = []
    real = trainer.export_untrained

    def counted(model: str, classes: int, size: int, to: Path, *, tuned: bool = False) -> None:
        exported.append(model)
        real(model, classes, size, to, tuned=tuned)

    monkeypatch.setattr(trainer, "export_untrained", counted)
    before = torch.get_rng_state()
    export_check.require_exportable(run, len(found.manifest.classes))
    assert torch.equal(torch.get_rng_state(), before)
    assert exported == ["ownmodel"]
    export_check.require_exportable(run, len(found.manifest.classes))
    assert exported == ["ownmodel"]

    changed = dataclasses.replace(registry.net("ownmodel"), grey_mean=1.0)
    monkeypatch.setitem(registry.NETS, "ownmodel", changed)
    export_check.require_exportable(run, len(found.manifest.classes))
    assert exported == ["ownmodel", "ownmodel"]


def test_a_training_that_has_begun_is_not_checked_again() -> None:
    run, found = started("train", model="sorting")
    run.stage("train").mkdir()
    (run.stage("train") / "checkpoint.safetensors").touch()
    export_check.require_exportable(run, len(found.manifest.classes))


def able(kind: runs.Kind, **settings: object) -> Recipe:
    dataset.make(slices=45, side=64)
    return jobs.resolve(kind, recipes.make(data="phantom", **{**PLACE, **settings}))[0]


def test_what_a_row_says_a_net_cannot_do_is_refused_before_a_run_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no ImageNet weights for ownmodel") as caught:
        able("distill", model="ownmodel", teacher="resnet18", pretrained=True)
    assert "--pretrained" in caught.value.hint
    for pair in ({"model": "vit-b-16", "teacher": "resnet18"}, {"model": "resnet18", "teacher": "vit-b-16"}):
        with pytest.raises(UsageError, match="--method attention compares feature maps, and vit-b-16 has none"):
            able("distill", method="attention", **pair)
        able("distill", method="kd", **pair)
    monkeypatch.setitem(registry.NETS, "sorting", dataclasses.replace(registry.NETS["sorting"], quantizable="no"))
    with pytest.raises(UsageError, match="sorting cannot be quantized to int8"):
        able("compress", model="sorting", teacher="resnet18")
    with pytest.raises(UsageError, match="convnext-tiny cannot be pruned"):
        able("compress", model="convnext-tiny", teacher="resnet18", prune=0.5)
    assert not runs.known()
