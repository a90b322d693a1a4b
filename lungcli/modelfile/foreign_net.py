"""An ONNX classifier from elsewhere: what it takes and gives, by its metadata, its shapes, and what the user says."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec

from lungcli.core import paths
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.core.recipe import Resize
from lungcli.imaging.preprocessing import VERSION
from lungcli.modelfile import graph_rules, model_file, onnx_wire

if TYPE_CHECKING:
    import onnx

Layout = Literal["NCHW", "NHWC"]
Activation = Literal["logits", "softmax", "sigmoid"]
Scale = Literal["0..1", "0..255", "imagenet"]
# What is subtracted from greys in 0..1, and what they are divided by then.
SCALES: dict[Scale, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0..1": ((0.0,), (1.0,)),
    "0..255": ((0.0,), (1 / 255,)),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}
# As `lungcli export` writes it: see `export.formats.Facts`.
EXPORTED = "lungcli-export"
COMMAND_LINE = "the command line"

_LARGEST = 2**31 - 1
_SIZES = (32, 1024)
_EXPORT_AGAIN = "export it with fixed shapes (only the batch may be open) and plain operators, then adopt that file"
_SCRIPTS_INSIDE = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
OPTIONS = {
    "layout": "--layout NCHW|NHWC",
    "channels": "--channels 1|3",
    "size": "--size PIXELS",
    "mean": "--scale 0..1|0..255|imagenet (or --mean and --std)",
    "resize": "--resize stretch|crop|lungs",
}
# Looked for where a number begins: at each of its digits, a million of them would take hours.
_NAMED_CLASS = re.compile(r"(?<!\d)\d+: ?(?:'([^']*)'|\"([^\"]*)\")")
_OTHER_TASKS = {"detect": "detector", "obb": "detector", "pose": "detector", "segment": "segmenter"}


class Conventions(msgspec.Struct, frozen=True, kw_only=True):
    """What a classifier takes and gives; None where nothing says. `classes` are in the order of its outputs.

    Its input is (grey − `mean`) / `std`, grey in 0..1, with one value for all channels or one for each.
    """

    layout: Layout | None = None
    channels: int | None = None
    size: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: Resize | None = None
    classes: tuple[str, ...] | None = None
    activation: Activation | None = None


class _Exported(msgspec.Struct, frozen=True, kw_only=True):
    """What an adoption needs of the facts in a file that `lungcli export` wrote."""

    classes: tuple[str, ...]
    preparation: int
    resize: Resize = "lungs"
    data: str = ""
    licence: str = ""
    citation: str = ""
    synthetic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ForeignNet:
    """An ONNX file with one input of four dimensions, and one `output` that gives `outputs` values a slice (0: open).

    `sha256` is that of the file; `net` has no other outputs. `shape` has 0 for dimensions that are open; `is_integer`
    nets take uint8. `ends_in` is the last operator.
    """

    path: Path
    sha256: str
    net: "onnx.ModelProto"
    metadata: dict[str, str]
    input: str
    shape: tuple[int, ...]
    is_integer: bool
    output: str
    outputs: int
    ends_in: str

    @property
    def exported(self) -> _Exported | None:
        """The facts of a file that `lungcli export` wrote, else None. Raises ModelFileError where they are damaged."""
        if EXPORTED not in self.metadata:
            return None
        try:
            facts = msgspec.json.decode(self.metadata[EXPORTED], type=_Exported)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ModelFileError(f"the facts in {self.path} are damaged: {error}", "export it again") from error
        if facts.preparation != VERSION:
            raise ModelFileError(
                f"{self.path} takes slices of preparation {facts.preparation}; this lungcli makes {VERSION}",
                "export it again with this version",
            )
        return facts


def read(path: Path, output: str = "") -> ForeignNet:
    """Read an ONNX classifier, running nothing; `output` names the one of several outputs to take.

    Raises ModelFileError for a file that is none, needs another file, or holds what no classifier of slices needs.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        content = paths.read_regular(path, _LARGEST)
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}", "name an ONNX file") from error
    if content.startswith(_SCRIPTS_INSIDE):
        raise ModelFileError(
            f"{path} is a pickle, which may hold programs, and is not read",
            "export the net with torch.onnx.export(net.eval(), torch.zeros(1, 3, 224, 224), 'net.onnx')",
        )
    try:
        summary = onnx_wire.summary(memoryview(content))
    except ValueError as error:
        raise ModelFileError(f"{path} is no ONNX file, or not a whole one", _EXPORT_AGAIN) from error
    try:
        _require_alone(summary)
        graph_rules.require(memoryview(content))
        net = onnx.load_model_from_string(content)
        onnx.checker.check_model(net)
        return _opened(path, hashlib.sha256(content).hexdigest(), net, summary.metadata, output)
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise ModelFileError(f"{path} cannot be adopted: {reason}", _EXPORT_AGAIN) from error


