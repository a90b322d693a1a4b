"""Sentences about a quantized file, from its card alone."""

import msgspec
import pytest

from lungcli.metrics.intervals import Estimate
from lungcli.modelfile.model_card import Int8Proof, TrialFigures
from lungcli.pipeline import quantize
from tests.modelfile import graphs

ROW = TrialFigures(
    name="minmax per channel",
    bytes=9,
    balanced_accuracy=0.75,
    agreement=0.98,
    largest_change=0.25,
    nodes=9,
    int8_nodes=8,
    difference=Estimate(value=-0.02, low=-0.05, high=0.0),
    fails=("balanced accuracy", "agreement"),
)
PROOF = Int8Proof(nodes=54, int8_nodes=50, size_ratio=0.25, agreement=0.98, largest_change=0.25, n=100)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (2.0, 3.0, "int8 is slower than float32 on this CPU (3.00 ms a slice, float32 2.00 ms): use the float file"),
        (2.0, 2.01, "int8 is as fast as float32 on this CPU (2.01 ms a slice, float32 2.00 ms): it saves size only"),
        (3.0, 2.0, "int8 is 1.5× as fast as float32 on this CPU (2.00 ms a slice, float32 3.00 ms): use it"),
    ],
)
def test_the_slower_file_is_never_recommended(before: float, after: float, sentence: str) -> None:
    assert quantize.speed_in_words(before, after, "int8").startswith(sentence)


def test_no_speed_is_claimed_for_what_computes_in_float() -> None:
    """A difference between such files is noise."""
    sentence = "float16 computes in float32 and saves size only (2.00 ms a slice, float32 3.00 ms)"
    assert quantize.speed_in_words(3.0, 2.0, "float16") == sentence


def test_a_trial_is_described_with_the_limits_it_misses() -> None:
    failed = "-0.020 to float32, 98.0% of findings unchanged: fails (balanced accuracy, agreement)"
    assert quantize.trial_in_words(ROW) == failed
    assert quantize.trial_in_words(msgspec.structs.replace(ROW, fails=())).endswith("unchanged: passes")


def test_a_file_says_whether_its_strategy_passes() -> None:
    passing = msgspec.structs.replace(ROW, name="ends in float", fails=())
    card = graphs.card(precision="int8", int8=PROOF, strategy="ends in float", trials=(ROW, passing))
    assert quantize.passes(card)
    assert quantize.proof_in_words(card) == (
        "50 of 54 layers run on integers (ends in float), 4.0× smaller, 98.0% of 100 validation findings unchanged"
    )
    best = msgspec.structs.replace(card, strategy="minmax per channel", trials=(ROW,))
    assert not quantize.passes(best)
    assert "(minmax per channel, the best strategy though none passes)" in quantize.proof_in_words(best)


def test_files_without_trials_pass() -> None:
    card = graphs.card(precision="int8", int8=PROOF)
    assert quantize.passes(card)
    assert quantize.proof_in_words(card).startswith("50 of 54 layers run on integers, 4.0× smaller")
