"""`lungcli predict`."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from lungcli.cli import complete, console, options, predict_explain, predict_ray
from lungcli.core import cpu, settings
from lungcli.core.errors import UsageError

if TYPE_CHECKING:
    from lungcli.cli.predict_output import Format, Write
    from lungcli.imaging.hounsfield import GreyScale
    from lungcli.modelfile.model_file import Model
    from lungcli.predict.inputs import Item, Naming
    from lungcli.predict.predict import Capture, Outcome

Paths = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH…",
        help="Pictures, DICOM, NIfTI, MetaImage, NRRD; folders, .zip files, patterns; `-`: names on stdin, one a line.",
    ),
]
Stdin = Annotated[bool, options.in_panel("Input", "Predict the one picture on stdin, of at most 192 MiB.", "--stdin")]
Models = Annotated[
    list[str] | None,
    options.in_panel(
        "Net",
        "Run, RUN/STAGE or .onnx file; repeat for an ensemble.",
        "--model",
        "-m",
        autocompletion=complete.models,
        metavar="MODEL",
    ),
]
Tta = Annotated[bool, options.in_panel("Net", "Average ten views, mirrored and shifted; ten times slower.", "--tta")]
Strict = Annotated[bool, options.in_panel("Output", "Exit with code 6 when a prediction is referred.", "--strict")]
Force = Annotated[bool, options.in_panel("Input", "Predict what is no axial lung slice too, and mark it.", "--force")]
Top = Annotated[
    int, options.in_panel("Output", "Classes to show; 0: all of one picture, one of several.", "--top", min=0)
]
IncludePhi = Annotated[
    bool, options.in_panel("Output", "Show DICOM paths in full, and series by UID.", "--include-phi")
]
Output = Annotated[
    str | None,
    options.in_panel("Output", "Also write each outcome to a JSON file in this folder.", "--output", metavar="FOLDER"),
]
PreparedTo = Annotated[
    Path | None,
    options.in_panel(
        "Pictures", "Write each slice as given to the net to DIR, as PNG.", "--prepared-to", metavar="DIR"
    ),
]
JsonLines = Annotated[
    bool, options.in_panel("Output", "Print JSON lines, one for each outcome as it comes.", "--jsonl")
]
Csv = Annotated[bool, options.in_panel("Output", "Print CSV.", "--csv")]
Timeout = Annotated[
    float,
    options.in_panel(
        "Pictures", "Give up a picture that takes longer to read.", "--timeout", min=1, max=3600, metavar="SECONDS"
    ),
]
# No window or offset of CT reaches so far.
_MOST_HU = 100_000.0

Window = Annotated[
    str,
    options.in_panel(
        "Pictures",
        "Window in HU that pictures show, from black to white; DICOM and volumes say theirs.",
        metavar="CENTER,WIDTH",
    ),
]
HuOffset = Annotated[
    float | None, options.in_panel("Pictures", "Values of pictures are HU plus N, such as 1024 or 32768.", metavar="N")
]


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
    explain: predict_explain.Explain = False,
    explain_to: predict_explain.ExplainTo = None,
    prepared_to: PreparedTo = None,
    window: Window = "",
    hu_offset: HuOffset = None,
    threads: options.Threads = 0,
    json: options.Json = False,
    jsonl: JsonLines = False,
    csv: Csv = False,
    timeout: Timeout = 10.0,
    engine: predict_ray.Engine = "here",
    shard_size: predict_ray.ShardSize = 1000,
    address: predict_ray.Address = "",
) -> None:
    """Predict the class of lung CT slices.

    A picture that is no axial lung CT slice is refused (exit code 4). A slice that the model is not sure of, or that
    was acquired unlike its training slices, is referred to a radiologist. A DICOM series also gets a prediction of its
    own. More: `lungcli help predictions`.

    \b
    Examples:
      lungcli predict scan.png
      lungcli predict -m bundled -m compress-mobilenetv2-mine scan.png
      lungcli predict --engine ray s3://bucket/slices --output predictions/
      find . -name '*.dcm' | lungcli predict --csv -
    """
    from lungcli.cli import predict_output
    from lungcli.imaging import timed_reading
    from lungcli.predict import inputs, predict

    pictures = predict_explain.Pictures(draws=explain, heat=explain_to, prepared=prepared_to)
    if engine == "ray":
        predict_ray.predict(_load_models(model or [""], 1, pictures, averages=tta), shard_size, address, context)
    named_paths, threads = paths or [], threads or cpu.physical_cores()
    form, single = _format(json=json, jsonl=jsonl, csv=csv, explain=explain), _is_single(named_paths, stdin=stdin)
    workers = 1 if single else threads
    timed_reading.start(0 if single else predict.at_once(workers))
    # Several pictures at once are faster than one with several threads, which wait for each other.
    loaded = _load_models(model or [""], threads if single else 1, pictures, averages=tta)
    naming, scale = inputs.Naming(phi=include_phi, seconds=timeout), _grey_scale(window, hu_offset)
    items = _items(named_paths, naming, scale, stdin=stdin)
    items = map(inputs.plain_here, items) if single else items
    outcomes = predict.predict(items, loaded, force=force, workers=workers, capture=pictures.wanted, seconds=timeout)
    total = 1 if single else inputs.count(named_paths) if console.err().is_terminal else None
    with predict_output.output_writer(form, loaded, single=single, top=top) as write:
        writers = [write, predict_output.file_writer(Path(output))] if output else [write]
        codes = _show_outcomes(outcomes, writers, loaded, pictures, total)
    _exit(predict_output.exit_code(codes, strict=strict), naming)


def _grey_scale(window: str, offset: float | None) -> "GreyScale | None":
    """What the user says of pictures' greys, None for nothing. Raises UsageError."""
    from lungcli.imaging.hounsfield import GreyScale

    if window and offset is not None:
        raise UsageError("--window and --hu-offset both say what the values of pictures are", "give one of them")
    if offset is not None and not abs(offset) <= _MOST_HU:
        raise UsageError(f"--hu-offset {offset} is no offset of Hounsfield units", "give one such as 1024 or 32768")
    if not window:
        return None if offset is None else GreyScale(offset=offset)
    try:
        centre, width = (float(number) for number in window.split(","))
    except ValueError:
        centre = width = 0.0
    if not (1 <= width <= _MOST_HU and abs(centre) <= _MOST_HU):
        raise UsageError(f"--window {window} is no window", "give its centre and width in HU, such as -600,1500")
    return GreyScale(window=(centre, width))


