"""`lungcli compare`."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lungcli.cli import complete, console, options
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Metric

if TYPE_CHECKING:
    from lungcli.evaluation.compare import Comparison, FindEvaluation, Flipped, ModelByInstitution
    from lungcli.pipeline.evaluate import SharedTestPart

Specs = Annotated[
    list[str] | None,
    typer.Argument(
        autocompletion=complete.models, metavar="[RUN|FILE]…", help="All models on this machine if left out."
    ),
]
Baseline = Annotated[
    str, options.in_panel("Net", "Reference model: shown first, differences are to it.", "--baseline", metavar="MODEL")
]
Seconds = Annotated[
    float, options.in_panel("Hardware", "Seconds to time each model; 0: do not time.", "--seconds", min=0)
]
Flips = Annotated[bool, options.in_panel("Output", "List the slices that the models classify differently.", "--flips")]
By = Annotated[
    Literal["model", "institution"],
    options.in_panel("Output", "institution: each model's score at every institution.", "--by"),
]
ByMetric = Annotated[
    Metric, options.in_panel("Output", "Figure of the differences, as in quantize.", "--metric", metavar="FIGURE")
]
Wide = Annotated[bool, options.in_panel("Output", "Show every column.", "--wide")]
Csv = Annotated[bool, options.in_panel("Output", "Print CSV.", "--csv")]
Markdown = Annotated[bool, options.in_panel("Output", "Print Markdown.", "--markdown")]


def compare(
    specs: Specs = None,
    baseline: Baseline = "",
    seconds: Seconds = 2.0,
    threads: options.Threads = 0,
    flips: Flips = False,
    by: By = "model",
    metric: ByMetric = "balanced-accuracy",
    wide: Wide = False,
    json: options.Json = False,
    csv: Csv = False,
    markdown: Markdown = False,
) -> None:
    """Compare models: size, latency, accuracy, differences.

    Accuracy comes with intervals, and differences are paired. Named models of different data sets are evaluated anew on
    the test part of one of them, without slices that another has seen; models of different splits of one data set are
    refused, since one may know the test slices of the other. Without names, a footnote lists both.

    \b
    Examples:
      lungcli compare RUN/teacher RUN/student RUN/int8
      lungcli compare RUN/teacher RUN/student RUN/int8 --flips
      lungcli compare bundled RUN --metric worst-institution
      lungcli compare RUN/teacher RUN/student --by institution
      lungcli compare --baseline RUN/teacher
    """
    from lungcli.evaluation import compare
    from lungcli.modelfile import model_paths

    paths = [model_paths.resolve(spec) for spec in specs] if specs else list(model_paths.files().values())
    baseline_path = model_paths.resolve(baseline) if baseline else None
    files = [*paths, *([baseline_path] if baseline_path else [])]
    if (flips or by == "institution") and (csv or markdown):
        raise UsageError("--flips and --by print a table or JSON", "leave --csv and --markdown out")
    if flips:
        with _evaluation_finder(files) as (find, shared):
            flipped = compare.find_flips(paths, baseline_path, find)
        _warn_of_left_out(shared)
        _show_flips(flipped, as_json=json)
        return
    if by == "institution":
        _show_institutions(_by_institution(paths, baseline_path, anew=bool(specs)), as_json=json)
        return
    figure = metric.replace("-", "_")
    if specs:
        with _evaluation_finder(files) as (find, shared):
            anew, left_out = (shared.data.name, shared.left_out) if shared else ("", 0)
            comparison = compare.compare(
                paths, baseline_path, seconds, threads, find=find, anew=anew, left_out=left_out, metric=figure
            )
    else:
        # A list of all models evaluates none: trials of a search must not meet the test part.
        comparison = compare.compare(paths, baseline_path, seconds, threads, listing=True, metric=figure)
    _show(comparison, json=json, csv=csv, markdown=markdown, wide=wide)


def _show(comparison: "Comparison", *, json: bool, csv: bool, markdown: bool, wide: bool) -> None:
    from lungcli.cli import tables
    from lungcli.views import comparison_table

    if json:
        console.print_json(comparison)
    elif csv:
        console.print_text(comparison_table.comma_separated(comparison))
    elif markdown:
        console.print_text(comparison_table.markdown(comparison))
    else:
        tables.show_comparison(comparison, wide=wide)


@contextlib.contextmanager
def _evaluation_finder(paths: "Sequence[Path]") -> "Iterator[tuple[FindEvaluation, SharedTestPart | None]]":
    """Yield a function that returns the evaluation of a model file, computed once; shows the progress of reading.

    Models of several data sets are evaluated anew on the test part of one of them, which stands beside the function
    (None: each on its own test part).
    """
    from lungcli.cli import progress
    from lungcli.evaluation.compare import reason_not_comparable, stored_evaluation
    from lungcli.modelfile import model_file, model_paths
    from lungcli.pipeline import evaluate

    cards = [model_file.read_card(path) for path in paths]
    differ = any(reason_not_comparable(card, cards[0]) for card in cards)
    differ |= any(card.adopted and not stored_evaluation(path) for card, path in zip(cards, paths, strict=True))
    shared = evaluate.shared_test_part(cards) if differ else None
    with progress.preparing("reading slices") as advance:
        if shared is None:
            yield functools.cache(lambda path: evaluate.evaluation_of(path, advance)), None
        else:
            for path, card in zip(paths, cards, strict=True):
                if card.training_slices is None and card.split.digest != shared.card.split.digest:
                    console.warn(
                        f"{model_paths.name_of(path)} does not say which slices it was trained on, so test slices of "
                        f"{shared.data.name!r} may be among them"
                    )
            yield functools.cache(lambda path: evaluate.evaluation_beside(path, shared, advance)), shared


def _warn_of_left_out(shared: "SharedTestPart | None") -> None:
    from lungcli.views import comparison_table

    if shared and shared.left_out:
        console.warn(comparison_table.left_out(shared.left_out, shared.data.name))


def _by_institution(paths: "Sequence[Path]", baseline: Path | None, *, anew: bool) -> "tuple[ModelByInstitution, ...]":
    """Return the figures of each model; with `anew` those that have none are evaluated."""
    from lungcli.evaluation import compare

    if not anew:
        return compare.by_institution(paths, baseline)
    with _evaluation_finder([*paths, *([baseline] if baseline else [])]) as (find, shared):
        rows = compare.by_institution(paths, baseline, find)
    _warn_of_left_out(shared)
    return rows


def _show_institutions(rows: "Sequence[ModelByInstitution]", *, as_json: bool) -> None:
    from lungcli.views import institutions

    if as_json:
        console.print_json({"models": rows})
        return
    console.out().print(institutions.heat_table(rows))
    console.info(f"{institutions.SCORE}; with intervals: lungcli evaluate MODEL", style="dim")


def _show_flips(flipped: "Flipped", *, as_json: bool) -> None:
    """Print each slice that the models classify differently, with every prediction; wrong ones are marked."""
    from lungcli.views import text_table

    if as_json:
        console.print_json(flipped)
        return
    runs = {name.rpartition("/")[0] for name in flipped.models}
    one_run = len(runs) == 1 and "" not in runs
    shown = [name.rpartition("/")[2] if one_run else name for name in flipped.models]
    headings = [console.plain(title) for title in ("slice", "true class", *shown)]
    table = text_table.grid(headings, title=console.plain(*runs) if one_run else None)
    for row in flipped.slices:
        cells = [
            f"{'' if prediction.label == row.label else '✗ '}{prediction.label} {prediction.confidence:.0%}"
            for prediction in row.predictions
        ]
        table.add_row(console.plain(row.slice.rpartition("/")[2]), row.label, *cells)
    if flipped.slices:
        console.out().print(table)
    baseline, *others = shown
    for name, count in zip(others, flipped.counts, strict=True):
        total = count.mended + count.broken + count.both_wrong
        console.info(
            f"{name}: {total} of {flipped.n} predictions differ from those of {baseline}: "
            f"{count.mended} corrected, {count.broken} broken, {count.both_wrong} wrong in both"
        )
