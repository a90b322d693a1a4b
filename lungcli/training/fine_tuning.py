"""Training that keeps what a pretrained net knows: its head first, then gently the layers before it.

Fine-tuning all layers at once from a random head distorts good features and does worse out of distribution (Kumar et
al., 2202.10054). So the head is fitted to frozen features first; then layers learn the less the earlier they come, the
first not at all, and batch normalisation keeps the statistics that its features were learned with.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.metrics.classification import Floats, Ints

# Of the squared weights on standardized features; chosen on frozen EfficientNet-Lite0 features of four hospitals.
_PENALTY = 1e-2
_LEAST_DEVIATION = 1e-3


def freeze(net: nn.Module, share: float) -> None:
    """Keep the weights of the first `share` of the layers of `net` as they are; a layer has weights of its own."""
    layers = [module for module in net.modules() if any(True for _ in module.parameters(recurse=False))]
    for layer in layers[: int(share * len(layers))]:
        layer.requires_grad_(requires_grad=False)


def set_training_mode(net: nn.Module, recipe: Recipe) -> None:
    """Put `net` into training mode, but for batch normalisation that is frozen, whose statistics stay too."""
    net.train()
    for module in net.modules():
        if isinstance(module, _BatchNorm) and (recipe.freeze_norm or _is_frozen(module)):
            module.eval()


def optimizer(net: nn.Module, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW that decays kernels and matrices but neither biases nor normalisation.

    Each group's `scale` is what the learning rate is multiplied by: from 1 at the head down to the recipe's
    `stem_rate` at the first layer, geometrically, as in layer-wise decay (Bao et al., 2106.08254, appendix).
    """
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    last = max(1, len(weights) - 1)
    scales = {1.0: weights}
    if recipe.stem_rate < 1:
        scales = {recipe.stem_rate ** ((last - index) / last): [weight] for index, weight in enumerate(weights)}
    groups = [
        {"params": params, "weight_decay": decay, "scale": scale}
        for scale, members in scales.items()
        for decay, params in (
            (recipe.weight_decay, [weight for weight in members if weight.ndim > 1]),
            (0.0, [weight for weight in members if weight.ndim <= 1]),
        )
        if params
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def fit_head(net: nn.Module, batches: Iterator[Tensor], labels: Ints, weights: Floats, smoothing: float) -> None:
    """Fit the last linear layer of `net` to the features before it: a logistic regression, weighted and penalized.

    `batches` are slices, float32 (N, 1, S, S), in the order of `labels` (n,); `weights` (n,) sum to 1. Raises
    UsageError for a net whose last layer is not linear.
    """
    head = _head(net)
    features = _features(net, head, batches)
    mean = features.mean(dim=0)
    deviation = features.std(dim=0) + _LEAST_DEVIATION
    standardized, targets = (features - mean) / deviation, torch.from_numpy(labels).to(features.device)
    shares = torch.from_numpy(weights).float().to(features.device)
    weight = torch.zeros_like(head.weight, requires_grad=True)
    bias = torch.zeros(head.out_features, device=weight.device, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = functional.linear(standardized, weight, bias)
        losses = functional.cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
        value = (losses * shares).sum() + _PENALTY / 2 * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        head.weight.copy_(weight / deviation)
        head.bias.copy_(bias - head.weight @ mean)


def _is_frozen(module: nn.Module) -> bool:
    return not any(weight.requires_grad for weight in module.parameters(recurse=False))


def _head(net: nn.Module) -> nn.Linear:
    last = [module for module in net.modules() if any(True for _ in module.parameters(recurse=False))][-1]
    if not isinstance(last, nn.Linear):
        raise UsageError("the last layer of this net is not linear, so it cannot be fitted first", "leave --probe out")
    return last


def _features(net: nn.Module, head: nn.Linear, batches: Iterator[Tensor]) -> Tensor:
    """Return the inputs of `head`, float32 (n, F), in evaluation mode."""
    features: list[Tensor] = []
    hook = head.register_forward_pre_hook(lambda _module, inputs: features.append(inputs[0].detach().float()))
    net.eval()
    with torch.no_grad():
        for slices in batches:
            net(slices)
    hook.remove()
    return torch.cat(features)
