"""The model file: one ONNX file that holds weights, preprocessing and the model card, and stands alone."""

import contextlib
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lungcli.core import cpu, package_data, paths, versioned
from lungcli.core.errors import ModelFileError
from lungcli.imaging import ood
from lungcli.imaging.preprocessing import VERSION
from lungcli.metrics import calibration
from lungcli.metrics.classification import Floats
from lungcli.modelfile import graph_rules, model_card, onnx_wire, trial_run, tta
from lungcli.modelfile.model_card import ModelCard

if TYPE_CHECKING:
    import onnx
    import onnxruntime

KEY = "lungcli"
INPUT, OUTPUT, EVIDENCE = "slice", "logits", "evidence"

# Protocol Buffers cannot hold more in one message.
_LARGEST = 2**31 - 1
_HOW_TO_MAKE_ONE = "make one with `lungcli compress`, or choose another of `lungcli models list`"
_FATAL_ONLY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model file ready to classify slices; safe to share between threads.

    With `averages`, probabilities are the mean over the views of a slice: see `modelfile.tta`.
    """

    card: ModelCard
    path: Path
    threads: int
    session: "onnxruntime.InferenceSession"
    averages: bool = False

    def logits(self, slices: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the logits (n, K) of prepared slices, uint8 (n, S, S).

        Raises ValueError when the slices are of another size or type than the net takes, ModelFileError when the
        runtime cannot run the net, or its values are no finite numbers (n, K).
        """
        self._require_fit(slices)
        if not len(slices):
            return np.empty((0, len(self.card.classes)), dtype=np.float32)
        return self._run(OUTPUT, slices)

    @property
    def gives_evidence(self) -> bool:
        """Whether the net has a class activation map."""
        return any(item.name == EVIDENCE for item in self.session.get_outputs())

    def evidence(self, slices: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        """Return the class activation maps (n, K, h, w) of prepared slices (n, S, S), n ≥ 1: their mean is the logits.

        None where the net has none. Raises as `logits` does.
        """
        self._require_fit(slices)
        return self._run(EVIDENCE, slices) if self.gives_evidence else None

    def probabilities(self, slices: NDArray[np.uint8]) -> Floats:
        """Return calibrated probabilities (n, K) of prepared slices (n, S, S), in the order of the card's classes."""
        if not self.averages:
            return calibration.softmax(self.logits(slices), self.card.temperature)
        by_view = [calibration.softmax(self.logits(view), self.card.temperature) for view in tta.ten_views(slices)]
        return np.asarray(np.mean(by_view, axis=0))

    def _run(self, output: str, slices: NDArray[np.uint8]) -> NDArray[np.float32]:
        try:
            values: NDArray[np.float32] = trial_run.run(self.session, [output], {INPUT: slices[:, None]})[0]
        except trial_run.runtime_errors() as error:
            raise _cannot_run(self.path, error) from error
        if values.shape[:2] != (len(slices), len(self.card.classes)) or not np.isfinite(values).all():
            raise ModelFileError(
                f"{self.path} gives {output} that are no finite numbers for each of its classes", _HOW_TO_MAKE_ONE
            )
        return values

    def _require_fit(self, slices: NDArray[np.uint8]) -> None:
        side = self.card.size
        if slices.dtype != np.uint8 or slices.shape[1:] != (side, side):
            raise ValueError(f"{self.path.name} takes uint8 slices (n, {side}, {side}), not {_shown(slices)}")


def write(graph: Path, card: ModelCard, to: Path) -> None:
    """Make the model file `to` out of the ONNX file `graph` and a card, atomically.

    Weights that lie beside `graph` move in; other metadata, and traces of the machine that exported it, are left out.
    Raises ModelFileError when `graph` is no valid ONNX file or exceeds 2 GiB.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(graph)
        _strip(model)
        onnx.helper.set_model_props(model, {KEY: model_card.encode(card)})
        if model.ByteSize() > _LARGEST:
            raise ModelFileError(f"{graph} exceeds 2 GiB, the most an ONNX file can hold", "train a smaller net")
        onnx.checker.check_model(model)
    except OSError as error:
        raise ModelFileError(f"cannot read {graph}: {error.strerror or error}") from error
    except (DecodeError, onnx.checker.ValidationError, ValueError) as error:
        raise ModelFileError(f"{graph} is not a valid ONNX file: {_first_line(error)}", "export it again") from error
    content = model.SerializeToString(deterministic=True)
    try:
        graph_rules.require(memoryview(content))
    except ValueError as error:
        raise ModelFileError(f"{graph} is no classifier of slices: {error}", _HOW_TO_MAKE_ONE) from error
    trial_run.remember(content)
    paths.remove_partial(to.parent, to.name)
    paths.atomic_write(to, content)


def drop_unused(graph: "onnx.GraphProto") -> None:
    """Drop nodes and weights that no output needs; nets here have no subgraphs."""
    needed = {output.name for output in graph.output}
    used_nodes = []
    # Nodes of an ONNX graph stand in the order they can be computed in.
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            used_nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in needed]
    shapes = [value for value in graph.value_info if value.name in needed]
    for part, remaining in ((graph.node, used_nodes[::-1]), (graph.initializer, weights), (graph.value_info, shapes)):
        del part[:]
        part.extend(remaining)


def recard(path: Path, card: ModelCard) -> None:
    """Replace the card of the model file `path`, atomically. Raises ModelFileError as `load` does."""
    read_card(path)
    require_bounded(path.read_bytes(), path)
    write(path, card, path)


def read_card(path: Path) -> ModelCard:
    """Read the card of a model file without starting the runtime (about 2 ms). Raises ModelFileError."""
    _require_file(path)
    with (
        _reading(path),
        path.open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        memoryview(content) as view,
    ):
        return _checked_card(view, path)


def graph_digest(path: Path) -> str:
    """Return the sha256 of what the model file computes, whatever its card says. Raises ModelFileError."""
    read_card(path)
    with _reading(path):
        return onnx_wire.graph_digest(memoryview(path.read_bytes()))


def load(path: Path, threads: int = 0) -> Model:
    """Start the model file `path` on the CPU with `threads` threads (0: one a physical core).

    Raises ModelFileError when it is missing, damaged, of a newer lungcli, needs another file, or contradicts its card.
    """
    _require_file(path)
    with _reading(path):
        content = path.read_bytes()
    card = _checked_card(memoryview(content), path)
    # What comes with the program is trusted as the program is.
    if path != package_data.MODEL:
        require_bounded(content, path)
    threads = threads or cpu.physical_cores()
    session = start(content, path, session_options(threads))
    _require_signature(session, card, path)
    return Model(card=card, path=path, threads=threads, session=session)


def session_options(threads: int) -> "onnxruntime.SessionOptions":
    """Return the options of every session: what is proved and timed runs as what predicts."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _FATAL_ONLY
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that go on spinning after a slice slow down whatever else runs, such as another model being timed; those
    # that stop at once are late for the next slice, which costs a small net a tenth of its time.
    options.add_session_config_entry("session.intra_op.spin_duration_us", "1000")
    return options


def start(content: bytes, path: Path, options: "onnxruntime.SessionOptions") -> "onnxruntime.InferenceSession":
    """Start the runtime on the CPU from the bytes of `path`. Raises ModelFileError when it refuses them."""
    import onnxruntime

    onnxruntime.set_default_logger_severity(_FATAL_ONLY)
    try:
        return trial_run.start(content, options)
    except trial_run.runtime_errors() as error:
        raise _cannot_run(path, error) from error


def require_bounded(content: bytes, path: Path) -> None:
    """Raise ModelFileError where the bytes of `path`, if not known, break `graph_rules` or fail their `trial_run`."""
    try:
        trial_run.require_if_unknown(content)
    except ValueError as error:
        raise ModelFileError(f"{path} is no classifier of slices: {error}", _HOW_TO_MAKE_ONE) from error


def _strip(model: "onnx.ModelProto") -> None:
    """Drop names and paths of the exporting machine, which exporters leave in every node."""
    model.doc_string = model.graph.doc_string = ""
    del model.graph.metadata_props[:]
    for part in (model.graph.node, model.graph.value_info, model.graph.initializer):
        for item in part:
            item.doc_string = ""
            del item.metadata_props[:]


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error.strerror or error}") from error


