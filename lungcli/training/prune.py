"""Structured pruning: whole channels are cut out of a trained net, and what is left is a smaller net of the same kind.

How wide a pruned net is, is told by the shapes of its weights and by nothing else: `narrow` gives a net as the registry
builds it the widths of a file's tensors, so that pruned weights are kept and loaded like any others.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from lungcli.training.losses import criteria

# What vector units of CPUs and the runtime's blocked kernels work through at a time.
ROUND_TO = 8


def prune(net: nn.Module, slices: Tensor, labels: Tensor, classes: int, share: float) -> None:
    """Cut `share` (0 to 1) of the channels out of every layer of `net`, those that its verdicts hang on least.

    Layers that share channels are cut together (Fang et al., 2301.12900, section 3), and a channel is worth
    (Σ weight · gradient)² over all that it takes part in: the first-order change of the loss without it (Molchanov
    et al., 1906.10771, section 3.1). The gradient is that of the cross-entropy, classes counting the same, on `slices`
    uint8 (n, 1, S, S) with `labels` (n,) of the training part. The outputs of the last layer and the input of the
    first stay, widths are multiples of 8, and the net is left in evaluation mode. Nothing is drawn by lot.
    """
    import torch_pruning

    net.cpu().float().to(memory_format=torch.contiguous_format).eval()
    batch = slices.float()
    weights = criteria.class_weights(labels, classes)
    net.zero_grad()
    functional.cross_entropy(net(batch), labels, weight=weights).backward()  # type: ignore[no-untyped-call]
    cutter = torch_pruning.pruner.BasePruner(
        net,
        batch[:1],
        importance=torch_pruning.importance.GroupTaylorImportance(),
        pruning_ratio=share,
        ignored_layers=[_last_layer(net)],
        round_to=ROUND_TO,
    )
    cutter.step()
    net.zero_grad()


def narrow(net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give the layers of `net` the widths of `tensors`, a state dictionary, where those are smaller than its own.

    Convolutions of one channel each stay so; others keep their number of groups. The weights are left undefined
    where a layer changes. What can't be had by cutting channels is left as it is, for the loading to refuse.
    """
    last = _last_layer(net)
    for name, module in net.named_modules():
        found = tensors.get(f"{name}.weight")
        own = getattr(module, "weight", None)
        if found is None or not isinstance(own, Tensor) or not _is_narrower(found, own):
            continue
        if module is last and len(found) < len(own):
            continue
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels > 1
            module.groups = len(found) if depthwise else module.groups
            module.out_channels, module.in_channels = len(found), found.shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = found.shape
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features = len(found)
            module.register_buffer("running_mean", torch.zeros(len(found)))
            module.register_buffer("running_var", torch.ones(len(found)))
        else:
            continue
        module.weight = nn.Parameter(torch.empty(found.shape))
        if module.bias is not None:
            module.bias = nn.Parameter(torch.empty(len(found)))


def multiply_adds(net: nn.Module, size: int) -> int:
    """Count the multiply-adds of convolutions and matrix products for one slice of `size` × `size`."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.eval()(torch.zeros(1, 1, size, size))
    return int(counter.get_total_flops()) // 2


def _last_layer(net: nn.Module) -> nn.Module:
    """The layer that gives the logits, in the order of definition."""
    return [module for module in net.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]


def _is_narrower(found: Tensor, own: Tensor) -> bool:
    if found.shape == own.shape or found.ndim != own.ndim or found.shape[2:] != own.shape[2:]:
        return False
    return all(cut <= whole for cut, whole in zip(found.shape, own.shape, strict=True))
