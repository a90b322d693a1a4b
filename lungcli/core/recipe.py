"""A recipe: everything that decides a result, as one frozen value that is read from and written to TOML."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from lungcli.core import paths, registry, versioned
from lungcli.core.errors import UsageError
from lungcli.core.options import Option, OutOfRangeError, declared

Drawn = Literal["grouped", "random"]
"""The split protocols that draw parts; the others follow what the slices say."""
Protocol = Literal["grouped", "random", "institution", "given"]
Metric = Literal[
    "balanced-accuracy",
    "sensitivity",
    "macro-f1",
    "kappa",
    "accuracy",
    "worst-institution",
    # The former name of sensitivity.
    "malignant-sensitivity",
]
Precision = Literal["auto", "float32", "bfloat16"]
Keep = Literal["best", "last"]
Resize = Literal["lungs", "stretch", "crop"]
"""What of a slice a net sees; see `imaging.preprocessing.part_seen`."""
_DEFAULT_METHOD = "kd"
Teachers = str | tuple[str, ...]
"""One name as it is, several as a tuple, none as an empty one: what was written with one teacher reads as before."""

ADOPTED = "adopted:"
"""Stands before the name of a teacher that was trained elsewhere: it may have seen the test slices."""

DRAWN_LESIONS = "phantom"
"""Names the lesions that the program draws, unless a data set of that name is the user's own."""

Strength = Annotated[float, msgspec.Meta(ge=0, le=360)]

QatEpochs = Annotated[
    int,
    Option("Compression", "Epochs to fine-tune int8, if needed", 0, 1000, label="QAT epochs"),
]


