"""How right probabilities are: errors, what they were before the temperature, and the bins of a reliability diagram."""

import msgspec
import numpy as np

from lungcli.metrics import classification
from lungcli.metrics.classification import ECE_BINS, Floats, Ints
from lungcli.modelfile.model_card import CalibrationErrors


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Slices whose largest probability lies in [low, high): how many, its mean, and the share judged right."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def errors(probabilities: Floats, labels: Ints) -> CalibrationErrors:
    """Measure probabilities (n, K), n ≥ 1, against labels (n,)."""
    return CalibrationErrors(
        ece=classification.expected_calibration_error(probabilities, labels),
        nll=classification.negative_log_likelihood(probabilities, labels),
        brier=classification.brier_score(probabilities, labels),
    )


def untempered(probabilities: Floats, temperature: float) -> Floats:
    """Undo a temperature: what softmax(logits) was, from softmax(logits / temperature), both (n, K)."""
    return classification.softmax(np.log(np.clip(probabilities, 1e-300, None)) * temperature)


def reliability(probabilities: Floats, labels: Ints) -> tuple[Bin, ...]:
    """Bins of the reliability diagram that hold slices, by rising confidence (Guo et al., 1706.04599, section 2).

    They are those of the expected calibration error: its value is the mean of |accuracy − confidence|, weighted by n.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = classification.confidence_bins(confidence)
    return tuple(
        Bin(
            low=number / ECE_BINS,
            high=(number + 1) / ECE_BINS,
            n=int((index == number).sum()),
            confidence=float(confidence[index == number].mean()),
            accuracy=float(right[index == number].mean()),
        )
        for number in np.unique(index).tolist()
    )
