"""Taking in a classifier from elsewhere: a model file like any other, that predicts what the source itself predicts."""

import functools
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core import names, package_data, paths, registry, runs
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.core.events import now
from lungcli.core.recipe import Recipe, Resize
from lungcli.imaging.preprocessing import VERSION, prepare_file
from lungcli.metrics import calibration
from lungcli.metrics.classification import Floats
from lungcli.modelfile import foreign_metadata, foreign_net, model_file, model_paths, trial_run
from lungcli.modelfile.foreign_net import Activation, Conventions, ForeignNet
from lungcli.modelfile.model_card import Adoption, DataCard, ModelCard, SplitCard
from lungcli.modelfile.model_file import INPUT, OUTPUT

if TYPE_CHECKING:
    import onnx
    import onnxruntime

TOLERANCE = 1e-4
UNKNOWN = "unknown"
STAGE = "adopted"
# Probabilities below have no finite logarithm, or none that matters.
_LEAST = 1e-30
_SUM_TOLERANCE = 1e-3
_PREFIX = "net."
_SCALE, _OFFSET, _SIGN, _ONE, _SMALLEST, _ORDER = "scale", "offset", "sign", "one", "smallest", "order"
_HINT = "export it again, with the batch open and finite weights"

_Step = tuple[str, tuple[str, ...], dict[str, Any]]
"""A node behind another: its operator, its inputs after the first, its attributes."""
_Constants = dict[str, NDArray[np.generic]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """An adopted model's card, and who said each of its `conventions`.

    Its probabilities for so many `slices` differ from those of its source by `largest_change` at most.
    """

    card: ModelCard
    conventions: Conventions
    reasons: dict[str, str]
    slices: int
    largest_change: float

    def in_words(self) -> dict[str, tuple[str, str]]:
        """Return the value of each convention, and who said it."""
        values = msgspec.structs.asdict(self.conventions)
        shown = {name: values[name] for name in values if name in self.reasons}
        return {
            name: (", ".join(map(_short, value)) if isinstance(value, tuple) else str(value), self.reasons[name])
            for name, value in shown.items()
        }


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def free_name(name: str, *, overwrite: bool = False) -> Path:
    """Return the file of an adopted model to be called `name`. Raises UsageError for a name that means another."""
    nets = {names.spelling(net) for net in registry.NETS}
    if names.checked(name, "model") in runs.known() or names.spelling(name) in {*nets, model_paths.BUNDLED}:
        raise UsageError(f"{name!r} is the name of a net or a run", "choose another --name")
    to = paths.models_home() / f"{name}.onnx"
    if to.exists() and not overwrite:
        raise UsageError(f"there is a model {name!r} already", "add --overwrite, or choose another --name")
    return to


def adopt(source: Path, to: Path, typed: Conventions, output: str = "") -> Adopted:
    """Make the model file `to` out of the ONNX classifier `source`: preprocessing in front, logarithms behind.

    What `typed` leaves open is taken from the file, or found by running it. Nothing is written unless both predict the
    same for the slices that come with the program. Raises UsageError for what must be said, ModelFileError for a file
    that is no such classifier.
    """
    net = foreign_net.read(source, output)
    said, reasons = foreign_net.conventions(net, typed, foreign_metadata.beside(source).parts)
    slices = bundled_slices(said.size or 0, said.resize or "lungs")
    _try_out(net, _graph(net, said))
    outputs = _outputs_of(net, said, slices)
    activation, reason = _activation(net, said, outputs)
    if activation != said.activation:
        reasons["activation"] = reason
    said = msgspec.structs.replace(said, activation=activation)
    content = _graph(net, said, single=outputs.shape[1] == 1).SerializeToString(deterministic=True)
    change = _largest_change(net, content, slices, _probabilities(outputs, said))
    card = _card(to.stem, net, said, change)
    with paths.scratch("adopt") as scratch:
        (scratch / "graph.onnx").write_bytes(content)
        model_paths.weights_beside(to).unlink(missing_ok=True)
        model_file.write(scratch / "graph.onnx", card, to)
    return Adopted(card=card, conventions=said, reasons=reasons, slices=len(slices), largest_change=change)


@functools.lru_cache(maxsize=1)
def bundled_slices(size: int, resize: Resize) -> NDArray[np.uint8]:
    """Return the real slices that come with the program, prepared: (n, size, size)."""
    slices = np.stack([prepare_file(path, size, resize) for path in package_data.slices().values()])
    slices.flags.writeable = False
    return slices


def _graph(net: ForeignNet, said: Conventions, *, single: bool | None = None) -> "onnx.ModelProto":
    """Return the net with uint8 slices as input and logits as output, in alphabetical order of the classes.

    A `single` value is that of the second of two classes; with None the output is as the net gives it.
    """
    from onnx import TensorProto, compose, helper, numpy_helper

    model = compose.add_prefix(net.net, _PREFIX)
    # Before version 4, weights had to be inputs too.
    model.ir_version = max(model.ir_version, 8)
    graph, classes = model.graph, said.classes or ()
    if net.shape[0]:
        _open_batch(graph)
    taken = next(item for item in graph.input if item.name == _PREFIX + net.input).type.tensor_type.elem_type
    before, constants = _before(said, taken)
    after, constants_behind = _after(said, single=single)
    nodes = [
        *_chain(INPUT, _PREFIX + net.input, before),
        *graph.node,
        *_chain(_PREFIX + net.output, OUTPUT, after),
    ]
    del graph.node[:], graph.input[:], graph.output[:], graph.value_info[:]
    graph.node.extend(nodes)
    graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in (constants | constants_behind).items()
    )
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.UINT8, ["n", 1, said.size, said.size]))
    count = "k" if single is None else len(classes)
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["n", count]))
    return model


