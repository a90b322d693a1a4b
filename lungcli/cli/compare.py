"""`lungcli compare`."""

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from lungcli.cli import options as opt

if TYPE_CHECKING:
    from lungcli.evaluation.compare import FindEvaluation, Flipped


def compare(
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN|FILE]…", help="All models on this machine if left out.")
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", metavar="MODEL", help="Model to put first and take differences to.")
    ] = "",
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="Time each model so long; 0: do not time.")] = 2.0,
    threads: opt.Threads = 0,
    flips: Annotated[bool, typer.Option("--flips", help="List the slices that the models judge differently.")] = False,
    json: opt.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Any models side by side: size, latency, accuracy with intervals, paired difference.

    Models judged on different test parts are refused; the list of all models says which they are. A named
    file that lies beside no verdicts is judged anew, where its data set is here.

    \b
    Examples:
      lungcli compare RUN/teacher RUN/student RUN/int8
      lungcli compare RUN/teacher RUN/student RUN/int8 --flips
      lungcli compare --baseline RUN/teacher
    """
    from lungcli.cli import console, tables
    from lungcli.core.errors import UsageError
    from lungcli.evaluation import compare as comparing
    from lungcli.modelfile import model_paths
    from lungcli.views import comparison_table

    paths = [model_paths.resolve(spec) for spec in specs] if specs else list(model_paths.files().values())
    pinned = model_paths.resolve(baseline) if baseline else None
    if flips:
        if csv or markdown:
            raise UsageError("flips are listed as a table or as JSON", "leave --csv and --markdown out, or add --json")
        with _finding() as find:
            changed = comparing.find_flips(paths, pinned, find)
        _flips(changed, as_json=json)
        return
    if specs:
        with _finding() as find:
            found = comparing.compare(paths, pinned, seconds, threads, find=find)
    else:
        # All that is there is a list, not meant to be compared: it must not judge trials on the test part.
        found = comparing.compare(paths, pinned, seconds, threads, listing=True)
    if json:
        console.print_json(found)
    elif csv:
        console.print_text(comparison_table.comma_separated(found))
    elif markdown:
        console.print_text(comparison_table.markdown(found))
    else:
        tables.show_comparison(found)


@contextlib.contextmanager
def _finding() -> "Iterator[FindEvaluation]":
    """Yield what finds the verdicts of a model file, once each; shows that slices are read where they must be."""
    from lungcli.cli import progress
    from lungcli.pipeline import evaluate

    with progress.preparing("reading slices") as advance:
        yield functools.cache(lambda path: evaluate.evaluation_of(path, advance))


def _flips(found: "Flipped", *, as_json: bool) -> None:
    """Print each slice that not all models judge alike, with every verdict; wrong ones are marked."""
    from rich.table import Table

    from lungcli.cli import console

    if as_json:
        console.print_json(found)
        return
    runs = {name.rpartition("/")[0] for name in found.models}
    one_run = len(runs) == 1 and "" not in runs
    shown = [name.rpartition("/")[2] if one_run else name for name in found.models]
    table = Table(title=console.plain(*runs) if one_run else None, title_justify="left", box=None, pad_edge=False)
    for title in ("slice", "true class", *shown):
        table.add_column(console.plain(title), overflow="fold")
    for row in found.slices:
        cells = [
            f"{'' if verdict.label == row.label else '✗ '}{verdict.label} {verdict.confidence:.0%}"
            for verdict in row.predictions
        ]
        table.add_row(console.plain(row.slice.rpartition("/")[2]), row.label, *cells)
    if found.slices:
        console.out().print(table)
    baseline, *others = shown
    for name, count in zip(others, found.counts, strict=True):
        total = count.mended + count.broken + count.both_wrong
        console.info(
            f"{name}: {total} of {found.n} verdicts are not those of {baseline}: "
            f"{count.mended} mended, {count.broken} broken, {count.both_wrong} both wrong"
        )
