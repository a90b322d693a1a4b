"""Probabilities from logits, and how well they are calibrated: temperature, calibration errors, reliability diagram."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from lungcli.core.versioned import Count, NotNegative, Share
from lungcli.metrics.classification import Floats, Ints

# scikit-learn's calibration curve and Guo et al. (1706.04599) use equal-width bins of the top probability.
ECE_BINS = 15


class CalibrationErrors(msgspec.Struct, frozen=True, kw_only=True):
    """Expected calibration error, mean negative log-likelihood (nats) and Brier score of probabilities."""

    ece: Share
    nll: NotNegative
    brier: NotNegative


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Calibration errors of `n` slices before and after the temperature that was fitted on them."""

    n: Count
    before: CalibrationErrors
    after: CalibrationErrors


class Bin(msgspec.Struct, frozen=True, kw_only=True):
    """Slices whose largest probability lies in [low, high): their number, its mean, and their accuracy."""

    low: float
    high: float
    n: int
    confidence: float
    accuracy: float


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> Floats:
    """Turn logits (..., K) into probabilities, divided by `temperature` first."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled -= scaled.max(axis=-1, keepdims=True)
    exp = np.exp(scaled)
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True))


def negative_log_likelihood(probabilities: Floats, labels: Ints) -> float:
    """Mean of −log p(true class), in nats."""
    of_true_class = probabilities[np.arange(len(labels)), labels]
    return float(-np.log(np.clip(of_true_class, 1e-12, None)).mean())


def brier_score(probabilities: Floats, labels: Ints) -> float:
    """Mean squared distance between the probabilities and the one-hot truth, summed over classes (Brier 1950)."""
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(axis=1).mean())


def expected_calibration_error(probabilities: Floats, labels: Ints) -> float:
    """Gap between confidence and accuracy, weighted over 15 equal bins (Guo et al., 1706.04599, section 2)."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    gaps = np.bincount(confidence_bins(confidence), weights=right - confidence, minlength=ECE_BINS)
    return float(np.abs(gaps).sum() / len(labels))


def confidence_bins(confidence: Floats) -> Ints:
    """Number the bin of each confidence (n,): 15 of equal width, 1 counted into the last."""
    return np.minimum((confidence * ECE_BINS).astype(np.int64), ECE_BINS - 1)


def calibration_errors(probabilities: Floats, labels: Ints) -> CalibrationErrors:
    """Measure probabilities (n, K), n ≥ 1, against labels (n,)."""
    return CalibrationErrors(
        ece=expected_calibration_error(probabilities, labels),
        nll=negative_log_likelihood(probabilities, labels),
        brier=brier_score(probabilities, labels),
    )


def undo_temperature(probabilities: Floats, temperature: float) -> Floats:
    """Undo a temperature: softmax(logits) from softmax(logits / temperature), both (n, K)."""
    return softmax(undo_softmax(probabilities, temperature))


def undo_softmax(probabilities: Floats, temperature: float) -> Floats:
    """Logits (n, K), but for a constant of each row, whose softmax(logits / temperature) is `probabilities`."""
    return np.asarray(np.log(np.clip(probabilities, 1e-300, None)) * temperature)


def reliability_bins(probabilities: Floats, labels: Ints) -> tuple[Bin, ...]:
    """Bins of the reliability diagram that hold slices, by rising confidence (Guo et al., 1706.04599, section 2).

    They are those of the expected calibration error: its value is the mean of |accuracy − confidence|, weighted by n.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    index = confidence_bins(confidence)
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