def _require_file(path: Path) -> None:
    if path.is_dir():
        raise ModelFileError(f"{path} is a folder, not a model file", "name the .onnx file in it")
    if not path.exists():
        raise ModelFileError(f"there is no model file {path}", _HOW_TO_MAKE_ONE)
    size = path.stat().st_size
    if not size:
        raise ModelFileError(f"{path} is empty", _HOW_TO_MAKE_ONE)
    if size > _LARGEST:
        raise ModelFileError(f"{path} exceeds 2 GiB, so it is no ONNX file", _HOW_TO_MAKE_ONE)


def _checked_card(content: memoryview, path: Path) -> ModelCard:
    try:
        summary = onnx_wire.summary(content)
    except ValueError as error:
        raise ModelFileError(f"{path} is not an ONNX file: {error}", _HOW_TO_MAKE_ONE) from error
    if KEY not in summary.metadata:
        raise ModelFileError(
            f"{path} has no lungcli model card, so its classes and size are unknown",
            f"adopt it: lungcli models adopt '{path}' --name NAME",
        )
    if summary.external:
        raise ModelFileError(
            f"{path} keeps weights in another file, but a model file must stand alone", _HOW_TO_MAKE_ONE
        )
    card = model_card.decode(summary.metadata[KEY], str(path))
    if card.preparation != VERSION:
        raise ModelFileError(
            f"{path} was trained on slices of preparation {card.preparation}; this lungcli makes preparation {VERSION}",
            versioned.UPGRADE if card.preparation > VERSION else "train the model again",
        )
    if card.guard and not ood.understands(card.guard):
        raise ModelFileError(
            f"{path} detects unfamiliar pictures by features that this lungcli does not measure",
            "train the model again",
        )
    return card


