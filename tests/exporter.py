"""The exporter of nets, with its table of operators built once a process: that takes it a second for every net."""

import contextlib
import functools
import importlib
import sys
import tempfile
from pathlib import Path

from torch import nn
from torch.onnx._internal.exporter._registration import ONNXRegistry

from lungcli.training import onnx_export


def build_operators_once() -> None:
    """Keep the table from here on, in this process and those forked from it: nothing writes into it."""
    if not hasattr(ONNXRegistry.from_torchlib, "cache_info"):
        setattr(ONNXRegistry, "from_torchlib", staticmethod(functools.cache(ONNXRegistry.from_torchlib)))  # noqa: B010


def warm_up() -> None:
    """Export a net of three layers, by which the exporter imports and builds what every export needs."""
    build_operators_once()
    # Its thread would be missing in processes forked from this one.
    importlib.import_module("tqdm").tqdm.monitor_interval = 0
    net = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))
    # A server answers on stdout.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(sys.stderr):
        onnx_export.export(net, 32, Path(folder, "graph.onnx"))
