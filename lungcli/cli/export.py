"""`lungcli export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from lungcli.cli import complete, console, options
from lungcli.core.errors import GateNotMetError, UsageError
from lungcli.core.registry import EXPORT_FORMATS, export_format
from lungcli.views import units

if TYPE_CHECKING:
    from lungcli.datasets.files import Advance
    from lungcli.export.parity import Parity, Slices
    from lungcli.modelfile.model_card import ModelCard

Target = Annotated[
    str,
    options.in_panel(
        "Output",
        "; ".join(f"{row.name}: {row.about}" for row in EXPORT_FORMATS.values()) + ".",
        "--to",
        metavar="|".join(EXPORT_FORMATS),
        autocompletion=complete.export_formats,
    ),
]
Output = Annotated[
    Path | None,
    options.in_panel(
        "Output", "File to write; NAME-export in this folder if left out.", "--output", "-o", metavar="FILE"
    ),
]
Data = Annotated[str, options.data_option("Compare on slices of this data set; phantoms if left out.")]
Tolerance = Annotated[
    float, options.in_panel("Check", "Largest difference of a probability that passes.", "--tolerance", min=0, max=1)
]
MinAgreement = Annotated[
    float,
    options.in_panel("Check", "Smallest share of equal predictions that passes.", "--min-agreement", min=0, max=1),
]
WithExamples = Annotated[
    bool,
    options.in_panel(
        "Output", "Also write example programs that reproduce a prediction, and a slice.", "--with-examples"
    ),
]

Spec = Annotated[str, options.model_argument("Run, RUN/STAGE, .onnx file or `bundled`.")]
Overwrite = Annotated[bool, options.in_panel("Output", "Replace existing files.", "--overwrite")]


def export(
    spec: Spec,
    form: Target = "onnx",
    output: Output = None,
    data: Data = "",
    tolerance: Tolerance = 0.05,
    min_agreement: MinAgreement = 0.95,
    with_examples: WithExamples = False,
    overwrite: Overwrite = False,
    json: options.Json = False,
) -> None:
    """Export a model to another runtime.

    The file takes prepared slices (uint8, n × 1 × size × size) and returns calibrated probabilities. Class names, size,
    preprocessing version, temperature, referral threshold and provenance are in it, and beside it in FILE.json.
    Preprocessing is not part of it: `lungcli predict --prepared-to DIR` writes prepared slices.

    Both files predict the same slices; where probabilities or predictions differ by more than allowed, nothing is
    written and the exit code is 5. There is no Core ML or TensorFlow Lite: the converter of the first no longer reads
    ONNX, and those of the second need TensorFlow.

    \b
    Examples:
      lungcli export bundled --to onnx --output lung.onnx --with-examples
      lungcli export compress-mobilenetv2-mine --to openvino --data mine
    """
    from lungcli.cli import progress
    from lungcli.export import bundle, formats, parity
    from lungcli.modelfile import model_file, model_paths

    form = export_format(form).name
    model = model_file.load(model_paths.resolve(spec), threads=1)
    to = _target(output, form, model.path)
    existing = [path for path in bundle.file_names(to, form, examples=with_examples) if path.exists()]
    if existing and not overwrite:
        raise UsageError(f"{existing[0]} exists already", "add --overwrite, or choose another --output")
    console.disclaim()
    exported = formats.export(model, form)
    with progress.preparing("preparing slices") as advance:
        slices, pixels = _slices(data, model.card, advance)
    parity_result = parity.check(model, exported, slices, pixels, tolerance=tolerance, least_agreement=min_agreement)
    if not parity_result.met:
        raise GateNotMetError(
            f"the exported file differs from the model: {_in_words(parity_result)}; nothing was written",
            "allow more with --tolerance or --min-agreement, or export the float model, for example RUN/student",
        )
    file_contents = bundle.file_contents(model, exported, parity_result, to, examples=with_examples)
    bundle.write(file_contents)
    if json:
        console.print_json(
            {"files": [str(path) for path in file_contents], "facts": exported.facts, "parity": parity_result}
        )
        return
    console.info(f"agrees with {model_paths.name_of(model.path)}: {_in_words(parity_result)}", style="green")
    for path, content in file_contents.items():
        console.out().print(f"{units.size(len(content)):>9}  {console.plain(path)}", soft_wrap=True)


def _target(output: Path | None, form: str, source: Path) -> Path:
    """The file to write. Raises UsageError for the suffix of another format, and for the model file itself."""
    suffix = EXPORT_FORMATS[form].suffixes[0]
    to = output or Path(f"{source.stem}-export{suffix}")
    if to.is_dir():
        raise UsageError(f"{to} is a folder", f"name a file in it: --output '{to / ('model' + suffix)}'")
    if to.suffix.lower() != suffix:
        raise UsageError(
            f"--to {form} writes {suffix} files, not {to.name}", f"use --output '{to.with_suffix(suffix)}'"
        )
    if to.exists() and to.resolve() == source.resolve():
        raise UsageError(f"{to} is the model file itself", "choose another --output")
    return to


def _slices(data: str, card: "ModelCard", advance: "Advance") -> "tuple[Slices, str]":
    """Prepared slices to compare on, and the name of their data set."""
    from lungcli.datasets import manifest
    from lungcli.export import parity

    if not data:
        return parity.phantoms(card.size, advance=advance), "phantoms"
    dataset = manifest.load(data)
    slices = parity.slices_of(dataset, manifest.folder(dataset.name), card.size, advance, card.recipe.resize)
    return slices, dataset.name


def _in_words(result: "Parity") -> str:
    return (
        f"on {result.n} slices of {result.pixels} probabilities differ by at most {result.largest_change:.4f} "
        f"(allowed {result.tolerance:g}), and {result.agreement:.1%} of predictions are equal "
        f"(at least {result.least_agreement:.0%})"
    )
