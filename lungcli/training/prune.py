"""Structured pruning: whole channels are removed from a trained net, which leaves a smaller net of the same kind.

The widths of a pruned net are recorded by the shapes of its weights alone: `narrow` gives a net as the registry builds
it the widths of a file's tensors, so that pruned weights are saved and loaded like any others.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from lungcli.training.losses import criteria

# Channels that the vector units of CPUs and the blocked kernels of the runtime process at a time.
ROUND_TO = 8


def prune(net: nn.Module, slices: Tensor, labels: Tensor, classes: int, share: float) -> None:
    """Remove `share` (0 to 1) of the channels of every layer of `net`, the least important first.

    Layers that share channels are pruned together (Fang et al., 2301.12900, section 3). The importance of a channel is
    (Σ weight · gradient)² over all weights that use it, the first-order change of the loss without it (Molchanov et
    al., 1906.10771, section 3.1), by the class-weighted cross-entropy on `slices` uint8 (n, 1, S, S) with `labels` (n,)
    of the training part. The outputs of the last layer and the input of the first stay, widths are multiples of 8, and
    the net is left in evaluation mode. The result is deterministic.
    """
    import torch_pruning

    net.cpu().float().to(memory_format=torch.contiguous_format).eval()
    batch = slices.float()
    weights = criteria.class_weights(labels, classes)
    net.zero_grad()
    functional.cross_entropy(net(batch), labels, weight=weights).backward()  # type: ignore[no-untyped-call]
    pruner = torch_pruning.pruner.BasePruner(
        net,
        batch[:1],
        importance=torch_pruning.importance.GroupTaylorImportance(),
        pruning_ratio=share,
        ignored_layers=[net.get_submodule(last_layer_name(net))],
        round_to=ROUND_TO,
    )
    pruner.step()
    net.zero_grad()


def narrow(net: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give the layers of `net` the widths of `tensors`, a state dictionary, where those are smaller than its own.

    Convolutions of one channel each stay so; others keep their number of groups. The weights are left undefined
    where a layer changes. Shapes that pruning cannot produce are left alone: loading then fails.
    """
    last = net.get_submodule(last_layer_name(net))
    for name, module in net.named_modules():
        tensor = tensors.get(f"{name}.weight")
        own = getattr(module, "weight", None)
        if tensor is None or not isinstance(own, Tensor) or not _is_narrower(tensor, own):
            continue
        if module is last and len(tensor) < len(own):
            continue
        if isinstance(module, nn.Conv2d):
            depthwise = module.groups == module.in_channels > 1
            module.groups = len(tensor) if depthwise else module.groups
            module.out_channels, module.in_channels = len(tensor), tensor.shape[1] * module.groups
        elif isinstance(module, nn.Linear):
            module.out_features, module.in_features = tensor.shape
        elif isinstance(module, nn.BatchNorm2d):
            module.num_features = len(tensor)
            module.register_buffer("running_mean", torch.zeros(len(tensor)))
            module.register_buffer("running_var", torch.ones(len(tensor)))
        else:
            continue
        module.weight = nn.Parameter(torch.empty(tensor.shape))
        if module.bias is not None:
            module.bias = nn.Parameter(torch.empty(len(tensor)))


def multiply_adds(net: nn.Module, size: int) -> int:
    """Count the multiply-adds of convolutions and matrix products for one slice of `size` × `size`."""
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        net.eval()(torch.zeros(1, 1, size, size))
    return int(counter.get_total_flops()) // 2


def last_layer_name(net: nn.Module) -> str:
    """Name the layer whose outputs are the logits: the last one defined."""
    layers: list[str] = [name for name, module in net.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    return layers[-1]


def _is_narrower(tensor: Tensor, own: Tensor) -> bool:
    if tensor.shape == own.shape or tensor.ndim != own.ndim or tensor.shape[2:] != own.shape[2:]:
        return False
    return all(cut <= whole for cut, whole in zip(tensor.shape, own.shape, strict=True))
