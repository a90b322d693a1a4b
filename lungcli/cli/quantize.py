"""`lungcli quantize`."""

from pathlib import Path
from typing import TYPE_CHECKING

from lungcli.cli import options as opt

if TYPE_CHECKING:
    from lungcli.modelfile.model_card import ModelCard


@opt.taking("quantize")
def quantize(settings: opt.Settings) -> None:
    """Make an int8 file of a float model: the first of a ladder of ways that loses no more than allowed.

    Calibrated on training slices and judged on validation slices. Exit code 5: no way holds; the best file is kept.

    \b
    Examples:
      lungcli quantize train-resnet18-phantom
      lungcli quantize train-resnet18-phantom --max-drop 0.005 --min-agreement 0.98
      lungcli quantize train-resnet18-phantom --qat-epochs 5        (fine-tune it where no other way holds)
      lungcli quantize train-resnet18-phantom --to float16
    """
    import msgspec

    from lungcli.cli import console, progress
    from lungcli.core.commands import Quantization
    from lungcli.core.errors import UsageError
    from lungcli.modelfile import model_file, model_paths
    from lungcli.pipeline import quantize as quantizing
    from lungcli.pipeline import stages
    from lungcli.quantize.search import Limits

    asked = msgspec.convert(settings.values, Quantization)
    source = model_paths.resolve(asked.source)
    card = model_file.read_card(source)
    if card.precision != "float32":
        raise UsageError(f"{asked.source} is {card.precision} already", "name a float model, as in RUN/student")
    to = Path(asked.output) if asked.output else source.with_name(f"{source.stem}.{asked.form}.onnx")
    if to.exists() and not asked.overwrite:
        raise UsageError(f"{to} is there already", "add --overwrite, or choose another --output")
    console.disclaim()
    recipe = msgspec.structs.replace(card.recipe, data=asked.data or card.data.name, size=card.size)
    with progress.preparing(f"reading {recipe.data}") as advance:
        found = stages.load_run_data(recipe, advance)
    limits = Limits(max_drop=asked.max_drop, min_agreement=asked.min_agreement, metric=asked.metric.replace("-", "_"))
    made = progress.follow(quantizing.compress_file(source, to, found, limits, asked.form, asked.qat_epochs))
    _tell(made, source, to, tuned=bool(asked.qat_epochs))
    console.info(f"next: lungcli benchmark '{asked.source}' '{to}'")


def _tell(made: "ModelCard", source: Path, to: Path, *, tuned: bool) -> None:
    """Show the ladder and what came of it. Raises GateNotMetError when no rung holds."""
    from lungcli.cli import console, tables
    from lungcli.core import formatting
    from lungcli.core.errors import GateNotMetError
    from lungcli.evaluation import benchmark
    from lungcli.pipeline import quantize as quantizing

    tables.show_ladder(made)
    console.info(quantizing.proof_in_words(made))
    console.info(f"{formatting.size(source.stat().st_size)} → {formatting.size(to.stat().st_size)}")
    before, after = benchmark.benchmark([source, to], seconds=2.0)
    console.info(quantizing.speed_in_words(before.p50, after.p50, made.precision))
    console.out().print(console.plain(to), soft_wrap=True)
    if not quantizing.passes(made):
        fails = ", ".join(next(row.fails for row in made.trials if row.name == made.strategy))
        raise GateNotMetError(
            f"no rung of the ladder holds; the best, {made.strategy}, fails by {fails} and is kept: {to}",
            f"keep the float model, {'' if tuned else 'add --qat-epochs 5, '}"
            "or allow more with --max-drop or --min-agreement",
        )