def _chain(first: str, last: str, steps: Sequence[_Step]) -> "list[onnx.NodeProto]":
    """Return nodes one behind the other, from the tensor `first` to the tensor `last`."""
    from onnx import helper

    tensors = [first, *(f"{last}.{number}" for number in range(1, len(steps))), last]
    return [
        helper.make_node(operator, [taken, *further], [given], **attributes)
        for (operator, further, attributes), taken, given in zip(steps, tensors, tensors[1:], strict=False)
    ]


def _before(said: Conventions, taken: int) -> tuple[list[_Step], _Constants]:
    """Return the steps from a slice, uint8 (n, 1, S, S), to the net's input of the ONNX type `taken`."""
    from onnx import TensorProto

    channels, constants = said.channels or 1, {}
    steps: list[_Step] = [("Concat", (INPUT,) * (channels - 1), {"axis": 1})]
    if taken != TensorProto.UINT8:
        mean, std = (np.array(values, dtype=np.float64) for values in (said.mean, said.std))
        # Repeats the one channel, too.
        repeated = np.ones((1, channels, 1, 1)) / (255 * std).reshape(1, -1, 1, 1)
        constants = {_SCALE: repeated, _OFFSET: (-mean / std).reshape(1, -1, 1, 1)}
        steps = [("Cast", (), {"to": TensorProto.FLOAT}), ("Mul", (_SCALE,), {}), ("Add", (_OFFSET,), {})]
    if said.layout == "NHWC":
        steps.append(("Transpose", (), {"perm": [0, 2, 3, 1]}))
    if taken not in (TensorProto.FLOAT, TensorProto.UINT8):
        steps.append(("Cast", (), {"to": taken}))
    return steps, {name: value.astype(np.float32) for name, value in constants.items()}