def _require_alone(summary: onnx_wire.Summary) -> None:
    if summary.external:
        raise ValueError("it keeps weights in another file")
    if task := _OTHER_TASKS.get(summary.metadata.get("task", "")):
        raise ValueError(f"its metadata say that it is a {task}")


def _opened(path: Path, sha256: str, net: "onnx.ModelProto", metadata: dict[str, str], output: str) -> ForeignNet:
    """Find the input and the output of a net. Raises ValueError where they are not those of a classifier."""
    from onnx import TensorProto

    weights = {tensor.name for tensor in net.graph.initializer}
    inputs = [item for item in net.graph.input if item.name not in weights]
    outputs = {item.name: item for item in net.graph.output}
    if len(inputs) != 1:
        raise ValueError(f"it has {len(inputs)} inputs ({_listed(item.name for item in inputs)}), a classifier one")
    if output and output not in outputs:
        raise ValueError(f"it has no output {output!r}, only {_listed(outputs)}")
    if len(outputs) != 1 and not output:
        raise ValueError(f"it has {len(outputs)} outputs ({_listed(outputs)}); name one of them with --output")
    name = output or next(iter(outputs))
    # The runtime computes constants that nobody needs, too.
    chosen = outputs[name]
    del net.graph.output[:]
    net.graph.output.append(chosen)
    model_file.drop_unused(net.graph)
    tensor = inputs[0].type.tensor_type
    shape, given = _shape(inputs[0]), _shape(chosen)
    if len(shape) != 4 or shape[0] > 1:
        raise ValueError(f"its input is {_shown(shape)}, not one picture of height, width and channels")
    if tensor.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.UINT8):
        raise ValueError(f"its input is of the type {TensorProto.DataType.Name(tensor.elem_type).lower()}")
    if len(given) < 2 or any(side != 1 for side in given[2:]):
        raise ValueError(f"its output is {_shown(given)}, not a value for each class: a detector or segmenter")
    return ForeignNet(
        path=path,
        sha256=sha256,
        net=net,
        metadata=metadata,
        input=inputs[0].name,
        shape=shape,
        is_integer=tensor.elem_type == TensorProto.UINT8,
        output=name,
        outputs=given[1],
        ends_in=next((node.op_type for node in net.graph.node if name in node.output), ""),
    )


def with_scale(typed: Conventions, scale: Scale) -> Conventions:
    """Return the conventions with mean and deviation of `scale`. Raises UsageError where they are given, too."""
    if typed.mean or typed.std:
        raise UsageError("--scale and --mean say the same", "leave one of them out")
    mean, std = SCALES[scale]
    return msgspec.structs.replace(typed, mean=mean, std=std)


def conventions(
    net: ForeignNet, typed: Conventions, beside: Sequence[tuple[str, Conventions]] = ()
) -> tuple[Conventions, dict[str, str]]:
    """Return the conventions of a net and, for each, what says so.

    The user comes first, then the file, then the files `beside` it, then its shapes.

    The activation may be left open: only running tells. Raises UsageError naming the options that are missing,
    ModelFileError where what is said contradicts the file.
    """
    parts = [(COMMAND_LINE, typed), *_metadata(net), *beside, ("its input", Conventions(layout=_layout(net.shape)))]
    if layout := merge(parts)[0].layout:
        parts.insert(0, ("its input", _sides(net, layout)))
    said, reasons = merge(parts)
    if net.is_integer:
        said = msgspec.structs.replace(said, mean=(), std=())
    missing = [option for field, option in OPTIONS.items() if getattr(said, field) is None]
    if not said.classes:
        missing.insert(
            0, f"--classes with {'the' if not net.outputs else net.outputs} names, in the order of its output"
        )
    if missing:
        raise UsageError(f"{net.path} does not say all that is needed", f"add {', '.join(missing)}")
    _require_consistent(net, typed, said)
    return said, reasons


