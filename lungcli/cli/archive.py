"""`lungcli predict --engine ray`: its own options, and what it says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from lungcli.cli import speak
from lungcli.core.errors import UsageError

if TYPE_CHECKING:
    from lungcli.archive.job import Summary
    from lungcli.inference.modelfile import Model

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


def predict(named_models: "Sequence[Model]", context: typer.Context) -> NoReturn:
    """Judge a folder or URI with Ray by the options of `lungcli predict`, and exit as its verdicts call for."""
    from lungcli.archive import job
    from lungcli.archive.cluster import Pool
    from lungcli.cli import progress, verdicts
    from lungcli.core import models

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
    asked = job.Job(
        archive=named[0],
        output=output,
        model_name=models.name_of(model.path),
        shard_size=given["shard_size"],
        force=given["force"],
        include_phi=given["include_phi"],
        pool=Pool(address=given["address"], workers=given["threads"]),
    )
    with progress.preparing("judging") as advance:
        done = job.predict(asked, model, advance)
    _tell(done)
    if given["json"]:
        speak.print_json(done)
    unjudged = done.tally.refusals or done.tally.failures
    codes = {verdicts.UNJUDGED if unjudged else 0, verdicts.REFERRED if done.tally.referred else 0}
    raise typer.Exit(verdicts.exit_code(codes, strict=given["strict"]))


def _tell(done: "Summary") -> None:
    if done.removed:
        speak.say(f"{done.removed} shards were of files that are gone or changed: removed")
    if done.found:
        speak.say(f"{done.found} of {done.shards} shards were there already")
    found, rate = done.tally, done.judged.files / done.seconds if done.judged.files else 0.0
    speak.say(
        f"{found.files:,} files: {found.predictions:,} slices judged, {found.referred:,} of them referred to a "
        f"radiologist; {found.refusals:,} refused, {found.failures:,} not readable, {found.passed_over:,} no pictures"
    )
    speak.say(
        f"{done.judged.files:,} files in {done.seconds:.1f} s ({rate:.1f}/s); {done.shards} shards in {done.output}; "
        f"DICOM series get no verdict of their own here",
        style="bold",
    )