def _exit(code: int, naming: "Naming") -> NoReturn:
    from lungcli.predict import inputs

    if passed_over := inputs.passed_over(naming):
        console.info(f"passed over: {passed_over}")
    raise typer.Exit(code)


def _show_outcomes(
    predicted: "Iterable[tuple[Outcome, Capture]]",
    writers: "Sequence[Write]",
    models: "Sequence[Model]",
    pictures: predict_explain.Pictures,
    total: int | None,
) -> set[int]:
    """Show every outcome as it comes, series too, with the requested pictures; return the exit codes."""
    from lungcli.cli import predict_output, progress
    from lungcli.predict import ensemble, series
    from lungcli.predict.predict import Prediction
    from lungcli.predict.series import SeriesVerdict
    from lungcli.views import prediction

    codes, findings = set(), Counter[str]()
    with progress.predicting(total) as advance:
        for outcome, capture in series.combined(predicted, ensemble.card(models)):
            codes.add(predict_output.report_problem(outcome))
            if not isinstance(outcome, SeriesVerdict):
                findings[prediction.finding_of(outcome)] += 1
            for write in writers:
                write(outcome)
            if isinstance(outcome, Prediction) and capture and capture.image:
                predict_explain.show(outcome, capture.image, models[0], pictures)
            advance()
    if findings.total() > 1:
        console.info(prediction.counts(findings))
    return codes


