"""From a trained net to an ONNX graph that takes prepared slices as they are."""

import contextlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

OPSET = 18


class _TakesBytes(nn.Module):
    """Takes uint8 slices, so that the file itself says what pixels it wants."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, slices: Tensor) -> Tensor:
        """Logits (N, K) float32 of uint8 slices (N, 1, S, S)."""
        return cast(Tensor, self.net(slices.float())).float()


def export(net: nn.Module, size: int, to: Path) -> None:
    """Write `net` to the file `to`: input `slice` uint8 (N, 1, size, size), output `logits` float32 (N, K).

    N is free; batch normalisation is folded by the runtime. The net is left in evaluation mode.
    """
    wrapped = _TakesBytes(net.cpu().float().to(memory_format=torch.contiguous_format)).eval()
    example = torch.zeros(2, 1, size, size, dtype=torch.uint8)
    with tempfile.TemporaryDirectory() as scratch, _quiet():
        program = torch.onnx.export(
            wrapped,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=["slice"],
            output_names=["logits"],
            dynamic_shapes={"slices": {0: torch.export.Dim("slices")}},
            verbose=False,
        )
        if program is None:
            raise RuntimeError("the exporter returned nothing")
        graph = Path(scratch) / "graph.onnx"
        program.save(graph, external_data=False)
        to.write_bytes(graph.read_bytes())


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's remarks about its own insides from the user."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