def _after(said: Conventions, *, single: bool | None) -> tuple[list[_Step], _Constants]:
    """Return the steps from what the net gives to logits, float32 (n, K)."""
    from onnx import TensorProto

    steps: list[_Step] = [("Cast", (), {"to": TensorProto.FLOAT}), ("Flatten", (), {"axis": 1})]
    if single is None:
        return steps, {}
    constants: _Constants = {}
    activation, classes = said.activation, said.classes or ()
    if single:
        if activation == "logits":
            steps.append(("Sigmoid", (), {}))
        activation = "sigmoid"
        steps += [("Mul", (_SIGN,), {}), ("Add", (_ONE,), {})]
        constants = {_SIGN: np.array([[-1, 1]], dtype=np.float32), _ONE: np.array([[1, 0]], dtype=np.float32)}
    if activation != "logits":
        steps += [("Max", (_SMALLEST,), {}), ("Log", (), {})]
        constants[_SMALLEST] = np.array(_LEAST, dtype=np.float32)
    if sorted(classes) != list(classes):
        steps.append(("Gather", (_ORDER,), {"axis": 1}))
        constants[_ORDER] = np.array(_alphabetical(classes), dtype=np.int64)
    return steps, constants


def _alphabetical(classes: Sequence[str]) -> list[int]:
    return sorted(range(len(classes)), key=classes.__getitem__)


def _open_batch(graph: "onnx.GraphProto") -> None:
    """Make reshapes for one slice at a time take any number; whether that was all, running tells."""
    from onnx import numpy_helper

    shapes = {node.input[1] for node in graph.node if node.op_type == "Reshape"}
    constants = [tensor for tensor in graph.initializer if tensor.name in shapes]
    constants += [
        attribute.t
        for node in graph.node
        if node.op_type == "Constant" and node.output[0] in shapes
        for attribute in node.attribute
        if attribute.name == "value"
    ]
    for tensor in constants:
        shape = numpy_helper.to_array(tensor).copy()
        if shape.ndim == 1 and len(shape) and shape[0] == 1:
            # 0 stands for what it was, -1 for what is left.
            shape[0] = 0 if -1 in shape else -1
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))


def _try_out(net: ForeignNet, model: "onnx.ModelProto") -> None:
    """Load and run the net once, in a process of its own. Raises ModelFileError."""
    try:
        trial_run.require_if_unknown(model.SerializeToString(deterministic=True))
    except ValueError as error:
        raise _refusal(net, str(error)) from error


