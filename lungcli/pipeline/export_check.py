"""Whether a model file can be made of each net of a run, tried before anything is trained."""

import hashlib
import importlib.metadata
from pathlib import Path

import msgspec

from lungcli.core import paths, registry
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.core.runs import Run
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import stages, teachers


def require_exportable(run: Run, classes: int) -> None:
    """Raise UsageError for a run with a net that no model file can be made of, before it is trained.

    Each net that is still to train is exported with random weights, and the graph is checked and started as that of a
    model file. A net that has passed at this size is not checked again until a library changes.
    """
    from lungcli.training import checkpoint

    for stage in model_paths.stages(run):
        folder, recipe = run.stage(stage), stages.recipe_of(run.recipe, stage)
        has_begun = (folder / model_paths.MODEL).exists() or (folder / checkpoint.EPOCH_CHECKPOINT).exists()
        # These stages train no net of their own.
        if has_begun or stage in ("pruned", "int8") or teachers.reused_teacher(run, stage):
            continue
        tuned = recipe.qat_epochs > 0 and recipe.model == run.recipe.model
        exporter = importlib.metadata.version("onnxscript")
        key = (registry.net(recipe.model), recipe.size, classes, tuned, stages.versions(), exporter)
        digest = hashlib.sha256(msgspec.json.encode(key)).hexdigest()[:12]
        passed = paths.home() / "exportable" / f"{recipe.model}-{recipe.size}-{digest}"
        if not passed.exists():
            _export(recipe.model, classes, recipe.size, tuned=tuned)
            paths.atomic_write(passed, b"")


def _export(model: str, classes: int, size: int, *, tuned: bool) -> None:
    from lungcli.training import trainer

    with paths.scratch("untrained") as scratch:
        trainer.export_untrained(model, classes, size, scratch / "graph.onnx", tuned=tuned)
        content = (scratch / "graph.onnx").read_bytes()
    try:
        model_file.require_bounded(content, Path(model))
        model_file.start(content, Path(model), model_file.session_options(1))
    except ModelFileError as error:
        raise UsageError(
            f"no model file can be made of {model} at {size} pixels, so it is not trained: {error.message}",
            "choose another net, or another --size: lungcli models list",
        ) from error
