"""`lungcli benchmark`."""

from typing import Annotated

import typer

from lungcli.cli import complete, console, options


def benchmark(
    specs: Annotated[
        list[str], typer.Argument(autocompletion=complete.models, metavar="RUN|FILE…", help="Models to time, in turns.")
    ],
    seconds: Annotated[float, options.in_panel("Hardware", "Seconds to time each model.", "--seconds", min=0.1)] = 10.0,
    batch: Annotated[int, options.in_panel("Hardware", "Slices per call.", "--batch", min=1, max=1024)] = 1,
    threads: options.Threads = 0,
    json: options.Json = False,
) -> None:
    """Measure the latency of models.

    Times the net alone, models in turns: 20 warm-up calls, then percentiles.

    \b
    Example: lungcli benchmark compress-mobilenetv2-phantom/student compress-mobilenetv2-phantom/int8
    """
    from lungcli.evaluation import benchmark
    from lungcli.modelfile import model_file, model_paths
    from lungcli.views import text_table
    from lungcli.views.comparison_table import disturbed

    loaded = [model_file.load(model_paths.resolve(spec), threads) for spec in specs]
    measured = benchmark.benchmark(loaded, seconds=seconds, threads=threads, batch=batch)
    if batch == 1 and not threads:
        benchmark.keep([model.path for model in loaded], measured)
    machine = benchmark.machine()
    if json:
        console.print_json({"machine": machine, "measurements": measured})
        return
    rows = []
    for spec, row in zip(specs, measured, strict=True):
        ratio = f"{measured[0].p50 / row.p50:.2f}× faster" if row.p50 <= measured[0].p50 else ""
        ratio = ratio or f"{row.p50 / measured[0].p50:.2f}× slower"
        cells = (f"{value:.2f}" for value in (row.p50, row.p90, row.p99, row.mean))
        rows.append((console.plain(spec), *cells, str(row.n), "–" if row is measured[0] else ratio))
    headings = ("model", "p50 ms", "p90 ms", "p99 ms", "mean ms", "n", "to first")
    console.out().print(text_table.grid(headings, rows, 1))
    console.info(
        f"batch {batch}, {measured[0].threads} thread(s), {machine['cpu']} ({machine['flags']}), "
        f"onnxruntime {machine['onnxruntime']}"
    )
    if measured[0].disturbed:
        console.info(disturbed(measured[0]))
