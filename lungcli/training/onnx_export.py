"""From a trained net to an ONNX graph whose input is prepared slices, uint8."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from lungcli.core import paths

OPSET = 18
# Elements of a constant that may be folded while a net is exported.
_LARGEST_CONSTANT = 1 << 24


class _UInt8Input(nn.Module):
    """Takes uint8 slices, so that the file itself says what pixels it expects."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K) float32 of uint8 slices (N, 1, S, S)."""
        return cast(Tensor, self.net(slices.float())).float()


class _WithEvidence(_UInt8Input):
    """Returns a class activation map (the evidence) beside the logits.

    Class activation mapping (Zhou et al., 1512.04150, section 2): where a net averages its last features and ends in
    one dense layer, that layer can be applied at every position and the result averaged.
    """

    def __init__(self, net: nn.Module, features: nn.Module, head: nn.Linear) -> None:
        super().__init__(net)
        self.head = head
        self.seen: list[Tensor] = []
        features.register_forward_hook(lambda _module, _inputs, output: self.seen.append(output))

    def forward(self, slices: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Logits (N, K) and evidence (N, K, h, w), float32; its mean over positions is the logits."""
        self.seen.clear()
        logits = super().forward(slices)
        evidence = functional.conv2d(self.seen.pop(), self.head.weight[:, :, None, None], self.head.bias)
        return logits, evidence.float()


def export(net: nn.Module, size: int, to: Path) -> None:
    """Write `net` to the file `to`: input `slice` uint8 (N, 1, size, size), output `logits` float32 (N, K).

    Where the net averages its last features and ends in one dense layer, a second output `evidence` float32
    (N, K, h, w) is the class activation map, whose mean over positions is the logits. N is free; batch normalisation
    is folded by the runtime. The net is left in evaluation mode, and its activations no longer work in place.
    """
    net = net.cpu().float().to(memory_format=torch.contiguous_format).eval()
    # Tracing an in-place activation takes the exporter up to half of its time, and the graph is the same without.
    for module in net.modules():
        if hasattr(module, "inplace"):
            setattr(module, "inplace", False)  # noqa: B010 - to mypy the attribute of a module is another module
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    parts = _evidence_parts(net, size)
    wrapped = _WithEvidence(net, *parts) if parts else _UInt8Input(net)
    with paths.scratch("graph") as scratch, _silenced_exporter():
        program = torch.onnx.export(
            wrapped,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["slice"],
            output_names=["logits", "evidence"] if parts else ["logits"],
            dynamic_shapes={"slices": {0: torch.export.Dim("slices")}},
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        _fold(program)
        graph = scratch / "graph.onnx"
        program.save(graph, external_data=False)
        to.write_bytes(graph.read_bytes())


def _evidence_parts(net: nn.Module, size: int) -> tuple[nn.Module, nn.Linear] | None:
    """Return the last feature layer and the dense layer of a net whose logits are the mean of an activation map."""
    heads = [module for module in net.modules() if isinstance(module, nn.Linear)]
    if not heads:
        return None
    body = net
    while len(children := list(body.children())) == 1:
        (body,) = children
    slices = torch.randint(0, 256, (2, 1, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for features in reversed(children):
        outputs: list[object] = []
        hook = features.register_forward_hook(lambda _module, _inputs, output, outputs=outputs: outputs.append(output))
        with torch.inference_mode():
            logits = net(slices.float())
        hook.remove()
        maps = outputs[-1] if outputs else None
        if isinstance(maps, Tensor) and maps.ndim == 4 and maps.shape[1] == heads[-1].in_features:
            evidence = heads[-1](maps.mean(dim=(2, 3)))
            if min(maps.shape[2:]) > 1 and torch.allclose(evidence, logits, rtol=1e-3, atol=1e-4):
                return features, heads[-1]
    return None


def _fold(program: "torch.onnx.ONNXProgram") -> None:
    """Fold constants, however large: the masks of shifted windows, for one."""
    from onnxscript import optimizer

    optimizer.fold_constants(program.model, should_fold=lambda _node: True, output_size_limit=_LARGEST_CONSTANT)
    optimizer.remove_unused_nodes(program.model)


@contextlib.contextmanager
def _silenced_exporter() -> Iterator[None]:
    """Hide the exporter's messages about its own internals from the user."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