def _load_models(
    specs: list[str], threads: int, pictures: predict_explain.Pictures, *, averages: bool
) -> "tuple[Model, ...]":
    """Load the named models, the bundled one for an empty name; print the disclaimer and warnings."""
    import dataclasses

    from lungcli.modelfile import model_file, model_paths
    from lungcli.predict import ensemble
    from lungcli.views import acceptance
    from lungcli.views.prediction import SYNTHETIC, UNGUARDED

    paths = [model_paths.resolve(spec) if spec else model_paths.default() for spec in specs]
    loaded = [dataclasses.replace(model_file.load(path, threads), averages=averages) for path in paths]
    if threshold := float(settings.current("referral").value):
        loaded = [_with_threshold(model, threshold) for model in loaded]
    ensemble.check_compatible(loaded)
    if pictures.wanted and len(loaded) > 1:
        raise UsageError("heat-maps and prepared slices need a single model, and several are named", "name one --model")
    console.disclaim()
    for model in loaded:
        synthetic = [SYNTHETIC] if model.card.data.synthetic else []
        unguarded = [UNGUARDED] if model.card.data.any_picture else []
        for reason in (*synthetic, *unguarded, *acceptance.reservations(model.card)):
            console.warn(f"{model_paths.name_of(model.path)}: {reason}")
    return tuple(loaded)


def _with_threshold(model: "Model", threshold: float) -> "Model":
    import dataclasses

    import msgspec

    card = model.card
    if card.referral is None:
        return model
    referral = msgspec.structs.replace(card.referral, threshold=threshold, target="the setting `referral`")
    return dataclasses.replace(model, card=msgspec.structs.replace(card, referral=referral))


def _format(*, json: bool, jsonl: bool, csv: bool, explain: bool) -> "Format":
    wanted: dict[Format, bool] = {"json": json, "jsonl": jsonl, "csv": csv}
    chosen = [form for form, chosen in wanted.items() if chosen]
    if len(chosen) > 1:
        raise UsageError(
            f"only one output format can be printed, not --{' and --'.join(chosen)}",
            "choose one; --output writes files as well",
        )
    if explain and chosen:
        raise UsageError(
            f"--explain draws between the data that --{chosen[0]} prints",
            "write the heat-maps to files: --explain-to DIR",
        )
    return chosen[0] if chosen else "lines"


def _is_single(named_paths: list[str], *, stdin: bool) -> bool:
    """Whether a single prediction is to be expected.

    Raises UsageError where nothing is named, or stdin is wanted twice, or would be waited for at a keyboard.
    """
    from lungcli.predict import inputs

    if stdin and named_paths:
        raise UsageError("--stdin reads one picture, and paths are named too", "leave one of them out")
    if not stdin and not named_paths:
        raise UsageError("no picture is named", "for example: lungcli predict scan.png")
    if named_paths.count("-") > 1:
        raise UsageError("`-` is named more than once, and stdin can be read only once", "name it once")
    if (stdin or "-" in named_paths) and sys.stdin.isatty():
        what = "a picture" if stdin else "a list of paths"
        raise UsageError(f"{what} is expected on stdin, but stdin is the keyboard", "pipe it in: … | lungcli predict …")
    return stdin or inputs.is_single(named_paths)


def _items(named_paths: list[str], naming: "Naming", scale: "GreyScale | None", *, stdin: bool) -> "Iterator[Item]":
    from lungcli.imaging.picture import MAX_SLICE_BYTES
    from lungcli.predict import inputs

    if stdin:
        items = inputs.of_content(sys.stdin.buffer.read(MAX_SLICE_BYTES + 1), "stdin", naming)
    else:
        items = inputs.items(named_paths, naming, sys.stdin.buffer)
    return (dataclasses.replace(item, scale=scale) for item in items) if scale else items
