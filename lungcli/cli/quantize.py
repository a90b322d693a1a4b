"""`lungcli quantize`."""

from pathlib import Path
from typing import TYPE_CHECKING

from lungcli.cli import console, options
from lungcli.core.commands import Quantization
from lungcli.core.errors import GateNotMetError, UsageError
from lungcli.views import units

if TYPE_CHECKING:
    from lungcli.modelfile.model_card import ModelCard
    from lungcli.quantize.search import Limits


@options.with_options_of("quantize")
def quantize(settings: options.Settings) -> None:
    """Quantize a model, losing no more than allowed.

    The first strategy that passes the quantization check is taken: calibrated on training slices, checked on validation
    slices. Exit code 5 if none passes; the best is kept.

    \b
    Examples:
      lungcli quantize train-resnet18-phantom
      lungcli quantize train-resnet18-phantom --max-int8-drop 0.005
      lungcli quantize train-resnet18-phantom --qat-epochs 5
      lungcli quantize train-resnet18-phantom --to float16
      lungcli quantize adopted --calibrate-on pictures/
    """
    import msgspec

    quantize_as_asked(msgspec.convert(settings.values, Quantization))


def quantize_as_asked(request: "Quantization") -> None:
    """Quantize and report. Raises UsageError, GateNotMetError."""
    from lungcli.cli import progress
    from lungcli.modelfile import model_file, model_paths
    from lungcli.pipeline import quantize, stages, unlabelled
    from lungcli.quantize.search import Limits

    source = model_paths.resolve(request.source)
    card = model_file.read_card(source)
    if card.precision != "float32":
        raise UsageError(f"{request.source} is {card.precision} already", "name a float model, for example RUN/student")
    to = Path(request.output) if request.output else source.with_name(f"{source.stem}.{request.form}.onnx")
    if to.exists() and not request.overwrite:
        raise UsageError(f"{to} exists already", "add --overwrite, or choose another --output")
    console.disclaim()
    if request.calibrate_on:
        if request.data:
            raise UsageError("--data and --calibrate-on both name slices", "leave one of them out")
        with progress.preparing(f"reading {request.calibrate_on}") as advance:
            run_data = unlabelled.load(model_file.load(source), Path(request.calibrate_on).expanduser(), advance)
        parts = f"{len(run_data.split.train)} slices to calibrate on and {len(run_data.split.val)} held out"
        console.info(f"{parts}; labels are what the float model predicts, so figures are of agreement alone")
    else:
        recipe = stages.recipe_on(card, request.data)
        with progress.preparing(f"reading {recipe.data}") as advance:
            run_data = stages.load_run_data(recipe, advance)
    limits = Limits(
        max_drop=request.max_int8_drop, min_agreement=request.min_agreement, metric=request.metric.replace("-", "_")
    )
    card_of_quantized = progress.show_and_return_card(
        quantize.compress_file(source, to, run_data, limits, request.form, request.qat_epochs)
    )
    _report(card_of_quantized, source, to, limits)
    console.info(f"next: lungcli benchmark '{request.source}' '{model_paths.name_of(to)}'")


def _report(card: "ModelCard", source: Path, to: Path, limits: "Limits") -> None:
    """Show the quantization search and its result. Raises GateNotMetError where no strategy passes."""
    from lungcli.cli import run_job, tables
    from lungcli.evaluation import benchmark
    from lungcli.pipeline import quantize
    from lungcli.views import acceptance

    tables.show_quantization_search(card)
    console.info(quantize.proof_in_words(card))
    console.info(f"{units.size(source.stat().st_size)} → {units.size(to.stat().st_size)}")
    before, after = benchmark.benchmark([source, to], seconds=run_job.SECONDS)
    console.info(quantize.speed_in_words(before.p50, after.p50, card.precision))
    console.out().print(console.plain(to), soft_wrap=True)
    decision = quantize.check_of(card, limits)
    if not decision.met:
        fails = ", ".join(next(row.fails for row in card.trials if row.name == card.strategy))
        raise GateNotMetError(
            f"{acceptance.check(decision)}; no strategy passes; "
            f"the best, {card.strategy}, fails on {fails} and is kept: {to}",
            f"{acceptance.WHAT_TO_DO['quantization']} or --min-agreement",
        )
    console.info(acceptance.check(decision), style="green")
