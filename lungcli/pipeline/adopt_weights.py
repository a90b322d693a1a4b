"""Adopting a state dict: the net that it belongs to is exported with these weights, and adopted."""

import dataclasses
import hashlib
from pathlib import Path

import msgspec
import numpy as np

from lungcli.core import paths
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.modelfile import adopt, foreign_metadata, foreign_net, model_file, model_paths
from lungcli.modelfile.adopt import Adopted
from lungcli.modelfile.foreign_net import Conventions
from lungcli.modelfile.model_card import Adoption

SUFFIXES = (".safetensors", ".pt", ".pth")


def adopt_weights(source: Path, to: Path, typed: Conventions, net: str = "") -> Adopted:
    """Make the model file `to` of weights: of the net of timm called `net`, else of one of the registry.

    The weights are kept beside it, to teach in torch. Raises UsageError for what must be said, ModelFileError for a
    file that holds no such weights.
    """
    from lungcli.training import state_dict

    beside = foreign_metadata.beside(source)
    said, reasons = foreign_net.merge([(foreign_net.COMMAND_LINE, typed), *beside.parts])
    missing = [foreign_net.OPTIONS[field] for field in ("size", "mean", "resize") if not getattr(said, field)]
    missing += ["--classes A,B,… in the order of its output"] * (not said.classes)
    if missing or not said.std:
        raise UsageError(f"{source} holds weights alone", f"add {', '.join(missing or ['--std'])}")
    slices = adopt.bundled_slices(said.size or 0, said.resize or "lungs")
    with paths.scratch("weights") as scratch:
        graph, trial = scratch / source.name, scratch / to.name
        exported = state_dict.export(source, said, slices, graph, net or beside.net)
        said_of_graph = Conventions(classes=tuple(sorted(said.classes or ())), resize=said.resize, activation="logits")
        adopted = adopt.adopt(graph, trial, said_of_graph, "logits")
        change = float(np.abs(model_file.load(trial, threads=1).logits(slices) - exported.logits).max())
        if change > adopt.TOLERANCE * max(1.0, float(np.abs(exported.logits).max())):
            raise ModelFileError(f"{source} cannot be adopted: exported, its logits change by {change:.2g}", "")
        adoption = Adoption(
            sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
            layout="NCHW",
            channels=exported.channels,
            mean=said.mean or (),
            std=said.std or (),
            activation="logits",
            largest_change=adopted.largest_change,
            weights=hashlib.sha256(exported.weights).hexdigest(),
            timm=bool(net or beside.net),
        )
        card = msgspec.structs.replace(adopted.card, model=exported.name, adopted=adoption)
        model_file.write(trial, card, to)
        paths.atomic_write(model_paths.weights_beside(to), exported.weights)
    said = msgspec.structs.replace(said, channels=exported.channels, layout="NCHW", activation="logits")
    reasons |= dict.fromkeys(("channels", "layout", "activation"), "its net")
    return dataclasses.replace(adopted, card=card, conventions=said, reasons=reasons)
