"""Adopting a state dict: the net of the registry that it belongs to is exported with these weights, and adopted."""

import dataclasses
import hashlib
from pathlib import Path

import msgspec
import numpy as np

from lungcli.core import package_data, paths
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.imaging.preprocessing import prepare_file
from lungcli.modelfile import adopt, foreign_net, model_file
from lungcli.modelfile.adopt import Adopted
from lungcli.modelfile.foreign_net import Conventions

SUFFIXES = (".safetensors", ".pt", ".pth")


def adopt_weights(source: Path, to: Path, typed: Conventions) -> Adopted:
    """Make the model file `to` of weights of a net of the registry with three channels, as torchvision has it.

    Raises UsageError for what must be said, ModelFileError for a file that holds no such weights.
    """
    from lungcli.training import state_dict

    if missing := [foreign_net.OPTIONS[field] for field in ("size", "mean", "resize") if not getattr(typed, field)]:
        raise UsageError(f"{source} holds weights alone", f"add {', '.join(missing)}")
    if not typed.classes or not typed.std:
        raise UsageError(f"{source} holds weights alone", "add --classes A,B,… in the order of its output")
    slices = np.stack(
        [prepare_file(path, typed.size or 0, typed.resize or "lungs") for path in package_data.slices().values()]
    )
    with paths.scratch("weights") as scratch:
        graph, trial = scratch / source.name, scratch / to.name
        name, expected = state_dict.export(source, typed, slices, graph)
        said = Conventions(classes=typed.classes, resize=typed.resize, activation="logits")
        adopted = adopt.adopt(graph, trial, said, "logits")
        ours = model_file.load(trial, threads=1).logits(slices)
        change = float(np.abs(ours - expected[:, np.argsort(typed.classes)]).max())
        if change > adopt.TOLERANCE * max(1.0, float(np.abs(expected).max())):
            raise ModelFileError(f"{source} cannot be adopted: exported, its logits change by {change:.2g}", "")
        origin = adopted.card.adopted
        if origin:
            sha256 = hashlib.sha256(source.read_bytes()).hexdigest()
            origin = msgspec.structs.replace(origin, sha256=sha256, channels=3, mean=typed.mean or (), std=typed.std)
        card = msgspec.structs.replace(adopted.card, model=name, adopted=origin)
        model_file.write(trial, card, to)
    return dataclasses.replace(adopted, card=card)
