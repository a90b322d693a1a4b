"""`lungcli predict --engine ray`: its own options, and what it says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from lungcli.cli import console
from lungcli.core.errors import UsageError

if TYPE_CHECKING:
    from lungcli.batch.runner import ArchiveSummary
    from lungcli.modelfile.model_file import Model

Engine = Annotated[
    Literal["here", "ray"],
    typer.Option(
        "--engine",
        help="Who judges: this process, or, for archives, workers of Ray (extra `ray`), into Parquet files.",
    ),
]
ShardSize = Annotated[
    int, typer.Option("--shard-size", min=1, help="With --engine ray: most files whose verdicts share a Parquet file.")
]
Address = Annotated[
    str, typer.Option("--address", metavar="HOST:PORT", help="With --engine ray: a cluster that runs; else one here.")
]


# What one process does and shards cannot.
_HERE = ("stdin", "tta", "explain", "explain_to", "prepared_to", "top", "jsonl", "csv")


def predict(named_models: "Sequence[Model]", shard_size: int, address: str, context: typer.Context) -> NoReturn:
    """Judge a folder or URI with Ray by the options of `lungcli predict`, and exit as its verdicts call for."""
    from lungcli.batch import runner
    from lungcli.batch.ray_pool import Pool
    from lungcli.cli import predict_output, progress
    from lungcli.modelfile import model_paths

    if len(named_models) > 1:
        raise UsageError("--engine ray judges with one model, and several were named", "name one --model")
    (model,) = named_models
    given = context.params
    for option in (option.replace("_", "-") for option in _HERE if given[option]):
        raise UsageError(
            f"--engine ray writes Parquet to --output; --{option} is of --engine here", f"leave out --{option}"
        )
    named, output = given["paths"] or [], given["output"]
    if len(named) != 1 or named[0] == "-" or not output:
        raise UsageError(
            "--engine ray judges one folder or URI and needs --output",
            "for example: lungcli predict --engine ray s3://bucket/slices --output verdicts/",
        )
    asked = runner.ArchiveJob(
        archive=named[0],
        output=output,
        model_name=model_paths.name_of(model.path),
        shard_size=shard_size,
        force=given["force"],
        include_phi=given["include_phi"],
        pool=Pool(address=address, workers=given["threads"]),
    )
    with progress.preparing("judging") as advance:
        done = runner.predict(asked, model, advance)
    _tell(done)
    if given["json"]:
        console.print_json(done)
    unjudged = done.tally.refusals or done.tally.failures
    codes = {predict_output.UNJUDGED if unjudged else 0, predict_output.REFERRED if done.tally.referred else 0}
    raise typer.Exit(predict_output.exit_code(codes, strict=given["strict"]))


def _tell(done: "ArchiveSummary") -> None:
    if done.removed:
        console.info(f"{done.removed} shards were of files that are gone or changed: removed")
    if done.found:
        console.info(f"{done.found} of {done.shards} shards were there already")
    found, rate = done.tally, done.judged.files / done.seconds if done.judged.files else 0.0
    console.info(
        f"{found.files:,} files: {found.predictions:,} slices judged, {found.referred:,} of them referred to a "
        f"radiologist; {found.refusals:,} refused, {found.failures:,} not readable, {found.passed_over:,} no pictures"
    )
    console.info(
        f"{done.judged.files:,} files in {done.seconds:.1f} s ({rate:.1f}/s); {done.shards} shards in {done.output}; "
        f"DICOM series get no verdict of their own here",
        style="bold",
    )