def _metadata(net: ForeignNet) -> list[tuple[str, Conventions]]:
    """Return what the file itself says, by who wrote it."""
    if net.exported:
        facts = net.exported
        said = Conventions(resize=facts.resize, classes=facts.classes, activation="softmax")
        return [("its metadata (lungcli export)", said)]
    if "names" in net.metadata and "imgsz" in net.metadata:
        # Ultralytics: `Resize` to the shorter side and `CenterCrop`, greys in 0..1 without normalisation.
        names = tuple(single or double for single, double in _NAMED_CLASS.findall(net.metadata["names"]))
        mean, std = SCALES["0..1"]
        return [("its metadata (Ultralytics)", Conventions(classes=names or None, mean=mean, std=std, resize="crop"))]
    return []


def merge(parts: Sequence[tuple[str, Conventions]]) -> tuple[Conventions, dict[str, str]]:
    """Return what is said by the first part that says it, and who says so."""
    said = Conventions()
    reasons: dict[str, str] = {}
    for who, part in reversed(parts):
        new = {name: value for name, value in msgspec.structs.asdict(part).items() if value is not None}
        said = msgspec.structs.replace(said, **new)
        reasons |= dict.fromkeys(new, who)
    return said, reasons


def _layout(shape: Sequence[int]) -> Layout | None:
    first, last = (shape[1] in (1, 3)), (shape[3] in (1, 3))
    return None if first == last else "NCHW" if first else "NHWC"


def _sides(net: ForeignNet, layout: Layout) -> Conventions:
    """Return size and channels, where the shape of the input says them."""
    channels, height, width = (net.shape[axis] for axis in ((1, 2, 3) if layout == "NCHW" else (3, 1, 2)))
    # Of a side that is open, the other tells.
    height, width = height or width, width or height
    if height != width:
        raise ModelFileError(f"{net.path} takes pictures of {width}×{height} pixels, no squares", _EXPORT_AGAIN)
    if channels not in (0, 1, 3):
        raise ModelFileError(f"{net.path} takes {channels} channels, and a slice has 1 or 3", _EXPORT_AGAIN)
    return Conventions(channels=channels or None, size=height or None)


def _require_consistent(net: ForeignNet, typed: Conventions, said: Conventions) -> None:
    """Raise ModelFileError where the file contradicts what is said."""
    for field, what in (("size", "pixels"), ("channels", "channels")):
        wanted, actual = getattr(typed, field), getattr(said, field)
        if wanted not in (None, actual):
            raise ModelFileError(f"{net.path} takes {actual} {what}, not {wanted}", f"leave --{field} out")
    if said.size and not _SIZES[0] <= said.size <= _SIZES[1]:
        raise ModelFileError(
            f"{net.path} takes pictures of {said.size} pixels, and slices have {_SIZES[0]} to {_SIZES[1]}",
            _EXPORT_AGAIN,
        )
    classes = said.classes or ()
    if net.outputs and len(classes) != (2 if net.outputs == 1 else net.outputs):
        raise ModelFileError(
            f"{net.path} gives {net.outputs} values, and {len(classes)} classes are named: {', '.join(classes)}",
            "name every class, in the order of its output: --classes A,B,…",
        )
    require_normalisation(said)


def require_normalisation(said: Conventions) -> None:
    """Raise UsageError where mean and deviation do not go with the channels, or with each other."""
    for field in ("mean", "std"):
        if len(getattr(said, field) or ()) not in (0, 1, said.channels):
            raise UsageError(
                f"--{field} has {len(getattr(said, field))} values, and the net takes pictures of {said.channels} "
                f"channel{'s' * (said.channels != 1)}",
                "give one value, or one for each channel",
            )
    if (said.mean is None) != (said.std is None) or 0 in (said.std or ()):
        raise UsageError("--mean needs a --std, none of them 0", "for example: --mean 0.5 --std 0.5")


def _shape(item: "onnx.ValueInfoProto") -> tuple[int, ...]:
    return tuple(max(0, dimension.dim_value) for dimension in item.type.tensor_type.shape.dim)


def _shown(shape: Sequence[int]) -> str:
    return f"({', '.join(str(side) if side else 'open' for side in shape)})"


def _listed(names: Iterable[str]) -> str:
    shown = [name[:60] for name in names]
    return ", ".join(shown[:5]) + (", …" if len(shown) > 5 else "")
