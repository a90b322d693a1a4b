"""Gentle fine-tuning: what is frozen stays, rates fall from head to stem, and the head is fitted first."""

import msgspec
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lungcli.core import recipe as recipes
from lungcli.core.errors import UsageError
from lungcli.training import fine_tuning

RECIPE = recipes.make(data="d", model="ownmodel", device="cpu")


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )


def test_the_first_layers_are_frozen() -> None:
    module = net()
    fine_tuning.freeze(module, 0.7)

    assert [weight.requires_grad for weight in module.parameters()] == [False] * 4 + [True] * 2


def test_nothing_is_frozen_by_default() -> None:
    module = net()
    fine_tuning.freeze(module, RECIPE.freeze)

    assert all(weight.requires_grad for weight in module.parameters())


@pytest.mark.parametrize(
    ("share", "freeze_norm", "training"), [(0, False, True), (0, True, False), (0.7, False, False)]
)
def test_frozen_normalisation_keeps_its_statistics(share: float, freeze_norm: bool, training: bool) -> None:
    module = net()
    fine_tuning.freeze(module, share)
    fine_tuning.set_training_mode(module, msgspec.structs.replace(RECIPE, freeze_norm=freeze_norm))

    assert module[1].training is training
    assert module[0].training


def test_rates_fall_geometrically_from_head_to_stem() -> None:
    groups = fine_tuning.optimizer(net(), msgspec.structs.replace(RECIPE, stem_rate=0.1)).param_groups

    scales = [group["scale"] for group in groups]
    np.testing.assert_allclose(scales, [0.1 ** (1 - index / 5) for index in range(6)])
    assert [group["weight_decay"] for group in groups] == [RECIPE.weight_decay, 0, 0, 0, RECIPE.weight_decay, 0]


def test_one_rate_makes_two_groups_as_before() -> None:
    groups = fine_tuning.optimizer(net(), RECIPE).param_groups

    assert [(group["scale"], group["weight_decay"], len(group["params"])) for group in groups] == [
        (1.0, RECIPE.weight_decay, 2),
        (1.0, 0.0, 4),
    ]


def separable() -> tuple[Tensor, np.ndarray]:
    """Slices whose class is their brightness."""
    labels = np.arange(40) % 2
    noise = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return noise + 3 * torch.from_numpy(labels).view(-1, 1, 1, 1).float(), labels


def test_the_fitted_head_tells_separable_classes_apart_and_leaves_the_rest() -> None:
    module, (slices, labels) = net(), separable()
    before = [weight.clone() for weight in module[:5].state_dict().values()]
    fine_tuning.fit_head(module, iter((slices[:16], slices[16:])), labels, np.full(40, 1 / 40), 0.0)

    with torch.no_grad():
        predicted = module.eval()(slices).argmax(dim=1).numpy()
    assert (predicted == labels).all()
    assert all(torch.equal(old, new) for old, new in zip(before, module[:5].state_dict().values(), strict=True))


def test_the_fit_is_where_the_gradient_of_the_penalized_loss_is_zero() -> None:
    module, (slices, labels) = net(), separable()
    weights = np.linspace(1, 2, 40)
    weights /= weights.sum()
    fine_tuning.fit_head(module, iter([slices]), labels, weights, 0.1)

    with torch.no_grad():
        features = module[:5].eval()(slices)
    deviation = features.std(dim=0) + 1e-3
    standardized = (features - features.mean(dim=0)) / deviation
    weight = (module[5].weight * deviation).detach().requires_grad_()
    bias = (module[5].bias + module[5].weight @ features.mean(dim=0)).detach().requires_grad_()
    losses = nn.functional.cross_entropy(
        nn.functional.linear(standardized, weight, bias),
        torch.from_numpy(labels),
        reduction="none",
        label_smoothing=0.1,
    )
    loss = (losses * torch.from_numpy(weights).float()).sum() + 0.005 * weight.square().sum()
    gradients = torch.autograd.grad(loss, (weight, bias))

    assert max(float(gradient.abs().max()) for gradient in gradients) < 1e-4


def test_a_net_without_a_linear_head_is_named() -> None:
    module = nn.Sequential(nn.Flatten(), nn.Linear(64, 4), nn.Unflatten(1, (4, 1, 1)), nn.Conv2d(4, 2, 1))

    with pytest.raises(UsageError, match="not linear"):
        fine_tuning.fit_head(module, iter([torch.rand(4, 1, 8, 8)]), np.zeros(4, dtype=int), np.full(4, 0.25), 0.0)
