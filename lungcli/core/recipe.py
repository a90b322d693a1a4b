"""A recipe: everything that decides a result, as one frozen value that is read from and written to TOML."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from lungcli.core import paths, registry
from lungcli.core.errors import UsageError

Protocol = Literal["grouped", "random"]
Precision = Literal["auto", "float32", "bfloat16"]
Keep = Literal["best", "last"]
_USUAL_METHOD = "kd"
MOST_PRUNED = 0.9
"""What is cut beyond this share leaves little but the narrowest width that layers are rounded to."""
Teachers = str | tuple[str, ...]
"""One name as it is, several as a tuple, none as an empty one: what was written with one teacher reads as before."""


class Augment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ranges of the random changes a training slice goes through; 0 switches one off.

    Geometry: degrees, and shares of the picture. Acquisition: `gamma` is the largest |log exponent|, `window` the
    largest shift of either end of the grey scale as a share of it, `blur` the largest σ in pixels, `noise` the
    largest σ as a share of the grey scale, `resolution` the largest share of pixels lost by down- and up-sampling,
    `sharpen` the largest weight of what a blur takes away, `spectrum` the largest share (0 to 1) of the way to
    another slice's sharpness and noise, frequency by frequency.
    `clean` is the share of slices whose grey scale is left alone, so that the net also knows pictures as they are.
    """

    rotation: float = 10.0
    shift: float = 0.06
    scale: float = 0.12
    flip: float = 0.5
    gamma: float = 0.4
    window: float = 0.15
    blur: float = 1.0
    noise: float = 0.03
    resolution: float = 0.4
    sharpen: float = 0.0
    spectrum: float = 0.0
    clean: float = 0.3


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to train and how.

    Several names in `teacher` are an ensemble. `split` names a split file (empty: made from `protocol`, `split_seed`
    and `folds`); `fold` is the one to train on, from 1 to `folds` (both 0: one split, no cross-validation).

    `micro_batch` is how many slices of a batch are in memory at once (0:
    all); `learning_rate` is AdamW's peak after `warmup` epochs, followed by a cosine to zero; `ema` is the decay of
    the weights' moving average; `keep` says which epoch's average is the result, the best by validation (on few
    slices: the luckiest) or the last; `patience` is in epochs without a better validation score (0: never stop early);
    `mixup` is the strength of blending slices (0: none); `method` is how to learn from the teacher
    (`catalog.METHODS`), `alpha` weighs the teacher's part of the loss and `temperature` softens both nets; `max_drop`
    is the gate: how much balanced accuracy the shipped model may lose to its teacher; `prune` is the share of
    channels cut out of the base student before it is taught (0: none); `qat_epochs` is how long the student is
    fine-tuned in int8 where no other rung of the ladder holds (0: not at all); `threads` is part of the recipe
    because sums of floats depend on it.
    """

    data: str
    model: str
    teacher: Teachers = ""
    size: int = 224
    protocol: Protocol = "grouped"
    split: str = ""
    split_seed: int = 0
    folds: int = 0
    fold: int = 0
    seed: int = 0
    epochs: int = 30
    batch: int = 32
    micro_batch: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup: float = 2.0
    ema: float = 0.99
    label_smoothing: float = 0.05
    patience: int = 10
    keep: Keep = "best"
    mixup: float = 0.0
    method: str = _USUAL_METHOD
    alpha: float = 0.7
    temperature: float = 4.0
    max_drop: float = 0.02
    prune: float = 0.0
    qat_epochs: int = 0
    pretrained: bool = False
    precision: Precision = "auto"
    device: str = "auto"
    threads: int = 0
    augment: Augment = Augment()

    def __post_init__(self) -> None:
        for field, low, high in _LIMITS:
            value = getattr(self, field)
            if not low <= value <= high:
                raise ValueError(f"{field} is {value}, outside {low:g} to {high:g}")
        if self.folds and not 1 <= self.fold <= self.folds:
            raise ValueError(f"fold is {self.fold}, outside 1 to {self.folds}: a run trains on one fold")
        if self.fold and not self.folds:
            raise ValueError(f"fold is {self.fold}, but the split has no folds")

    @property
    def teachers(self) -> tuple[str, ...]:
        """Every teacher's name."""
        return tuple(name for name in each(self.teacher) if name)


_LIMITS: tuple[tuple[str, float, float], ...] = (
    ("size", 32, 1024),
    ("epochs", 1, 10_000),
    ("batch", 2, 4096),
    ("micro_batch", 0, 4096),
    ("folds", 0, 20),
    ("learning_rate", 1e-7, 10),
    ("weight_decay", 0, 10),
    ("warmup", 0, 10_000),
    ("ema", 0, 0.99999),
    ("label_smoothing", 0, 0.9),
    ("patience", 0, 10_000),
    ("mixup", 0, 10),
    ("alpha", 0, 1),
    ("temperature", 0.1, 100),
    ("max_drop", 0, 1),
    ("prune", 0, MOST_PRUNED),
    ("qat_epochs", 0, 1000),
    ("threads", 0, 1024),
)


def each(teachers: Teachers) -> tuple[str, ...]:
    """Return `teachers` as a tuple."""
    return (teachers,) if isinstance(teachers, str) else teachers


def together(names: Sequence[str]) -> Teachers:
    """Return `names` as they are kept: see `Teachers`."""
    return tuple(names) if len(names) > 1 else "".join(names)


def make(**settings: object) -> Recipe:
    """Build a recipe from options as a user types them; what they leave out the method settles, then the defaults.

    Raises UsageError naming the option that is off.
    """
    method = registry.method(str(settings.get("method", _USUAL_METHOD)))
    try:
        named = msgspec.convert(settings.get("teacher", ""), Teachers)
        settled = {"method": method.name, "teacher": together(each(named))}
        return msgspec.convert({**method.preset, **settings, **settled}, Recipe)
    except (msgspec.ValidationError, ValueError) as error:
        raise UsageError(f"bad recipe: {error}", "see `lungcli compress --help` for the ranges") from error


def make_folds(**settings: object) -> tuple[Recipe, ...]:
    """Build a recipe for each fold where `settings` have folds and name none of them; else the one that `make` builds.

    Raises UsageError as `make` does.
    """
    count = settings.get("folds", 0)
    if not isinstance(count, int) or count < 1 or settings.get("fold"):
        return (make(**settings),)
    return tuple(make(**{**settings, "fold": fold}) for fold in range(1, count + 1))


def decided(settings: msgspec.Struct) -> dict[str, object]:
    """Return what `settings` has other than by default, so that a field of a later version leaves a recipe the same."""
    found: dict[str, object] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        if value != field.default:
            found[field.name] = decided(value) if isinstance(value, msgspec.Struct) else value
    return found


def as_toml(recipe: Recipe) -> str:
    """Write `recipe` as TOML text."""
    import tomli_w

    return tomli_w.dumps(msgspec.to_builtins(recipe))


def save(recipe: Recipe, path: Path) -> None:
    """Write `recipe` as TOML, atomically."""
    paths.write(path, as_toml(recipe).encode())


def load(path: Path) -> Recipe:
    """Read a recipe. Raises UsageError when the file is missing or is no recipe."""
    try:
        return msgspec.toml.decode(path.read_bytes(), type=Recipe)
    except OSError as error:
        raise UsageError(f"cannot read the recipe {path}: {error.strerror}") from error
    except (msgspec.DecodeError, ValueError) as error:
        raise UsageError(f"{path} is no recipe: {error}") from error
