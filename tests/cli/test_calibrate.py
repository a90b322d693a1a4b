"""`lungcli calibrate` as typed: what is fitted on validation, shown for the test part, and kept in the model file."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lungcli.metrics import referral as selective
from lungcli.metrics.referral import CoveragePoint, Referral
from tests.cli.conftest import OTHERS, RUN, Done, call, draw_phantoms

pytestmark = pytest.mark.long


def card_of(home: Path, spec: str) -> dict[str, object]:
    document: dict[str, object] = json.loads(call(home, "models", "card", spec).stdout)
    return document


def test_every_stage_comes_with_calibration_and_referral(workshop: Path) -> None:
    for stage in ("teacher", "base", "student", "int8"):
        card = card_of(workshop, f"{RUN}/{stage}")
        calibration, referral = card["calibration"], card["referral"]
        assert isinstance(calibration, dict)
        assert isinstance(referral, dict)
        assert calibration["after"]["nll"] <= calibration["before"]["nll"] + 1e-6
        assert referral["target"] == "relative risk ≤ 0.5"
        assert sum(band["n"] for band in card["reliability"]) == calibration["n"]  # type: ignore[attr-defined]
        assert referral["n"] == calibration["n"] > 0


def test_a_target_is_kept_shown_and_used_again(own_workshop: Path, tmp_path: Path) -> None:
    before = card_of(own_workshop, RUN)
    png = tmp_path / "curve.png"
    shown = call(own_workshop, "calibrate", RUN, "--target-risk", "0.95", "--png", png)
    assert "validation" in shown.stdout
    assert "test (" in shown.stdout
    assert "← chosen" in shown.stdout
    assert f"written into {RUN}/int8" in shown.stderr
    assert np.asarray(Image.open(png)).std() > 0
    after = card_of(own_workshop, RUN)
    kept = after["referral"]
    assert isinstance(kept, dict)
    assert kept["target"] == "risk ≤ 0.95"
    assert kept["threshold"] == 0
    assert after["temperature"] == pytest.approx(before["temperature"], rel=1e-4)
    again = json.loads(call(own_workshop, "calibrate", RUN, "--json").stdout)
    assert again["referral"] == kept
    assert again["test"]["part"] == "test"
    assert again["test"]["coverage"]["value"] == 1
    assert [point["coverage"] for point in again["risk_coverage"]] == sorted(
        point["coverage"] for point in again["risk_coverage"]
    )


def test_an_operating_point_is_kept_shown_and_used_again(own_workshop: Path, tmp_path: Path) -> None:
    """After two epochs not every stage is better than chance at one."""
    points = []
    for stage in ("teacher", "base", "student", "int8"):
        path, copy = own_workshop / "runs" / RUN / stage / "model.onnx", tmp_path / f"{stage}.onnx"
        before = path.read_bytes()
        arguments = ["--target-sensitivity", "0.05", "--output", copy]
        shown = call(own_workshop, "calibrate", f"{RUN}/{stage}", *arguments, check=None)
        assert path.read_bytes() == before
        if shown.returncode:
            assert "no operating point with sensitivity ≥ 0.05 is better than chance" in shown.stderr
            assert not copy.exists()
            continue
        assert "suspicious from a probability of" in shown.stdout
        points.append((copy, card_of(own_workshop, str(copy))["operating_point"]))
    copy, point = points[0]
    assert isinstance(point, dict)
    assert point["target"] == {"kind": "sensitivity", "value": 0.05}
    assert point["sensitivity"] >= 0.05
    again = json.loads(call(own_workshop, "calibrate", copy, "--json").stdout)
    assert again["operating_point"] == point
    assert again["test_operating_point"]["sensitivity"]["value"] is not None


def test_a_target_out_of_reach_leaves_the_file_as_it_was(own_workshop: Path) -> None:
    """Two epochs on phantoms don't lead to a risk of 0 in every stage."""
    refused = []
    for stage in ("teacher", "base", "student", "int8"):
        path = own_workshop / "runs" / RUN / stage / "model.onnx"
        before = path.read_bytes()
        done = call(own_workshop, "calibrate", f"{RUN}/{stage}", "--target-risk", "0", check=None)
        if done.returncode:
            refused.append((done.returncode, path.read_bytes() == before, done.stderr))
    assert refused
    for code, untouched, said in refused:
        assert code == 2
        assert untouched
        assert "no threshold that keeps three fifths of the validation slices reaches" in said


def test_impossible_options_are_refused(workshop: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        done: Done = call(workshop, "calibrate", RUN, *arguments, check=2)
        return done.stderr

    assert "an operating point keeps one" in refused("--target-specificity", "0.9", "--target-sensitivity", "0.9")
    (tmp_path / "there.onnx").touch()
    assert "is there already" in refused("--output", tmp_path / "there.onnx")
    bundled = call(workshop, "calibrate", "bundled", check=2)
    assert "the bundled model is part of the installation" in bundled.stderr
    assert "not in the range" in refused("--target-risk", "1.5")
    assert "call it curve.png" in refused("--png", tmp_path / "curve.jpg")
    assert "unknown data set" in refused("--data", "none")


def test_calibrating_on_other_data_is_refused(own_workshop: Path, tmp_path: Path) -> None:
    draw_phantoms(own_workshop, *OTHERS)
    output = tmp_path / "a.onnx"
    for command in (["calibrate", RUN], ["quantize", f"{RUN}/student", "--output", output]):
        done = call(own_workshop, *command, "--data", "others", check=2)
        assert "calibration might use its test slices" in done.stderr
    assert not output.exists()


def test_the_kept_curve_holds_the_chosen_point(workshop: Path) -> None:
    card = card_of(workshop, f"{RUN}/teacher")
    points, referral = card["risk_coverage"], card["referral"]
    assert isinstance(points, list)
    assert isinstance(referral, dict)
    chosen = Referral(**referral)
    point = selective.point_of([CoveragePoint(**item) for item in points], chosen)
    assert (point.threshold, point.coverage, point.risk) == (chosen.threshold, chosen.coverage, chosen.risk)