def _require_signature(session: "onnxruntime.InferenceSession", card: ModelCard, path: Path) -> None:
    try:
        inputs = [(item.name, item.type, item.shape[1:]) for item in session.get_inputs()]
        produced = [(item.name, item.type, item.shape) for item in session.get_outputs()]
    except UnicodeDecodeError as error:
        raise ModelFileError(f"names of inputs or outputs of {path} are no text: {error}", _HOW_TO_MAKE_ONE) from error
    # A class activation map is optional, and for explanations only.
    outputs = [(name, kind, shape[1:]) for name, kind, shape in produced if name != EVIDENCE]
    evidence = [(kind, shape) for name, kind, shape in produced if name == EVIDENCE]
    if inputs != [(INPUT, "tensor(uint8)", [1, card.size, card.size])]:
        raise ModelFileError(
            f"{path} takes {inputs}, but its card promises uint8 slices of {card.size} px", _HOW_TO_MAKE_ONE
        )
    if outputs != [(OUTPUT, "tensor(float)", [len(card.classes)])]:
        raise ModelFileError(
            f"{path} gives {outputs}, but its card names {len(card.classes)} classes", _HOW_TO_MAKE_ONE
        )
    if any(kind != "tensor(float)" or len(shape) != 4 or shape[1] != len(card.classes) for kind, shape in evidence):
        raise ModelFileError(
            f"{path} gives activation maps {evidence}, not (n, {len(card.classes)}, h, w) floats", _HOW_TO_MAKE_ONE
        )


def _shown(slices: NDArray[np.generic]) -> str:
    return f"{slices.dtype} {tuple(slices.shape)}"


def _cannot_run(path: Path, error: Exception) -> ModelFileError:
    return ModelFileError(f"onnxruntime cannot run {path}: {_first_line(error)}", _HOW_TO_MAKE_ONE)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