class Augment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Strengths of the random augmentations of a training slice; 0 switches one off.

    Geometry: degrees, and shares of the picture. Acquisition: `gamma` is the largest |log exponent|, `window` the
    largest shift of either end of the grey scale as a share of it, `blur` the largest σ in pixels, `noise` the
    largest σ as a share of the grey scale, `resolution` the largest share of pixels lost by down- and up-sampling,
    `sharpen` the largest weight of an unsharp mask, `spectrum` the largest share (0 to 1) of the way to another slice's
    amplitude spectrum. `clean` is the share of slices whose acquisition is not changed.
    """

    rotation: Strength = 10.0
    shift: Strength = 0.06
    scale: Strength = 0.12
    flip: Strength = 0.5
    gamma: Strength = 0.4
    window: Strength = 0.15
    blur: Strength = 1.0
    noise: Strength = 0.03
    resolution: Strength = 0.4
    sharpen: Strength = 0.0
    spectrum: Strength = 0.0
    clean: Strength = 0.3


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to train and how; the option beside each field says what it means, and its range.

    `split` is the name of a split file (empty: made from `protocol`, `split_seed` and `folds`); `fold` is the one to
    train on, from 1 to `folds` (both 0: one split, no cross-validation). `final` names the run, or the folds, of the
    same settings that were tested, where this one is trained on the test part as well. `threads` is here because sums
    of floats depend on it. `positive_class` is empty for malignant where there is such a class. A method's former name
    is replaced by its name now.
    """

    data: Annotated[
        str,
        Option(
            "Data",
            "Data set, or several; else the only one there is",
            names=("--data", "-d"),
            metavar="NAME",
            choices_from="data",
            default="",
        ),
    ]
    model: Annotated[
        str,
        Option(
            "Net",
            "Net to train: `lungcli models list`",
            names=("--model", "-m"),
            metavar="NET",
            choices_from="nets",
        ),
    ]
    teacher: Annotated[
        Teachers,
        Option(
            "Distillation",
            "Run or net; repeat for a mean",
            names=("--teacher", "-t"),
            metavar="RUN|NET",
            choices_from="teachers",
            many=True,
            default=("resnet18",),
        ),
    ] = ""
    size: Annotated[int, Option("Net", "Side of the slice in pixels", 32, 1024, metavar="PIXELS")] = 224
    resize: Annotated[Resize, Option(None, "What of a slice the net sees")] = "lungs"
    protocol: Annotated[
        Protocol,
        Option(
            "Data",
            "Or institution, random, a file",
            names=("--split", "--protocol"),
            metavar="SPLIT",
            free=True,
        ),
    ] = "grouped"
    split: str = ""
    final: str = ""
    split_seed: Annotated[int, Option("Data", "Seed of the split")] = 0
    folds: Annotated[int, Option("Data", "Cross-validate; 0: one split", 0, 20)] = 0
    fold: Annotated[int, Option("Data", "This fold alone; 0: all", 0, 20)] = 0
    seed: Annotated[int, Option("Schedule", "Seed of weights, batches and augmentation")] = 0
    epochs: Annotated[int, Option("Schedule", "Most passes over the data", 1, 10_000)] = 30
    batch: Annotated[int, Option("Schedule", "Batch size in slices", 2, 4096)] = 32
    micro_batch: Annotated[int, Option("Schedule", "In memory at once; 0: all", 0, 4096)] = 0
    learning_rate: Annotated[
        float,
        Option("Schedule", "Peak of AdamW", 1e-7, 10, names=("--learning-rate", "--lr")),
    ] = 1e-3
    weight_decay: Annotated[float, Option(None, "Weight decay of AdamW", 0, 10)] = 0.02
    warmup: Annotated[float, Option(None, "Epochs until the learning rate's peak", 0, 10_000)] = 2.0
    ema: Annotated[float, Option(None, "Decay of the weights' moving average", 0, 0.99999)] = 0.99
    label_smoothing: Annotated[float, Option(None, "Share of each label given to all classes", 0, 0.9)] = 0.05
    patience: Annotated[int, Option("Schedule", "Of early stopping; 0: never", 0, 10_000)] = 10
    # On few slices, the best epoch is the luckiest.
    keep: Annotated[Keep, Option("Schedule", "Epoch to keep, best by validation")] = "best"
    mixup: Annotated[float, Option("Augmentation", "Blend pairs by Beta(m, m)", 0, 10)] = 0.0
    mixstyle: Annotated[float, Option(None, "Share of the batches that mix slices' styles", 0, 1)] = 0.0
    method: Annotated[
        str,
        Option(
            "Distillation",
            "How to learn: `lungcli help methods`",
            metavar="METHOD",
            values=tuple(registry.METHODS),
        ),
    ] = _DEFAULT_METHOD
    alpha: Annotated[float, Option("Distillation", "Teacher's share of the loss", 0, 1)] = 0.7
    temperature: Annotated[float, Option("Distillation", "Softens both nets' outputs", 0.1, 100)] = 4.0
    max_drop: Annotated[float, Option("Compression", "Largest drop, student to teacher", 0, 1)] = 0.02
    max_int8_drop: Annotated[float, Option("Compression", "Largest drop, student to int8", 0, 1)] = 0.01
    metric: Annotated[Metric, Option("Compression", "Or worst-institution, kappa, …", metavar="FIGURE")] = (
        "balanced-accuracy"
    )
    # Beyond, little is left but the narrowest width that layers are rounded to.
    prune: Annotated[
        float,
        Option("Compression", "Share of channels to cut", 0, 0.9, metavar="SHARE"),
    ] = 0.0
    qat_epochs: QatEpochs = 0
    pretrained: Annotated[bool, Option("Net", "ImageNet weights: extra `pretrained`, or a download")] = False
    start: Annotated[
        str,
        Option("Net", "Run to start from, not from ImageNet weights", metavar="RUN", choices_from="runs"),
    ] = ""
    probe: Annotated[bool, Option("Schedule", "Fit the head first, to frozen features")] = False
    freeze: Annotated[float, Option("Schedule", "Layers that stay as they start", 0, 0.95, metavar="SHARE")] = 0.0
    freeze_norm: Annotated[bool, Option(None, "Keep the statistics of batch normalisation")] = False
    stem_rate: Annotated[float, Option(None, "First layer's learning rate, of the head's", 1e-6, 1)] = 1.0
    balance: Annotated[bool, Option("Data", "Draw classes and institutions evenly")] = False
    positive_class: Annotated[str, Option("Data", "What sensitivity is of, if not malignant", metavar="CLASS")] = ""
    lesions: Annotated[
        str, Option("Augmentation", "Lesions to transplant; phantom: drawn", metavar="DATA", choices_from="lesions")
    ] = ""
    transplants: Annotated[float, Option("Augmentation", "Copies with one, per slice", 0, 1, metavar="SHARE")] = 0.35
    patches: Annotated[float, Option(None, "Share of the epochs that see patches around lesions", 0, 0.9)] = 0.0
    precision: Annotated[Precision, Option("Hardware", "auto, float32 or bfloat16", metavar="NAME")] = "auto"
    device: Annotated[str, Option("Hardware", "auto, cpu, cuda or mps", metavar="DEVICE")] = "auto"
    threads: Annotated[int, Option("Hardware", "CPU threads; 0: one a core", 0, 1024)] = 0
    augment: Augment = Augment()

    def __post_init__(self) -> None:
        if row := next((row for row in registry.METHODS.values() if row.former_name == self.method), None):
            msgspec.structs.force_setattr(self, "method", row.name)
        for field, option in OPTIONS.items():
            if reason := option.problem(getattr(self, field)):
                raise OutOfRangeError(field, reason)
        if self.folds == 1:
            raise OutOfRangeError("folds", "is 1, and a cross-validation has 2 to 20 folds; 0 means a single split")
        if self.folds and not 1 <= self.fold <= self.folds:
            raise OutOfRangeError("fold", f"is {self.fold}, outside 1 to {self.folds}: a run trains on one fold")
        if self.fold and not self.folds:
            raise OutOfRangeError("fold", f"is {self.fold}, but the split has no folds")

    @property
    def teachers(self) -> tuple[str, ...]:
        """Every teacher's name."""
        return tuple(name for name in as_tuple(self.teacher) if name)


