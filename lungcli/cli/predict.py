"""`lungcli predict`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt
from lungcli.cli import predict_explain as explaining
from lungcli.cli import predict_ray
from lungcli.core import cpu
from lungcli.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from lungcli.cli.predict_output import Format, Write
    from lungcli.modelfile.model_file import Model
    from lungcli.predict.inputs import Item, Naming
    from lungcli.predict.predict import Capture
    from lungcli.predict.prediction_json import Found

MOST_BYTES = 1 << 30


Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH…",
        help="PNG, JPEG, TIFF, BMP, DICOM, NIfTI; folders, .zip files, patterns; `-`: a list on stdin, a name a line.",
    ),
]
Stdin = Annotated[bool, typer.Option("--stdin", help="Judge the one picture that comes on stdin.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="MODEL",
        help="Run, RUN/STAGE or .onnx file; `bundled` if left out. Given several times: the mean verdict.",
    ),
]
Tta = Annotated[
    bool,
    typer.Option(
        "--tta", help="Average ten views: the slice and its mirror image, as is and moved 4 ways; ten times the net."
    ),
]
Strict = Annotated[bool, typer.Option("--strict", help="Exit code 6 when a verdict is referred.")]
Force = Annotated[bool, typer.Option("--force", help="Judge what is no axial lung slice too, marked.")]
Top = Annotated[
    int, typer.Option("--top", min=0, help="Classes to show for each picture; 0: all for one, one for several.")
]
IncludePhi = Annotated[
    bool, typer.Option("--include-phi", help="Show paths of DICOM files in full, and series by their UID.")
]
Output = Annotated[
    str | None, typer.Option("--output", metavar="FOLDER", help="Write every outcome to a JSON file here too.")
]
PreparedTo = Annotated[
    Path | None,
    typer.Option("--prepared-to", metavar="DIR", help="Write each slice as the net saw it to DIR, as PNG."),
]
JsonLines = Annotated[bool, typer.Option("--jsonl", help="Print JSON, a line for each outcome as it comes.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]


def predict(
    context: typer.Context,
    paths: Paths = None,
    model: Models = None,
    tta: Tta = False,
    stdin: Stdin = False,
    strict: Strict = False,
    force: Force = False,
    top: Top = 0,
    include_phi: IncludePhi = False,
    output: Output = None,
    explain: explaining.Explain = False,
    explain_to: explaining.ExplainTo = None,
    prepared_to: PreparedTo = None,
    threads: opt.Threads = 0,
    json: opt.Json = False,
    jsonl: JsonLines = False,
    csv: Csv = False,
    engine: predict_ray.Engine = "here",
    shard_size: predict_ray.ShardSize = 1000,
    address: predict_ray.Address = "",
) -> None:
    """Judge pictures: verdict, calibrated probabilities, model, time.

    What is no axial lung CT slice is refused. What the model is not sure of, or what was acquired unlike the slices
    it learned from, is referred to a radiologist. Exit code 4 if a picture could not be read or was refused.
    Verdicts come in the order of the paths. In folders and .zip files, what is no picture is passed over, and a DICOM
    series is sorted from feet to head. A series of several slices gets a verdict of its own, the mean of those neither
    refused nor referred: referred where these are fewer than half, unsure, or one is malignant and the mean is not.

    Several models, each at its own size, give the mean of their probabilities; a verdict they disagree on, or less
    probable than the mean of their thresholds, is referred. --tta averages probabilities, after the temperature.

    \b
    Examples:
      lungcli predict scan.png
      lungcli predict -m bundled -m compress-mobilenetv2-mine scan.png
      lungcli predict --engine ray s3://bucket/slices --output verdicts/
      find . -name '*.dcm' | lungcli predict --csv -
    """
    from lungcli.cli import console, predict_output, progress
    from lungcli.predict import ensemble, inputs, predict, series

    pictures = explaining.Pictures(draws=explain, heat=explain_to, prepared=prepared_to)
    if engine == "ray":
        predict_ray.predict(_loaded(model or [""], 1, pictures, averages=tta), shard_size, address, context)
    named = paths or []
    form = _format(json=json, jsonl=jsonl, csv=csv, explain=explain)
    single = _is_single(named, stdin=stdin)
    threads = threads or cpu.physical_cores()
    # Several pictures at once are faster than one with several threads, whose parts wait for each other.
    loaded = _loaded(model or [""], threads if single else 1, pictures, averages=tta)
    naming = inputs.Naming(phi=include_phi)
    items = _items(named, naming, stdin=stdin)
    workers = 1 if single else threads
    predicted = predict.predict(items, loaded, force=force, workers=workers, capture=pictures.wanted)
    total = 1 if single else inputs.count(named) if console.err().is_terminal else None
    with predict_output.writing(form, loaded, single=single, top=top) as write, progress.judging(total) as advance:
        writers = [write, predict_output.filed(Path(output))] if output else [write]
        codes = _show(series.combined(predicted, ensemble.card(loaded)), writers, loaded[0], pictures, advance)
    if passed_over := inputs.passed_over(naming):
        console.info(f"passed over: {passed_over}")
    raise typer.Exit(predict_output.exit_code(codes, strict=strict))


def _show(
    predicted: "Iterable[tuple[Found, Capture | None]]",
    writers: "Sequence[Write]",
    model: "Model",
    pictures: explaining.Pictures,
    advance: "Callable[[], None]",
) -> set[int]:
    """Show every outcome as it comes, with the pictures that are wanted of it; return the exit codes."""
    from lungcli.cli import predict_output
    from lungcli.predict.predict import Prediction

    codes = set()
    for found, capture in predicted:
        codes.add(predict_output.complain(found))
        for write in writers:
            write(found)
        if isinstance(found, Prediction) and capture and capture.image:
            explaining.show(found, capture.image, model, pictures)
        advance()
    return codes


def _loaded(specs: list[str], threads: int, pictures: explaining.Pictures, *, averages: bool) -> "tuple[Model, ...]":
    """Load the models that were named, or the bundled one for an empty name, and tell what must be known of them."""
    import dataclasses

    from lungcli.cli import console
    from lungcli.modelfile import model_file, model_paths
    from lungcli.predict import ensemble

    paths = [model_paths.resolve(spec) if spec else model_paths.default() for spec in specs]
    loaded = [dataclasses.replace(model_file.load(path, threads), averages=averages) for path in paths]
    ensemble.check_compatible(loaded)
    if pictures.wanted and len(loaded) > 1:
        raise UsageError(
            "heat-maps and prepared slices are those of one model, and several were named", "name one --model"
        )
    console.disclaim()
    for model in loaded:
        if model.card.data.synthetic:
            name = model_paths.name_of(model.path)
            console.warn(f"{name} learned from drawn phantoms: its verdicts say nothing about people")
    return tuple(loaded)


def _format(*, json: bool, jsonl: bool, csv: bool, explain: bool) -> "Format":
    wanted: dict[Format, bool] = {"json": json, "jsonl": jsonl, "csv": csv}
    asked = [form for form, chosen in wanted.items() if chosen]
    if len(asked) > 1:
        raise UsageError(
            f"stdout takes one format, not --{' and --'.join(asked)}", "choose one; --output writes files too"
        )
    if explain and asked:
        raise UsageError(
            f"--explain draws in the terminal, where --{asked[0]} prints data", "write pictures: --explain-to DIR"
        )
    return asked[0] if asked else "lines"


def _is_single(named: list[str], *, stdin: bool) -> bool:
    """Say whether one verdict is to be expected.

    Raises UsageError where nothing is named, or stdin is wanted twice, or would be waited for at a keyboard.
    """
    from lungcli.predict import inputs

    if stdin and named:
        raise UsageError("--stdin takes one picture from stdin, and paths were named too", "leave one of them out")
    if not stdin and not named:
        raise UsageError("no picture was named", "for example: lungcli predict scan.png")
    if named.count("-") > 1:
        raise UsageError("`-` stands for the list on stdin, which can be read only once", "name it once")
    if (stdin or "-" in named) and sys.stdin.isatty():
        what = "a picture" if stdin else "a list of paths"
        raise UsageError(f"{what} is expected on stdin, but stdin is the keyboard", "pipe it in: … | lungcli predict …")
    return stdin or inputs.is_single(named)


def _items(named: list[str], naming: "Naming", *, stdin: bool) -> "Iterator[Item]":
    from lungcli.predict import inputs

    if stdin:
        return inputs.of_content(sys.stdin.buffer.read(MOST_BYTES), "stdin", naming)
    return inputs.items(named, naming, sys.stdin.buffer)
