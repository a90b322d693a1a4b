"""The search space: axes, fixed settings, the recipe of a trial, and the Pareto front."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec

from lungcli.core import recipe as recipes
from lungcli.core import registry
from lungcli.core.errors import UsageError
from lungcli.core.recipe import Recipe
from lungcli.core.runs import Kind
from lungcli.metrics.intervals import Estimate

FORMAT_VERSION = 1
BITS: dict[int, Kind] = {8: "compress", 32: "distill"}
"""Bits of a weight in the final model of a trial, and the kind of run that ends with such a model."""

_NAMES, _WHOLE = ("model", "method"), ("size", "bits")

State = Literal["complete", "pruned", "running", "waiting", "failed"]
Value = str | int | float
AxisValues = Mapping[str, Value]
"""A value for each axis."""


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """All numbers from `low` to `high`, drawn uniformly, or uniformly in their logarithm."""

    low: float
    high: float
    log: bool = False


class StudyPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The definition of a study, saved in it so that every process uses the same.

    `settings` are the fixed fields of the recipe, as typed; `split` is the digest of the split of the data. With
    `max_bytes` or `max_p50` (milliseconds a slice; 0: none) the search maximizes balanced accuracy within these limits
    and prunes poor trials; without, it looks for the Pareto front of size, latency and balanced accuracy.
    """

    format_version: int = FORMAT_VERSION
    axes: dict[str, tuple[Value, ...] | Range]
    settings: dict[str, Any]
    split: str
    seed: int = 0
    max_bytes: int = 0
    max_p50: float = 0.0

    @property
    def limited(self) -> bool:
        """Whether size or latency is limited, so that balanced accuracy is the only objective."""
        return bool(self.max_bytes or self.max_p50)

    @property
    def combinations(self) -> int | None:
        """Number of different trials; None where an axis is a range."""
        counts = [0 if isinstance(axis, Range) else len(axis) for axis in self.axes.values()]
        return math.prod(counts) or None


class TrialOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a trial: its run, the values drawn for it, and its metrics once it is complete.

    `bytes` is the size of the model file, `p50` its latency in milliseconds per slice on the processor `cpu`,
    `balanced_accuracy` that of `n` validation slices of `groups` near-duplicate groups. `problem` says why it failed or
    was pruned.
    """

    trial: int
    state: State
    run: str
    host: str
    cpu: str
    drawn: dict[str, Value]
    bytes: int = 0
    p50: float = 0.0
    balanced_accuracy: Estimate | None = None
    n: int = 0
    groups: int = 0
    within_limits: bool = True
    problem: str = ""


def parse_axis(name: str, arguments: Sequence[str]) -> tuple[Value, ...] | Range:
    """Parse the arguments of an axis: values, or a single LOW:HIGH. Raises UsageError."""
    option = "--student" if name == "model" else f"--{name.replace('_', '-')}"
    if name in _NAMES:
        find = registry.net if name == "model" else registry.method
        return tuple(dict.fromkeys(find(text).name for text in arguments))
    if any(":" in text for text in arguments):
        return _range(name, option, arguments)
    values = tuple(dict.fromkeys(_number(text, option, whole=name in _WHOLE) for text in arguments))
    if name == "bits" and (invalid := [value for value in values if value not in BITS]):
        raise UsageError(
            f"{option} {invalid[0]} is not possible", f"choose from {', '.join(map(str, BITS))}, or give both"
        )
    return values


def corners(axes: Mapping[str, tuple[Value, ...] | Range]) -> list[dict[str, Value]]:
    """Return values in which every value (of a range, both ends) occurs, varying one axis at a time."""
    ends = {name: (it.low, it.high) if isinstance(it, Range) else it for name, it in axes.items()}
    first = {name: values[0] for name, values in ends.items()}
    return [first | {name: value} for name, values in ends.items() for value in values]


def recipe_of(plan: StudyPlan, drawn: AxisValues) -> tuple[Kind, Recipe]:
    """Return the kind of run and the recipe of a trial. Raises UsageError where a value is out of range."""
    fields = {name: value for name, value in drawn.items() if name != "bits"}
    return BITS[int(drawn["bits"])], recipes.make(**{**plan.settings, **fields})


def teacher_recipe(plan: StudyPlan, drawn: AxisValues, teacher: str) -> Recipe:
    """Return the recipe of the net `teacher`, the same for all trials of one slice size."""
    size = {"size": drawn["size"]} if "size" in drawn else {}
    settings = {name: value for name, value in plan.settings.items() if name not in ("method", "teacher", "model")}
    return recipes.make(**{**settings, **size, "model": registry.net(teacher).name})


def pareto_front(outcomes: Sequence[TrialOutcome]) -> tuple[TrialOutcome, ...]:
    """Return the complete trials within the limits that no other dominates, the smallest file first.

    One dominates another when none of size, latency and balanced accuracy is worse, and one is better. Size and latency
    are rounded to two digits: files of one net differ in their cards, and timings in the load of the machine.
    """
    candidates = [outcome for outcome in outcomes if outcome.state == "complete" and outcome.within_limits]
    front = [
        outcome for outcome in candidates if not any(_beats(_costs(other), _costs(outcome)) for other in candidates)
    ]
    return tuple(sorted(front, key=lambda outcome: (_costs(outcome), outcome.trial)))


def _costs(outcome: TrialOutcome) -> tuple[float, float, float]:
    """Size, latency and 1 − balanced accuracy: the lower, the better."""
    accuracy = outcome.balanced_accuracy.value if outcome.balanced_accuracy else None
    return _two_digits(outcome.bytes), _two_digits(outcome.p50), 1.0 if accuracy is None else 1 - accuracy


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


def _beats(ours: tuple[float, ...], theirs: tuple[float, ...]) -> bool:
    return ours != theirs and all(mine <= other for mine, other in zip(ours, theirs, strict=True))


def _range(name: str, option: str, arguments: Sequence[str]) -> Range:
    if name in _WHOLE or len(arguments) > 1:
        raise UsageError(
            f"{option} {' '.join(arguments)} is neither values nor a range", f"give values, as in {option} A {option} B"
        )
    low, high = (_number(text, option, whole=False) for text in arguments[0].split(":", 1))
    log = name == "learning_rate"
    if not low < high or (log and low <= 0):
        raise UsageError(f"{option} {arguments[0]} is no range", f"the lower end comes first: {option} LOW:HIGH")
    return Range(low=low, high=high, log=log)


def _number(text: str, option: str, *, whole: bool) -> int | float:
    try:
        number = int(text) if whole else float(text)
    except ValueError as error:
        raise UsageError(f"{option} {text!r} is no {'whole ' if whole else ''}number") from error
    if not math.isfinite(number):
        raise UsageError(f"{option} {text!r} is no number")
    return number
