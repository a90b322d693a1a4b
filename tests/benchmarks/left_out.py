"""What a final fit decides at the institutions that its folds left out: findings and referrals, by institution.

Run: python -m tests.benchmarks.left_out FOLDS      (the name of a run of all folds of the institution split)
Threshold, temperature and referral are fitted on the slices of all folds together, as `compress --final FOLDS` does.
"""

import argparse

import numpy as np
from numpy.typing import NDArray

from lungcli.evaluation import evaluate
from lungcli.metrics import calibration, intervals, predictions
from lungcli.metrics.classification import Ints
from lungcli.modelfile import model_file, model_paths
from lungcli.pipeline import final_fit, pooling, stages

STAGE = "train"


def main() -> None:
    """Print the decisions, and a line for each institution and for all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folds")
    folders = [run.stage(STAGE) for run in pooling.folds_of(parser.parse_args().folds)]
    cards = [model_file.read_card(folder / model_paths.MODEL) for folder in folders]
    evaluations = [evaluate.load(folder / stages.EVALUATION) for folder in folders]
    pooled = predictions.pool_folds(evaluations)
    labels, _, groups = pooled.arrays()
    logits = final_fit.logits_of(evaluations, cards)
    card = final_fit.with_decisions(cards[0], pooled, logits)
    print(card.operating_point, card.referral, sep="\n")
    probabilities = calibration.softmax(logits, card.temperature)
    suspicious, positive = card.rule.suspicious(probabilities), labels == card.rule.positive
    kept = card.rule.confidence(probabilities) >= (card.referral.threshold if card.referral else 0)
    where = np.array(pooled.institutions)
    for name in (*np.unique(where), "all"):
        of_it = where == name if name != "all" else np.ones(len(where), dtype=np.bool_)
        print(name)
        for what, right, among in (
            ("specificity", ~suspicious, ~positive),
            ("sensitivity", suspicious, positive),
            ("not referred", kept, np.ones(len(where), dtype=np.bool_)),
            ("of these wrong", suspicious != positive, kept),
            ("of all wrong", suspicious != positive, np.ones(len(where), dtype=np.bool_)),
            ("malignant called clear", ~suspicious & kept, positive),
        ):
            print(f"  {what}: {share(right, of_it & among, groups)}")


def share(right: NDArray[np.bool_], among: NDArray[np.bool_], groups: Ints) -> str:
    """The share, with its interval over groups, of slices that are right among some (n,)."""
    if not among.any():
        return "–"
    estimate = intervals.share_estimate(right[among], groups[among])
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


if __name__ == "__main__":
    main()
