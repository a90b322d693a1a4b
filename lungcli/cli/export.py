"""`lungcli export`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lungcli.cli import options as opt
from lungcli.core import formatting
from lungcli.core.errors import GateNotMetError, UsageError

if TYPE_CHECKING:
    from lungcli.datasets.cache import Advance
    from lungcli.export.parity import Parity, Slices

Form = Literal["onnx", "ort", "openvino"]

Target = Annotated[
    Form,
    typer.Option(
        "--to",
        help="onnx: for anything that runs ONNX; ort: ONNX Runtime on phones and in browsers; openvino: its IR, with "
        "the extra `openvino`.",
    ),
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to write; NAME-export here if left out.")
]
Data = Annotated[
    str, typer.Option("--data", "-d", metavar="NAME", help="Compare on slices of this data set; else on phantoms.")
]
Tolerance = Annotated[
    float, typer.Option("--tolerance", min=0, max=1, help="Largest change of a probability that passes.")
]
MinAgreement = Annotated[
    float, typer.Option("--min-agreement", min=0, max=1, help="Least share of same verdicts that passes.")
]
WithExamples = Annotated[
    bool, typer.Option("--with-examples", help="Write programs beside it that reproduce a verdict, and a slice.")
]


def export(
    spec: Annotated[str, typer.Argument(metavar="MODEL", help="Run, RUN/STAGE, .onnx file or `bundled`.")],
    form: Target = "onnx",
    output: Output = None,
    data: Data = "",
    tolerance: Tolerance = 0.05,
    min_agreement: MinAgreement = 0.95,
    with_examples: WithExamples = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")] = False,
    json: opt.Json = False,
) -> None:
    """Write a model for another runtime: calibrated probabilities, with all that a verdict needs.

    The file takes a prepared slice (uint8, n × 1 × size × size) and gives calibrated probabilities; class names, size,
    version of the preparation, temperature, referral threshold and provenance lie in it and beside it, in FILE.json.
    It does not prepare: lungs are found, and what is no slice is refused, by `lungcli predict --prepared-to DIR`.

    At the end both files judge the same slices; where probabilities or verdicts differ by more than allowed, nothing
    is written and the exit code is 5. Core ML and TensorFlow Lite are left out: Core ML's converter reads no ONNX files
    any more, and those for the other need TensorFlow.

    \b
    Examples:
      lungcli export bundled --to onnx --output lung.onnx --with-examples
      lungcli export compress-mobilenetv2-mine --to openvino --data mine
    """
    from lungcli.cli import console, progress
    from lungcli.export import bundle, parity
    from lungcli.export import formats as exporting
    from lungcli.modelfile import model_file, model_paths

    model = model_file.load(model_paths.resolve(spec), threads=1)
    to = _target(output, form, model.path)
    taken = [path for path in bundle.file_names(to, form, examples=with_examples) if path.exists()]
    if taken and not overwrite:
        raise UsageError(f"{taken[0]} is there already", "add --overwrite, or choose another --output")
    console.disclaim()
    made = exporting.export(model, form)
    with progress.preparing("preparing slices") as advance:
        slices, pixels = _slices(data, model.card.size, advance)
    found = parity.check(model, made, slices, pixels, tolerance=tolerance, least_agreement=min_agreement)
    if not found.met:
        raise GateNotMetError(
            f"the exported file does not agree with the model: {_in_words(found)}; nothing was written",
            "allow more with --tolerance or --min-agreement, or export the float model, as in RUN/student",
        )
    files = bundle.file_contents(model, made, found, to, examples=with_examples)
    bundle.write(files)
    if json:
        console.print_json({"files": [str(path) for path in files], "facts": made.facts, "parity": found})
        return
    console.info(f"agrees with {model_paths.name_of(model.path)}: {_in_words(found)}", style="green")
    for path, content in files.items():
        console.out().print(f"{formatting.size(len(content)):>9}  {console.plain(path)}", soft_wrap=True)


def _target(output: Path | None, form: Form, source: Path) -> Path:
    """Where to write. Raises UsageError for a name that says another format, and for the model file itself."""
    from lungcli.export.formats import SUFFIXES

    suffix = SUFFIXES[form]
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


def _slices(data: str, size: int, advance: "Advance") -> "tuple[Slices, str]":
    """Prepared slices to compare on, and whose they are."""
    from lungcli.datasets import manifest
    from lungcli.export import parity

    if not data:
        return parity.phantoms(size, advance=advance), "phantoms"
    known = manifest.load(data)
    return parity.slices_of(known, manifest.folder(known.name), size, advance), known.name


def _in_words(found: "Parity") -> str:
    return (
        f"on {found.n} slices of {found.pixels} the largest change of a probability is {found.largest_change:.4f} "
        f"(allowed {found.tolerance:g}), and {found.agreement:.1%} of verdicts are the same "
        f"(at least {found.least_agreement:.0%})"
    )
