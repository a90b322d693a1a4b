"""`lungcli predict --engine ray`: its own options, and its report."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from lungcli.cli import console, options
from lungcli.core.errors import UsageError

if TYPE_CHECKING:
    from lungcli.batch.runner import ArchiveSummary
    from lungcli.modelfile.model_file import Model

Engine = Annotated[
    Literal["here", "ray"],
    options.in_panel("Whole archives", "ray: Ray workers write Parquet files (extra `ray`).", "--engine"),
]
ShardSize = Annotated[
    int, options.in_panel("Whole archives", "Most input files per Parquet file.", "--shard-size", min=1)
]
Address = Annotated[
    str,
    options.in_panel("Whole archives", "A running cluster; a local one if left out.", "--address", metavar="HOST:PORT"),
]


# What only the engine `here` can do.
_ONE_PROCESS_OPTIONS = (
    "stdin",
    "tta",
    "explain",
    "explain_to",
    "prepared_to",
    "top",
    "jsonl",
    "csv",
    "window",
    "hu_offset",
)
_LEFT_OUT = (None, False, "")


def predict(named_models: "Sequence[Model]", shard_size: int, address: str, context: typer.Context) -> NoReturn:
    """Predict a folder or URI with Ray by the options of `lungcli predict`, and exit with the code of its outcomes."""
    from lungcli.batch import runner
    from lungcli.batch.ray_pool import Pool
    from lungcli.cli import predict_output, progress
    from lungcli.modelfile import model_paths

    if len(named_models) > 1:
        raise UsageError("--engine ray predicts with one model, and several are named", "name one --model")
    (model,) = named_models
    given = context.params
    for option in (option.replace("_", "-") for option in _ONE_PROCESS_OPTIONS if given[option] not in _LEFT_OUT):
        raise UsageError(
            f"--{option} works with --engine here only; --engine ray writes Parquet to --output",
            f"leave out --{option}",
        )
    named_paths, output = given["paths"] or [], given["output"]
    if len(named_paths) != 1 or named_paths[0] == "-" or not output:
        raise UsageError(
            "--engine ray needs one folder or URI, and --output",
            "for example: lungcli predict --engine ray s3://bucket/slices --output predictions/",
        )
    job = runner.ArchiveJob(
        archive=named_paths[0],
        output=output,
        model_name=model_paths.name_of(model.path),
        shard_size=shard_size,
        force=given["force"],
        include_phi=given["include_phi"],
        pool=Pool(address=address, workers=given["threads"]),
    )
    with progress.preparing("predicting") as advance:
        summary = runner.predict(job, model, advance)
    _report(summary)
    if given["json"]:
        console.print_json(summary)
    unpredicted = summary.tally.refusals or summary.tally.failures
    codes = {
        predict_output.NOT_PREDICTED if unpredicted else 0,
        predict_output.REFERRED if summary.tally.referred else 0,
    }
    raise typer.Exit(predict_output.exit_code(codes, strict=given["strict"]))


def _report(summary: "ArchiveSummary") -> None:
    if summary.removed:
        console.info(f"{summary.removed} shards removed, whose files are gone or have changed")
    if summary.found:
        console.info(f"{summary.found} of {summary.shards} shards were complete already")
    tally, rate = summary.tally, summary.judged.files / summary.seconds if summary.judged.files else 0.0
    console.info(
        f"{tally.files:,} files: {tally.predictions:,} predictions, {tally.referred:,} of them referred to a "
        f"radiologist; {tally.refusals:,} refused, {tally.failures:,} unreadable, {tally.passed_over:,} not pictures"
    )
    console.info(
        f"{summary.judged.files:,} files in {summary.seconds:.1f} s ({rate:.1f}/s); {summary.shards} shards in "
        f"{summary.output}; DICOM series get no prediction of their own with --engine ray",
        style="bold",
    )
