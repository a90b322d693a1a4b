"""`lungcli data split`, `data groups`, and runs that name their split, as typed."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import RUN, call

pytestmark = pytest.mark.long

TINY = ["--size", "64", "--epochs", "1", "--batch", "16", "--precision", "float32", "--device", "cpu"]


def test_a_split_is_written_shown_and_checked(own_workshop: Path) -> None:
    done = call(own_workshop, "data", "split", "phantom", "--folds", 3, "--name", "cv")
    path = own_workshop / "data" / "phantom" / "splits" / "cv.json"
    assert str(path) in done.stdout
    assert "3 folds of the grouped split with seed 0" in done.stdout
    assert "no near-duplicate group, exact copy or known patient is in more than one part" in done.stderr
    written = path.read_bytes()

    again = json.loads(call(own_workshop, "data", "split", "phantom", "--check", "cv", "--json").stdout)
    assert [one["fold"] for one in again["splits"]] == [1, 2, 3]
    assert sum(one["parts"]["test"]["slices"] for one in again["splits"]) == 72
    assert all(one["leak"] == {"groups": 0, "contents": 0, "patients": 0, "institutions": 0} for one in again["splits"])
    for one in again["splits"]:
        assert all(part[label] > 0 for part in one["parts"].values() for label in ("benign", "malignant", "normal"))

    call(own_workshop, "data", "split", "phantom", "--folds", 3, "--name", "cv")
    assert path.read_bytes() == written
    taken = call(own_workshop, "data", "split", "phantom", "--seed", 1, "--name", "cv", check=2)
    assert "another split 'cv'" in taken.stderr


def test_a_random_split_says_that_it_leaks(own_workshop: Path) -> None:
    done = call(own_workshop, "data", "split", "phantom", "--protocol", "random")

    assert "a random split leaks: " in done.stderr
    assert done.stdout.rstrip().endswith("splits/random-seed0.json")


def test_a_leaking_or_foreign_split_is_refused(own_workshop: Path) -> None:
    path = Path(call(own_workshop, "data", "split", "phantom").stdout.split("\n")[-2])
    content = json.loads(path.read_text())
    first = content["slices"][0]["parts"]
    content["slices"][0]["parts"] = ["test" if first == ["train"] else "train"]
    path.with_name("leaking.json").write_text(json.dumps(content))
    content["slices"] = content["slices"][1:]
    path.with_name("foreign.json").write_text(json.dumps(content))

    for arguments in (["data", "split", "phantom", "--check"], ["train", "-m", "ownmodel", "-d", "phantom", "--split"]):
        leaking = call(own_workshop, *arguments, "leaking", check=2)
        assert (
            "leaks: 1 near-duplicate groups, 1 patients lie in more than one of train, val and test" in leaking.stderr
        )
        assert (
            "of other data than 'phantom': slices: 1 new" in call(own_workshop, *arguments, "foreign", check=2).stderr
        )
    assert "unknown split 'nothing'" in call(own_workshop, *arguments, "nothing", check=2).stderr


def test_train_distill_and_evaluate_on_one_fold(own_workshop: Path) -> None:
    call(own_workshop, "data", "split", "phantom", "--folds", 3, "--name", "cv")
    done = call(own_workshop, "train", "-m", "ownmodel", "-d", "phantom", "--split", "cv", "--fold", 2, *TINY)
    assert "(fold 2 of 3 of the grouped split with seed 0, " in done.stderr
    run = "train-ownmodel-phantom-fold2"
    shown = json.loads(call(own_workshop, "runs", "show", run, "--json").stdout)
    card = json.loads(call(own_workshop, "models", "card", run).stdout)
    assert (shown["recipe"]["split"], shown["recipe"]["folds"], shown["recipe"]["fold"]) == ("cv", 3, 2)
    assert shown["split"] == card["split"]["digest"]

    judged = " ".join(call(own_workshop, "evaluate", run).stdout.split())
    assert "the model's own fold 2 of 3 of the grouped split with seed 0" in judged

    student = ["distill", "--teacher", run, "--student", "ownmodel", "-d", "phantom", *TINY]
    other = call(own_workshop, *student, "--folds", 3, "--fold", 1, check=2)
    assert "was trained on another split than this run's" in other.stderr
    call(own_workshop, *student, "--folds", 3, "--fold", 2)

    refused = call(own_workshop, "compare", f"{RUN}/student", run, "--seconds", 0, check=2)
    assert "can't be compared" in refused.stderr
    assert (
        "it was evaluated on fold 2 of 3 of the grouped split with seed 0, the baseline on the grouped"
        in refused.stderr
    )
    assert "has no difference: it was evaluated on" in call(own_workshop, "compare", "--seconds", 0).stderr

    # The split it names changes: nothing may be judged by it any more.
    path = own_workshop / "data" / "phantom" / "splits" / "cv.json"
    path.unlink()
    assert "unknown split 'cv'" in call(own_workshop, "evaluate", run, check=2).stderr
    call(own_workshop, "data", "split", "phantom", "--folds", 3, "--seed", 1, "--name", "cv")
    assert "not the one that the recipe names" in call(own_workshop, "evaluate", run, check=2).stderr


def test_a_split_of_folds_needs_a_fold(own_workshop: Path) -> None:
    call(own_workshop, "data", "split", "phantom", "--folds", 3, "--name", "cv")
    train = ["train", "-m", "ownmodel", "-d", "phantom"]
    for options, why in (
        (["--folds", 3, "--fold", 4], "fold is 4, outside 1 to 3"),
        (["--fold", 3], "fold is 3, but the split has no folds"),
        (["--split", "cv", "--fold", 4], "fold is 4, outside 1 to 3"),
        (["--split", "cv", "--fold", 1, "--folds", 4], "the split cv has --folds 3, not 4"),
        (["--split", "cv", "--fold", 1, "--split-seed", 4], "the split cv has --split-seed 0, not 4"),
    ):
        assert why in call(own_workshop, *train, *options, check=2).stderr


def test_a_run_on_changed_data_is_refused(own_workshop: Path) -> None:
    shutil.rmtree(own_workshop / "data" / "phantom")
    call(own_workshop, "data", "phantom", "--slices", 72, "--seed", 1)

    info = own_workshop / "runs" / RUN / "run.json"
    info.write_text(info.read_text().replace('"done"', '"stopped"'))
    done = call(own_workshop, "runs", "resume", RUN, check=2)
    judged = call(own_workshop, "evaluate", RUN)

    # Other bodies under the name of those that it was trained on.
    assert "phantom, all slices (the model has seen none of them)" in judged.stdout
    assert f"the run '{RUN}' began on another split than 'phantom' has now: its data has changed" in done.stderr


def test_groups_show_the_effect_of_the_threshold(workshop: Path) -> None:
    done = call(workshop, "data", "groups", "phantom")
    document = json.loads(call(workshop, "data", "groups", "phantom", "--json").stdout)

    assert "* 0.90" in done.stdout
    assert "precision" in done.stdout
    assert document["near"] == 0.9
    assert [row["near"] for row in document["thresholds"]] == [0.8, 0.85, 0.9, 0.95, 0.98]
    assert document["thresholds"][2]["copies_apart"] == 0
