"""Formats that `lungcli export` writes, one row each."""

from dataclasses import dataclass

from lungcli.core.names import find


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportFormat:
    """One format of exported models.

    `about` says what it is for. `suffixes` are those of its files, the main one first. `write` is `"module:function"`
    from the ONNX file that gives calibrated probabilities, and its `export.formats.Facts`, to the content of every file
    by its suffix; `start` from the path of the main file to the function from prepared slices, uint8 (n, S, S), to
    probabilities (n, K), by which the file is held against the model. `examples` names programs in
    `lungcli/bundled/examples` that predict from the file alone.
    """

    name: str
    about: str
    suffixes: tuple[str, ...]
    write: str
    start: str
    examples: tuple[str, ...] = ()


_FORMATS = (
    ExportFormat(
        name="onnx",
        about="any ONNX runtime",
        suffixes=(".onnx",),
        write="lungcli.export.formats:onnx_files",
        start="lungcli.export.parity:start_onnx",
        examples=("verdict.py", "verdict.mjs"),
    ),
    ExportFormat(
        name="ort",
        about="ONNX Runtime on phones and in browsers",
        suffixes=(".ort",),
        write="lungcli.export.formats:ort_files",
        start="lungcli.export.parity:start_onnx",
        examples=("verdict.py", "verdict.mjs"),
    ),
    ExportFormat(
        name="openvino",
        about="OpenVINO IR (extra `openvino`)",
        suffixes=(".xml", ".bin"),
        write="lungcli.export.formats:openvino_files",
        start="lungcli.export.parity:start_openvino",
        examples=("verdict-openvino.py",),
    ),
)

EXPORT_FORMATS: dict[str, ExportFormat] = {row.name: row for row in _FORMATS}


def export_format(name: str) -> ExportFormat:
    """Return the format that `name` means. Raises UsageError."""
    return find(name, EXPORT_FORMATS, "export format")
