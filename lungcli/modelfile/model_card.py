"""The card inside every model file: all that prediction needs, and where the model comes from.

Where a field is called otherwise in the file, that is the name that version 0.1.0 wrote.
"""

import datetime
from typing import Annotated, Literal

import msgspec

from lungcli import DISCLAIMER
from lungcli.core import versioned
from lungcli.core.errors import ModelFileError
from lungcli.core.recipe import Recipe
from lungcli.core.versioned import AtLeastOne, Count, Positive, Share
from lungcli.imaging.ood import OodStatistics
from lungcli.metrics import predictions
from lungcli.metrics.calibration import Calibration
from lungcli.metrics.intervals import Estimate
from lungcli.metrics.operating_point import ChosenOn, DecisionRule, OperatingPoint, ReliabilityBand, Separability
from lungcli.metrics.predictions import Figures
from lungcli.metrics.referral import CoveragePoint, Referral

FORMAT_VERSION = 2
FilePrecision = Literal["float32", "int8", "float16", "int8-weights"]
"""How a file keeps its weights; the last two compute in float32."""

Size = Annotated[int, msgspec.Meta(ge=8, le=1024)]
# The search for one ends at 0.05 and 20.
Temperature = Annotated[float, msgspec.Meta(ge=0.001, le=1000)]
_MOST_CLASSES, _LONGEST_NAME = 1000, 200


class DataCard(msgspec.Struct, frozen=True, kw_only=True):
    """The data a model was trained on. A model of `synthetic` data says nothing about people, one of `any_picture` has
    no guard.
    """

    name: str
    digest: str
    slices: Count
    groups: Count
    synthetic: bool
    licence: str
    citation: str
    any_picture: bool = False


class TrainingSlices(msgspec.Struct, frozen=True, kw_only=True):
    """The slices a model was trained or chosen on, to be recognised in other data; see `datasets.training_slices`.

    `count` of them; a short hash of the content of each, and the signatures of their thumbnails, both sorted, without
    repeats and one after the other.
    """

    count: int
    hashes: bytes
    signatures: bytes


class Adoption(msgspec.Struct, frozen=True, kw_only=True):
    """A net from elsewhere: `sha256` of the file that it was read from, and what it takes and gives.

    It takes (grey − `mean`) / `std` for each of its channels, grey in 0..1 (both empty for one that takes uint8), and
    gives `activation`. Its own probabilities and those of the model file differ by `largest_change` at most, on the
    slices that come with the program. `weights` is the sha256 of the weights for torch that lie beside the model file,
    empty where there are none; they are of the net of that name in the registry or, with `timm`, there.
    """

    sha256: str
    layout: Literal["NCHW", "NHWC"]
    channels: Count
    mean: tuple[float, ...]
    std: tuple[float, ...]
    activation: Literal["logits", "softmax", "sigmoid"]
    largest_change: Share
    weights: str = ""
    timm: bool = False


class SplitCard(msgspec.Struct, frozen=True, kw_only=True):
    """The split a model was trained under; two models compare only on the same one.

    `name` is that of a split file, empty where there was none; `fold` counts from 1 to `folds`, both 0 without folds.
    A `final` fit was trained on the test part as well.
    """

    protocol: str
    seed: int
    digest: str
    name: str = ""
    folds: Count = 0
    fold: Count = 0
    final: bool = False

    def in_words(self, data: str = "") -> str:
        """Name the split, of `data` if given, as in `fold 2 of 5 of the grouped split with seed 0 of 'phantom'`."""
        if not self.digest:
            return f"an unknown split of {data!r}" if data else "unknown"
        return split_in_words(self.protocol, self.seed, self.folds, self.fold, self.final, data)


class Int8Proof(msgspec.Struct, frozen=True, kw_only=True):
    """Proof that a file computes in int8, from the graph that the runtime executes.

    `nodes` counts convolutions and matrix products, `int8_nodes` those executed on integers; `size_ratio` is int8
    bytes over float bytes; `agreement` is the share of `n` validation slices of which the float file finds the same
    (see `predictions.agreement`), `largest_change` the largest change of any of their probabilities.
    """

    nodes: Count
    int8_nodes: Count
    size_ratio: Positive
    agreement: Share
    largest_change: Share
    n: Count


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """What pruning cut out of the base student: `share` of the channels, and what that left.

    Parameters, and multiply-adds of convolutions and matrix products for one slice, before and after.
    """

    share: Share
    parameters_before: AtLeastOne
    parameters: AtLeastOne
    multiply_adds_before: AtLeastOne
    multiply_adds: AtLeastOne


class TrialFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One trial of the quantization search: a strategy, evaluated on the validation part.

    The first trial is the float file itself, without differences. `nodes`, `int8_nodes`, `agreement` and
    `largest_change` are as in `Int8Proof`. `difference` is that of the gate's metric to the float file and
    `sensitivity` that of sensitivity, both paired over near-duplicate groups; `fails` lists the limits it misses,
    and is empty where it passes.
    """

    name: str
    bytes: Count
    balanced_accuracy: Share | None
    agreement: Share
    largest_change: Share
    nodes: Count
    int8_nodes: Count
    difference: Estimate | None = None
    sensitivity: Estimate | None = None
    fails: tuple[str, ...] = ()


class RobustnessFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The test part under one perturbation of the acquisition; `strength` is 1 to 3, and 0 for unchanged slices.

    `setting` is the strength in the perturbation's own unit. All are of what the model decides: at its operating point,
    or else of the most probable class. `flips` is the share of slices whose finding, suspicious or clear, differs from
    that of the unchanged slice (without an operating point: whose class differs), `positive_flips` that among slices
    of the positive class, None without such. Sensitivity and specificity are of the positive class, too.
    """

    change: str
    strength: Count
    setting: str
    balanced_accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    flips: Share
    positive_flips: Share | None


class ExternalFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics on a user's own folder of slices, all of the class `label`.

    `right` is the share classified correctly; `specificity` the share not predicted positive, None for slices of the
    positive class; `referred` the share below `threshold`, both None for a model without a referral threshold. `digest`
    tells folders apart by content: neither path nor name gets into a model file.
    """

    label: str
    digest: str
    n: Count
    groups: Count
    unreadable: Count
    right: Estimate
    specificity: Estimate | None
    referred: Estimate | None
    threshold: Share | None


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of a model file.

    `size` is the side of the square uint8 slice the net takes, `preparation` the version of `imaging.preprocessing`
    that makes it, `temperature` divides the logits, `stage` is the step that made the file (train, teacher, base,
    pruned, student, int8, adopted), `versions` the libraries used. `adopted` is None for nets that were trained here;
    the data and the split of others are unknown. `pruning` is None for nets as wide as the registry builds
    them. `risk_coverage` is the curve on the slices `chosen_on`, in steps of 5 %. `strategy` is the one of the
    quantization search's `trials` that the file was made by, `failed_checks` the names of the checks that it failed.
    `operating_point` says which slices are suspicious, `reliability` how often findings of like confidence are right;
    these and `referral` were chosen on the slices `chosen_on`. `separability` says which classes the model tells apart,
    on the slices of `figures`.
    """

    format_version: int = FORMAT_VERSION
    model: str
    stage: str
    precision: FilePrecision
    classes: tuple[str, ...]
    size: Size
    preparation: Count
    temperature: Temperature
    parameters: Count
    teacher: str
    data: DataCard
    split: SplitCard
    recipe: Recipe
    adopted: Adoption | None = None
    pruning: Pruning | None = None
    figures: Figures | None = None
    int8: Int8Proof | None = None
    strategy: str = msgspec.field(default="", name="rung")
    trials: tuple[TrialFigures, ...] = msgspec.field(default=(), name="ladder")
    failed_checks: tuple[str, ...] = ()
    guard: OodStatistics | None = None
    calibration: Calibration | None = None
    operating_point: OperatingPoint | None = None
    reliability: tuple[ReliabilityBand, ...] = ()
    separability: tuple[Separability, ...] = ()
    referral: Referral | None = None
    chosen_on: ChosenOn = "validation slices"
    risk_coverage: tuple[CoveragePoint, ...] = ()
    robustness: tuple[RobustnessFigures, ...] = msgspec.field(default=(), name="stress")
    external: tuple[ExternalFigures, ...] = msgspec.field(default=(), name="elsewhere")
    training_slices: TrainingSlices | None = None
    created: Annotated[datetime.datetime, msgspec.Meta(tz=True)]
    versions: dict[str, str]
    disclaimer: str = DISCLAIMER

    def __post_init__(self) -> None:
        if not 2 <= len(self.classes) <= _MOST_CLASSES or len(set(self.classes)) < len(self.classes):
            raise ValueError(f"{len(self.classes)} classes: there must be 2 to {_MOST_CLASSES}, each once")
        split, data = self.split, self.data
        names = (*self.classes, self.model, self.stage, self.teacher, self.strategy, data.name, split.name)
        if "" in self.classes or not all(len(name) <= _LONGEST_NAME and name.isprintable() for name in names):
            raise ValueError("a name in it is no line of text")
        if self.recipe.positive_class not in ("", *self.classes):
            raise ValueError("its positive class is none of its classes")

    @property
    def positive_class(self) -> str:
        """The class that sensitivity, referral and the gate speak of; empty where there is none."""
        return predictions.positive_class(self.classes, self.recipe.positive_class)

    @property
    def positive(self) -> int | None:
        """Index of the positive class, None where there is none."""
        return predictions.positive_index(self.classes, self.recipe.positive_class)

    @property
    def rule(self) -> DecisionRule:
        """How probabilities become a finding."""
        threshold = self.operating_point.threshold if self.operating_point else None
        return DecisionRule(positive=self.positive, threshold=threshold)


def split_in_words(protocol: str, seed: int, folds: int, fold: int, final: bool, data: str = "") -> str:
    """Name a split as in `the grouped split with seed 0` or `fold 2 of 5 of the grouped split with seed 0`."""
    whole = f"the {protocol} split with seed {seed}"
    whole += f" of {data!r}" * bool(data)
    whole += ", its test part trained on too" * final
    return f"fold {fold} of {folds} of {whole}" if folds else whole


def _of_any_class(card: versioned.Fields) -> versioned.Fields:
    """Fields of format 1 spoke of malignant whatever the positive class was."""
    names = {
        "malignant": "sensitivity",
        "malignant_sensitivity": "sensitivity",
        "malignant_specificity": "specificity",
        "malignant_flips": "positive_flips",
    }
    for key in ("ladder", "stress", "risk_coverage"):
        for row in card[key] if isinstance(card.get(key), list) else ():
            for before in names.keys() & (row if isinstance(row, dict) else {}).keys():
                row[names[before]] = row.pop(before)
    return card


_FORMAT = versioned.Format(
    kind="model card",
    version=FORMAT_VERSION,
    content=ModelCard,
    error=ModelFileError,
    migrations={1: _of_any_class},
)


def encode(card: ModelCard) -> str:
    """Write the card as JSON."""
    return msgspec.json.encode(card).decode()


def decode(text: str, source: str) -> ModelCard:
    """Read a card. Raises ModelFileError when it is damaged or written by a newer lungcli."""
    return _FORMAT.decode(text, f"in {source}", "make the file again with `lungcli compress`")