OPTIONS = declared(Recipe)
"""What is declared of the recipe's fields, by name."""


def as_tuple(teachers: Teachers) -> tuple[str, ...]:
    """Return `teachers` as a tuple."""
    return (teachers,) if isinstance(teachers, str) else teachers


def pack_teachers(names: Sequence[str]) -> Teachers:
    """Return `names` as they are kept: see `Teachers`."""
    return tuple(names) if len(names) > 1 else "".join(names)


def make(**settings: object) -> Recipe:
    """Build a recipe from options as typed; those left out come from the method's presets, then from the defaults.

    Raises UsageError naming the wrong option.
    """
    method = registry.method(str(settings.get("method", _DEFAULT_METHOD)))
    try:
        teachers = msgspec.convert(settings.get("teacher", ""), Teachers)
        resolved = {"method": method.name, "teacher": pack_teachers(as_tuple(teachers))}
        return msgspec.convert({**method.preset, **settings, **resolved}, Recipe)
    except (msgspec.ValidationError, ValueError) as error:
        if isinstance(error.__cause__, OutOfRangeError):
            raise UsageError(f"{OPTIONS[error.__cause__.field].names[0]} {error.__cause__.reason}") from error
        raise UsageError(f"bad recipe: {error}", "see `lungcli compress --help`") from error


def make_folds(**settings: object) -> tuple[Recipe, ...]:
    """Build a recipe for each fold where `settings` ask for folds but not for one `fold`; else the one of `make`.

    Raises UsageError as `make` does.
    """
    count = settings.get("folds", 0)
    if not isinstance(count, int) or count < 1 or settings.get("fold"):
        return (make(**settings),)
    return tuple(make(**{**settings, "fold": fold}) for fold in range(1, count + 1))


def non_defaults(settings: msgspec.Struct) -> dict[str, object]:
    """Return the fields of a recipe, or of its augmentation, that differ from the defaults.

    It is the same in every version: new fields are left out, and a renamed method has its former name.
    """
    changed: dict[str, object] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            changed[field.name] = non_defaults(value) if isinstance(value, msgspec.Struct) else value
    if (row := registry.METHODS.get(str(changed.get("method")))) and row.former_name:
        changed["method"] = row.former_name
    return changed


def as_toml(recipe: Recipe) -> str:
    """Write `recipe` as TOML text."""
    import tomli_w

    return tomli_w.dumps(msgspec.to_builtins(recipe))


def save(recipe: Recipe, path: Path) -> None:
    """Write `recipe` as TOML, atomically."""
    paths.atomic_write(path, as_toml(recipe).encode())


def load(path: Path) -> Recipe:
    """Read a recipe. Raises UsageError when the file is missing or is no recipe."""
    try:
        return versioned.read_toml(path, Recipe)
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error
    except versioned.DAMAGE as error:
        raise UsageError(f"{path} is no recipe: {error}") from error
