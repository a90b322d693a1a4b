"""A net that cannot be exported is refused before its first epoch, and checking changes nothing."""

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
from lungcli.pipeline import export_check, jobs, stages
from lungcli.training import trainer

PLACE = {"size": 64, "epochs": 1, "batch": 16, "device": "cpu", "threads": 1, "precision": "float32"}


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, stride=8), nn.Linear(4, 3)

    def logits(self, features: Tensor) -> Tensor:
        return self.head(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class _UnsupportedOperator(_Net):
    """Its graph has an operator that no model file has."""

    def forward(self, slices: Tensor) -> Tensor:
        return self.logits(self.stem(slices).sort(dim=3).values)


class _DataDependent(_Net):
    """Its branch depends on pixel values, which cannot be exported."""

    def forward(self, slices: Tensor) -> Tensor:
        features = self.stem(slices)
        return self.logits(features if features.sum() > 0 else -features)


class _SizeDependent(_Net):
    """Its branch depends on a size, which can be exported but not fine-tuned in int8."""

    def forward(self, slices: Tensor) -> Tensor:
        features = self.stem(slices)
        return self.logits(features if features.shape[2] > 1 else -features)


def size_dependent(num_classes: int) -> nn.Module:
    assert num_classes == 3
    return _SizeDependent()


def unsupported(num_classes: int) -> nn.Module:
    assert num_classes == 3
    return _UnsupportedOperator()


def data_dependent(num_classes: int) -> nn.Module:
    assert num_classes == 3
    return _DataDependent()


@pytest.fixture(autouse=True)
def unexportable_nets(phantom: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A registry with nets that cannot become model files, or not everything that others can."""
    del phantom
    for name in ("size-dependent", "data-dependent", "unsupported"):
        row = registry.ArchSpec(
            name=name, about="", build=f"tests.pipeline.test_export_check:{name.replace('-', '_')}", millions=0.1
        )
        monkeypatch.setitem(registry.NETS, name, row)


def started(kind: runs.Kind, **settings: object) -> tuple[Run, stages.RunData]:
    run = jobs.start(kind, recipes.make(data="phantom", **{**PLACE, **settings}))[0]
    return run, stages.load_run_data(run.recipe)


@pytest.mark.parametrize(
    ("kind", "settings", "why"),
    [
        ("train", {"model": "unsupported"}, "it has the operator '"),
        (
            "distill",
            {"model": "data-dependent", "teacher": "ownmodel"},
            "data-dependent cannot be exported, so it is not trained",
        ),
    ],
)
def test_a_net_that_cannot_become_a_model_file_is_refused_before_any_work(
    kind: runs.Kind, settings: dict[str, str], why: str
) -> None:
    run, run_data = started(kind, **settings)
    events = jobs.execute(run, run_data)
    assert isinstance(next(events), RunStarted)
    with pytest.raises(UsageError, match=why) as caught:
        list(events)
    assert not set("\n\x1b") & set(caught.value.message)
    assert "lungcli models list" in caught.value.hint
    assert not [path for path in run.folder.rglob("*") if "checkpoint" in path.name or path.suffix == ".onnx"]


def test_too_large_a_graph_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lungcli.modelfile.trial_run._MOST_WAITED", 0.001)
    monkeypatch.setattr("lungcli.modelfile.trial_run.is_known", lambda _content: False)
    run, run_data = started("train", model="ownmodel")
    with pytest.raises(UsageError, match=r"no model file can be made of ownmodel at 64 pixels.* takes more than"):
        export_check.require_exportable(run, len(run_data.manifest.classes))


def test_what_cannot_be_fine_tuned_in_int8_is_refused_as_well() -> None:
    run, run_data = started("compress", model="size-dependent", teacher="size-dependent", qat_epochs=1)
    with pytest.raises(UsageError, match="size-dependent cannot be fine-tuned in int8"):
        export_check.require_exportable(run, len(run_data.manifest.classes))
    run, run_data = started("compress", model="size-dependent", teacher="size-dependent")
    export_check.require_exportable(run, len(run_data.manifest.classes))


def test_checking_changes_no_random_state_and_is_done_once(monkeypatch: pytest.MonkeyPatch) -> None:
    run, run_data = started("compress", model="ownmodel", teacher="ownmodel")
    exported: list[str] = []
    real = trainer.export_untrained

    def counted(model: str, classes: int, size: int, to: Path, *, tuned: bool = False) -> None:
        exported.append(model)
        real(model, classes, size, to, tuned=tuned)

    monkeypatch.setattr(trainer, "export_untrained", counted)
    before = torch.get_rng_state()
    export_check.require_exportable(run, len(run_data.manifest.classes))
    assert torch.equal(torch.get_rng_state(), before)
    assert exported == ["ownmodel"]
    export_check.require_exportable(run, len(run_data.manifest.classes))
    assert exported == ["ownmodel"]

    changed = dataclasses.replace(registry.net("ownmodel"), grey_mean=1.0)
    monkeypatch.setitem(registry.NETS, "ownmodel", changed)
    export_check.require_exportable(run, len(run_data.manifest.classes))
    assert exported == ["ownmodel", "ownmodel"]


def test_a_training_that_has_begun_is_not_checked_again() -> None:
    run, run_data = started("train", model="unsupported")
    run.stage("train").mkdir()
    (run.stage("train") / "checkpoint.safetensors").touch()
    export_check.require_exportable(run, len(run_data.manifest.classes))


def resolved(kind: runs.Kind, **settings: object) -> Recipe:
    return jobs.resolve(kind, recipes.make(data="phantom", **{**PLACE, **settings}))[0]


def test_what_the_registry_excludes_is_refused_before_a_run_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no ImageNet weights for ownmodel") as caught:
        resolved("distill", model="ownmodel", teacher="resnet18", pretrained=True)
    assert "--pretrained" in caught.value.hint
    for pair in ({"model": "vit-b-16", "teacher": "resnet18"}, {"model": "resnet18", "teacher": "vit-b-16"}):
        with pytest.raises(UsageError, match="--method attention compares feature maps, and vit-b-16 has none"):
            resolved("distill", method="attention", **pair)
        resolved("distill", method="kd", **pair)
    monkeypatch.setitem(
        registry.NETS, "unsupported", dataclasses.replace(registry.NETS["unsupported"], quantizable="no")
    )
    with pytest.raises(UsageError, match="unsupported cannot be quantized to int8"):
        resolved("compress", model="unsupported", teacher="resnet18")
    with pytest.raises(UsageError, match="convnext-tiny cannot be pruned"):
        resolved("compress", model="convnext-tiny", teacher="resnet18", prune=0.5)
    assert not runs.known()
