"""Model files for other runtimes: they give calibrated probabilities, and hold all that a prediction needs.

The temperature and the softmax become part of the net; the activation map for heat-maps is left out. The input is a
prepared slice, not a picture: preprocessing stays in lungcli.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lungcli import DISCLAIMER, __version__
from lungcli.core import names, paths, registry
from lungcli.core.errors import LungcliError
from lungcli.core.recipe import Resize
from lungcli.imaging.picture import encoded
from lungcli.imaging.preprocessing import VERSION
from lungcli.modelfile import model_file
from lungcli.modelfile.model_card import ModelCard
from lungcli.modelfile.model_file import INPUT, OUTPUT, Model

KEY = "lungcli-export"
PROBABILITIES = "probabilities"
FACTS_VERSION = 1
RULE = "the class of the largest probability; referred to a radiologist where that is below referral_threshold"


class Tensor(msgspec.Struct, frozen=True, kw_only=True):
    """An input or output of the exported file; `n` in its shape is any number of slices."""

    name: str
    type: str
    shape: tuple[str | int, ...]


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a program needs beside the weights to give the prediction that lungcli gives for the same prepared slice.

    `temperature` is in the file already: its output is calibrated. `preparation` is the version of
    `imaging.preprocessing` that must have made the slice, `resize` what of the picture it shows. `graph` is the sha256
    of the graph of the model file that this was exported from.
    """

    format_version: int = FACTS_VERSION
    classes: tuple[str, ...]
    size: int
    preparation: int
    resize: Resize = "lungs"
    temperature: float
    referral_threshold: float | None
    rule: str = RULE
    input: Tensor
    output: Tensor
    model: str
    precision: str
    graph: str
    data: str
    licence: str
    citation: str
    synthetic: bool
    lungcli: str = __version__
    disclaimer: str = DISCLAIMER


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A model in another format: the content of every file by its suffix, and its facts.

    `form` is the name of a row of `registry.EXPORT_FORMATS`.
    """

    form: str
    files: dict[str, bytes]
    facts: Facts


def export(model: Model, form: str) -> Exported:
    """Convert a model for other runtimes: `form` names a row of `registry.EXPORT_FORMATS`.

    Raises LungcliError where the extra of a format is missing.
    """
    facts = facts_of(model)
    graph = _with_probabilities(model, facts)
    return Exported(form=form, files=names.imported(registry.EXPORT_FORMATS[form].write)(graph, facts), facts=facts)


def facts_of(model: Model) -> Facts:
    """Gather the facts from the model's card."""
    card: ModelCard = model.card
    return Facts(
        classes=card.classes,
        size=card.size,
        preparation=card.preparation,
        resize=card.recipe.resize,
        temperature=card.temperature,
        referral_threshold=card.referral.threshold if card.referral else None,
        input=Tensor(name=INPUT, type="uint8", shape=("n", 1, card.size, card.size)),
        output=Tensor(name=PROBABILITIES, type="float32", shape=("n", len(card.classes))),
        model=card.model,
        precision=card.precision,
        graph=model_file.graph_digest(model.path),
        data=card.data.name,
        licence=card.data.licence,
        citation=card.data.citation,
        synthetic=card.data.synthetic,
    )


def png(prepared: NDArray[np.uint8]) -> bytes:
    """Encode a prepared slice, uint8 (S, S), as grey PNG that says which preparation made it."""
    about = PngInfo()
    about.add_text("Description", f"a slice of preparation {VERSION}. {DISCLAIMER}")
    return encoded(Image.fromarray(prepared), pnginfo=about)


def _with_probabilities(model: Model, facts: Facts) -> bytes:
    """Return the ONNX file of the net with softmax(logits / temperature) as its only output, and the facts in it."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    net = onnx.load_model_from_string(model.path.read_bytes())
    graph = net.graph
    temperature = numpy_helper.from_array(np.array(facts.temperature, dtype=np.float32), "lungcli.temperature")
    graph.initializer.append(temperature)
    graph.node.append(helper.make_node("Div", [OUTPUT, temperature.name], ["lungcli.tempered"]))
    graph.node.append(helper.make_node("Softmax", ["lungcli.tempered"], [PROBABILITIES], axis=1))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info(PROBABILITIES, TensorProto.FLOAT, ["n", len(facts.classes)]))
    model_file.drop_unused(graph)
    del net.metadata_props[:]
    helper.set_model_props(net, {KEY: msgspec.json.encode(facts).decode()})
    onnx.checker.check_model(net)
    content: bytes = net.SerializeToString(deterministic=True)
    return content


def onnx_files(graph: bytes, facts: Facts) -> dict[str, bytes]:
    """The ONNX file as it is."""
    del facts
    return {".onnx": graph}


def ort_files(graph: bytes, facts: Facts) -> dict[str, bytes]:
    """ONNX Runtime's own format, made as it documents: by a session that saves the optimised graph."""
    del facts
    with paths.scratch("export") as scratch:
        path = scratch / "model.ort"
        options = model_file.session_options(1)
        options.optimized_model_filepath = str(path)
        options.add_session_config_entry("session.save_model_format", "ORT")
        # Blocked layouts would bind the file to this processor.
        onnxruntime.InferenceSession(
            graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=["NchwcTransformer"]
        )
        return {".ort": path.read_bytes()}


def openvino_files(graph: bytes, facts: Facts) -> dict[str, bytes]:
    """OpenVINO's IR, with the facts in its run-time information. Raises LungcliError where the extra is missing."""
    openvino = require_openvino()
    # Not `convert_model`, which sends telemetry.
    net = openvino.Core().read_model(model=graph)
    net.set_rt_info(msgspec.json.encode(facts).decode(), [KEY])
    with paths.scratch("export") as scratch:
        path = scratch / "model.xml"
        openvino.save_model(net, path, compress_to_fp16=False)
        return {".xml": path.read_bytes(), ".bin": path.with_suffix(".bin").read_bytes()}


def require_openvino() -> Any:
    """Return the module openvino. Raises LungcliError where the extra is missing."""
    try:
        import openvino
    except ImportError as error:
        raise LungcliError("OpenVINO is not installed", "pip install 'lungcli[openvino]'") from error
    return openvino
