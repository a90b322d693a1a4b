"""`lungcli compare`."""

from typing import Annotated

import typer

from lungcli.cli import options as opt


def compare(
    specs: Annotated[
        list[str] | None, typer.Argument(metavar="[RUN|FILE]…", help="All models on this machine if left out.")
    ] = None,
    baseline: Annotated[
        str, typer.Option("--baseline", help="Model to take differences to; the first if left out.")
    ] = "",
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="Time each model so long; 0: do not time.")] = 2.0,
    threads: opt.Threads = 0,
    json: opt.Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Any models side by side: size, latency, accuracy with intervals, paired difference.

    Models judged on different test parts are refused; the list of all models says which they are.

    \b
    Example: lungcli compare compress-mobilenetv2-phantom/teacher compress-mobilenetv2-phantom
    """
    from lungcli.cli import speak, tables
    from lungcli.core import models
    from lungcli.inference import compare as comparing
    from lungcli.inference import report

    paths = [models.resolve(spec) for spec in specs] if specs else list(models.files().values())
    pinned = models.resolve(baseline) if baseline else None
    # All that is there is a list; models that are named are meant to be compared.
    found = comparing.compare(paths, pinned, seconds, threads, listing=not specs)
    if json:
        speak.print_json(found)
    elif csv:
        speak.print_text(report.comma_separated(found))
    elif markdown:
        speak.print_text(report.markdown(found))
    else:
        tables.show_comparison(found)