def _outputs_of(net: ForeignNet, said: Conventions, slices: NDArray[np.uint8]) -> Floats:
    """Return what the source itself gives for prepared slices (n, S, S), one by one: (n, K).

    Its input is made by numpy here, and by the graph in the model file: each checks the other.
    """
    taken: NDArray[Any] = slices[:, None].repeat(said.channels or 1, axis=1)
    if not net.is_integer:
        mean, std = (np.array(values, dtype=np.float64).reshape(1, -1, 1, 1) for values in (said.mean, said.std))
        taken = (taken / 255 - mean) / std
    if said.layout == "NHWC":
        taken = taken.transpose(0, 2, 3, 1)
    session = model_file.start(net.net.SerializeToString(), net.path, model_file.session_options(1))
    kind = {"tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8}
    taken = np.ascontiguousarray(taken.astype(kind.get(session.get_inputs()[0].type, np.float32)))
    rows = [_run(net, session, net.output, {net.input: slice_[None]}).reshape(-1) for slice_ in taken]
    outputs = np.stack(rows).astype(np.float64)
    if not np.isfinite(outputs).all():
        raise _refusal(net, "it gives values that are no finite numbers")
    classes = len(said.classes or ())
    if outputs.shape[1] != classes and (outputs.shape[1], classes) != (1, 2):
        raise _refusal(net, f"it gives {outputs.shape[1]} values, and {classes} classes are named")
    return outputs


def _activation(net: ForeignNet, said: Conventions, outputs: Floats) -> tuple[Activation, str]:
    """Return what the outputs (n, K) are, and what says so. Raises UsageError where they do not show it."""
    shares = bool((outputs >= 0).all() and (outputs <= 1).all())
    sums = outputs.shape[1] > 1 and bool(np.allclose(outputs.sum(axis=1), 1, atol=_SUM_TOLERANCE))
    if said.activation:
        if (said.activation == "softmax") != (shares and sums) or (said.activation == "sigmoid" and not shares):
            raise UsageError(
                f"the outputs of {net.path} are not those of --activation {said.activation}: for a real slice they are "
                f"{', '.join(f'{value:.4g}' for value in outputs[0, :5])}",
                "name what they are: logits, softmax (they sum to 1) or sigmoid (each from 0 to 1)",
            )
        return said.activation, ""
    if shares and sums:
        return "softmax", "its outputs sum to 1"
    if shares and net.ends_in == "Sigmoid":
        return "sigmoid", "its last operator"
    if not shares:
        return "logits", "its outputs are not from 0 to 1"
    raise UsageError(f"{net.path} does not show what its outputs are", "add --activation logits|sigmoid")


def _probabilities(outputs: Floats, said: Conventions) -> Floats:
    """Return the source's own probabilities (n, K), in alphabetical order of the classes."""
    if outputs.shape[1] == 1:
        positive = 1 / (1 + np.exp(-outputs)) if said.activation == "logits" else outputs
        probabilities = np.hstack([1 - positive, positive])
    elif said.activation == "logits":
        probabilities = calibration.softmax(outputs, 1.0)
    else:
        probabilities = outputs / outputs.sum(axis=1, keepdims=True)
    ordered: Floats = probabilities[:, _alphabetical(said.classes or ())]
    return ordered


def _largest_change(net: ForeignNet, content: bytes, slices: NDArray[np.uint8], expected: Floats) -> float:
    """Compare the model file's graph with the source, all slices at once. Raises ModelFileError where they differ."""
    session = model_file.start(content, net.path, model_file.session_options(1))
    logits = _run(net, session, OUTPUT, {INPUT: slices[:, None]})
    if logits.shape != expected.shape or not np.isfinite(logits).all():
        raise _refusal(net, "it does not take several slices at once")
    change = float(np.abs(calibration.softmax(logits, 1.0) - expected).max())
    if change > TOLERANCE:
        raise _refusal(net, f"its probabilities change by {change:.2g} when several slices are predicted at once")
    return change


def _run(
    net: ForeignNet, session: "onnxruntime.InferenceSession", output: str, feeds: dict[str, NDArray[np.generic]]
) -> NDArray[np.float32]:
    try:
        values: NDArray[np.float32] = trial_run.run(session, [output], feeds)[0]
    except trial_run.runtime_errors() as error:
        raise _refusal(net, f"onnxruntime cannot run it: {str(error).strip().partition(chr(10))[0]}") from error
    return values


def _refusal(net: ForeignNet, reason: str) -> ModelFileError:
    return ModelFileError(f"{net.path} cannot be adopted: {reason}", _HINT)


def _card(name: str, net: ForeignNet, said: Conventions, change: float) -> ModelCard:
    exported = net.exported
    data = DataCard(
        name=exported.data if exported else UNKNOWN,
        digest="",
        slices=0,
        groups=0,
        synthetic=exported.synthetic if exported else False,
        licence=exported.licence if exported else "",
        citation=exported.citation if exported else "",
    )
    adoption = Adoption(
        sha256=net.sha256,
        layout=said.layout or "NCHW",
        channels=said.channels or 1,
        mean=said.mean or (),
        std=said.std or (),
        activation=said.activation or "logits",
        largest_change=change,
    )
    try:
        return ModelCard(
            model=name,
            stage=STAGE,
            precision="float32",
            classes=tuple(sorted(said.classes or ())),
            size=said.size or 0,
            preparation=VERSION,
            temperature=1.0,
            parameters=sum(int(np.prod(tensor.dims)) for tensor in net.net.graph.initializer),
            teacher="",
            data=data,
            split=SplitCard(protocol=UNKNOWN, seed=0, digest=""),
            recipe=Recipe(data=UNKNOWN, model=name, size=said.size or 0, resize=said.resize or "lungs"),
            adopted=adoption,
            created=now(),
            versions={name: importlib.metadata.version(name) for name in ("lungcli", "onnxruntime")},
        )
    except ValueError as error:
        raise _refusal(net, str(error)) from error
