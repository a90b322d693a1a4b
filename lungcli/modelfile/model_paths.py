"""Finding a model file by what a user types: a path, a run, its stage (`RUN/student`), an adopted name, `bundled`."""

from pathlib import Path
from typing import get_args

from lungcli.core import names, package_data, paths, runs, settings
from lungcli.core.commands import Form
from lungcli.core.errors import ModelFileError, UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind, Run

MODEL = "model.onnx"
BUNDLED = "bundled"

STAGES: dict[Kind, tuple[str, ...]] = {
    "train": ("train",),
    "distill": ("teacher", "student"),
    "compress": ("teacher", "base", "pruned", "student", "int8"),
}
"""Stages of each kind of run that end with a model file; the last is what the run is for.

`pruned` is only there where a recipe prunes.
"""


def stages(run: Run) -> tuple[str, ...]:
    """Return the stages of `run` that end with a model file, one for each teacher; the last is what it is for."""
    expanded: list[str] = []
    for stage in STAGES[run.info.kind]:
        expanded += teacher_stages(run.recipe) if stage == "teacher" else [stage]
    return tuple(stage for stage in expanded if stage != "pruned" or run.recipe.prune)


def teacher_stages(recipe: Recipe) -> tuple[str, ...]:
    """Return the stages of the teachers of `recipe`: `teacher`, `teacher-2`, …"""
    return tuple(f"teacher-{number}" if number > 1 else "teacher" for number in range(1, len(recipe.teachers) + 1))


def resolve(spec: str) -> Path:
    """Return the model file that `spec` means. Raises UsageError or ModelFileError, saying what exists."""
    path = Path(spec)
    if path.is_file():
        return path
    if file := file_alone(spec):
        return file
    run_name, _, stage = spec.partition("/")
    if spec.endswith(".onnx") or (stage and spelled_like_path(spec)):
        raise ModelFileError(f"there is no model file {spec}", "see `lungcli models list`")
    if stage and adopted_file(run_name):
        raise UsageError(f"nothing called {stage!r} was made of {run_name!r}", "see `lungcli models list`")
    run = _run(run_name)
    stage_names, models = stages(run), _models(run)
    name = stage_names[-1]
    if stage:
        name = names.find(stage, {name: name for name in (*models, *stage_names)}, f"stage of {run.name}")
    if name not in models:
        raise ModelFileError(
            f"the run {run.name!r} has not made its {name} model yet",
            f"go on with: lungcli runs resume '{run.name}'",
        )
    return models[name]


def weights_folder(spec: str, of_several: str = "teacher") -> Path:
    """Return the stage folder with trained weights that `spec` means: a run's only net, or else that `of_several`.

    Raises UsageError or ModelFileError.
    """
    run_name, _, stage = spec.partition("/")
    run = _run(run_name)
    default = "train" if run.info.kind == "train" else of_several
    file = resolve(f"{run.name}/{stage or default}")
    if file.name != MODEL:
        raise UsageError(
            f"{spec!r} is quantized, and what is needed is a net with float weights", "name what it was made from"
        )
    return file.parent


def teacher_file(spec: str) -> Path:
    """Return the model file of the teacher that `spec` means. Raises UsageError or ModelFileError."""
    return file_alone(spec) or weights_folder(spec) / MODEL


def file_alone(spec: str) -> Path | None:
    """Return the bundled or adopted model that `spec` means, which has no weights beside it; None for a run's."""
    if spec == BUNDLED and BUNDLED not in runs.known():
        return bundled()
    return adopted_file(spec)


def teachers(spec: str) -> tuple[str, ...]:
    """Return what `spec` names as a teacher: itself, or each teacher of a run that has several. Raises UsageError."""
    if file_alone(spec):
        return (spec,)
    run_name, _, stage = spec.partition("/")
    stages_ = teacher_stages(_run(run_name).recipe)
    return (spec,) if stage or len(stages_) < 2 else tuple(f"{run_name}/{each}" for each in stages_)


def default() -> Path:
    """Return the model for where none is named: that of the setting `model`. Raises as `resolve` does."""
    return resolve(str(settings.current("model").value))


def bundled() -> Path:
    """Return the model that comes with the program. Raises ModelFileError where it is missing."""
    if not package_data.MODEL.is_file():
        raise ModelFileError(
            "this lungcli came without its model", "install it again, or name another model: --model RUN"
        )
    return package_data.MODEL


def weights_beside(path: Path) -> Path:
    """Return where the weights for torch of an adopted model file lie, if it has any."""
    return path.with_suffix(".safetensors")


def adopted() -> dict[str, Path]:
    """Return the adopted models, and what was made of them, by name."""
    return {path.stem: path for path in sorted(paths.models_home().glob("[!.]*.onnx")) if path.is_file()}


def adopted_file(name: str) -> Path | None:
    """Return the adopted model called `name`, unless a run is, or NAME/FORM, which was made of it; else None."""
    stem, slash, form = name.partition("/")
    if slash and form in get_args(Form) and stem not in runs.known():
        name = f"{stem}.{form}"
    path = paths.models_home() / f"{name}.onnx"
    is_name = Path(name).name == name and not name.startswith(".")
    return path if is_name and path.is_file() and name not in runs.known() else None


def files() -> dict[str, Path]:
    """Name every model file: the bundled one, adopted ones, and what the runs here have made, as `RUN/STAGE`."""
    by_name = {BUNDLED: package_data.MODEL} if package_data.MODEL.is_file() else {}
    by_name |= adopted()
    for run in runs.readable()[0]:
        by_name |= {f"{run.name}/{name}": path for name, path in _models(run).items()}
    return by_name


def finished_runs() -> list[str]:
    """Name the runs that are done, to be offered as models and teachers; others may lack what they are for."""
    return [run.name for run in runs.readable()[0] if run.info.state == "done"]


def name_of(path: Path) -> str:
    """Return the shortest name of a model file: `bundled`, `RUN/STAGE`, that of an adopted one, else its path."""
    if path == package_data.MODEL:
        return BUNDLED
    if path.parent == paths.models_home():
        return path.stem
    home = paths.runs_home()
    if path.is_relative_to(home):
        parts = path.relative_to(home).parts
        if path.name == MODEL:
            return path.parent.relative_to(home).as_posix()
        if len(parts) == 3 and (form := _form_of(path)):
            return f"{parts[0]}/{form}"
    return str(path)


def spelled_like_path(spec: str) -> bool:
    """Say whether `spec` can only be meant as a path."""
    return spec.startswith((".", "/", "~")) or "\\" in spec


def _models(run: Run) -> dict[str, Path]:
    """Return the models that a run has made by their stages, and what `quantize` made beside them by its form."""
    stage_names = stages(run)
    made = [path for stage in stage_names for path in sorted(run.stage(stage).glob("model*.onnx")) if path.is_file()]
    models = {path.parent.name: path for path in made if path.name == MODEL}
    return models | {form: path for path in made if (form := _form_of(path)) and form not in stage_names}


def _form_of(path: Path) -> str:
    """`int8` for `model.int8.onnx`; empty for files that `quantize` did not name."""
    form = path.stem.removeprefix("model.")
    return form if form in get_args(Form) else ""


def _run(name: str) -> Run:
    known = runs.known()
    if not known:
        raise UsageError(
            f"{name!r} is no model file, and there are no runs yet",
            "make a model: lungcli data phantom && lungcli compress --student mobilenetv2 --data phantom",
        )
    return runs.read(names.find(name, known, "model file or run", "see `lungcli models list`", _offered))


def _offered() -> list[str]:
    return [*adopted(), *finished_runs()]
