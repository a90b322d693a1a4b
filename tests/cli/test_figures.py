"""`compare`, `evaluate`, `benchmark`, `quantize` and `models` as typed."""

import csv
import io
import json
import shutil
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner

from lungcli.cli import run_job
from lungcli.cli.app import program
from lungcli.core.errors import GateNotMetError
from lungcli.datasets import manifest, training_slices
from lungcli.modelfile import model_file
from lungcli.quantize import search
from tests.cli.conftest import OTHERS, RUN, call, draw_phantoms


def test_compare_as_json_csv_and_markdown(workshop: Path) -> None:
    models = [f"{RUN}/{stage}" for stage in ("teacher", "base", "student", "int8")]
    document = json.loads(call(workshop, "compare", *models, "--json", "--seconds", "0.2").stdout)
    assert [row["name"] for row in document["rows"]] == models
    assert document["baseline"] == models[0]
    assert document["rows"][0]["difference"] is None
    assert set(document["rows"][3]["difference"]) == {"value", "low", "high"}
    assert document["rows"][3]["latency"]["p50"] > 0
    assert document["rows"][3]["bytes"] < document["rows"][2]["bytes"] / 3
    table = list(csv.DictReader(io.StringIO(call(workshop, "compare", *models, "--csv", "--seconds", 0).stdout)))
    assert [row["model"] for row in table] == models
    assert float(table[1]["balanced_accuracy"]) == pytest.approx(
        document["rows"][1]["figures"]["estimates"]["balanced_accuracy"]["value"]
    )
    markdown = call(workshop, "compare", *models, "--markdown", "--seconds", 0).stdout.splitlines()
    assert len({line.count("|") for line in markdown if line.startswith("|")}) == 1
    assert "- synthetic data: these figures say nothing about people" in markdown


def test_compare_without_names_takes_all(workshop: Path) -> None:
    rows = json.loads(call(workshop, "compare", "--json", "--seconds", 0).stdout)["rows"]
    assert {f"{RUN}/{stage}" for stage in ("teacher", "base", "student", "int8")} <= {row["name"] for row in rows}


def test_a_file_outside_its_run_is_evaluated_again(own_workshop: Path, tmp_path: Path) -> None:
    student, moved = f"{RUN}/student", tmp_path / "moved.onnx"
    shutil.copy(own_workshop / "runs" / student / "model.onnx", moved)
    _without_figures(moved)

    def rows(*models: str | Path) -> list[dict[str, object]]:
        rows_found: list[dict[str, object]] = json.loads(
            call(own_workshop, "compare", *models, "--seconds", 0, "--json").stdout
        )["rows"]
        return rows_found

    first, second = rows(f"{RUN}/teacher", student)[1], rows(f"{RUN}/teacher", moved)[1]
    for key in ("figures", "difference", "significance"):
        assert second[key] == first[key] is not None
    assert json.loads(call(own_workshop, "compare", student, moved, "--flips", "--json").stdout)["slices"] == []

    call(own_workshop, "data", "remove", "phantom", "--yes")
    assert rows(student, moved)[1]["not_compared"] == "one of the two has not been evaluated on its test part"
    assert (
        "has not been evaluated on its test part"
        in call(own_workshop, "compare", student, moved, "--flips", check=2).stderr
    )


def _without_figures(path: Path) -> None:
    model_file.recard(path, msgspec.structs.replace(model_file.read_card(path), figures=None))


def test_the_table_fits_80_columns(workshop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = call(workshop, "compare", RUN, f"{RUN}/student", "--seconds", 0)
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_models_of_different_data_sets_are_evaluated_anew_on_one(workshop: Path) -> None:
    document = json.loads(call(workshop, "compare", "bundled", RUN, "--seconds", 0, "--json").stdout)
    first, second = document["rows"]
    assert document["evaluated_anew"] == "phantom"
    assert [first["name"], second["name"]] == ["bundled", f"{RUN}/int8"]
    assert first["figures"]["n"] == second["figures"]["n"] < 72
    assert second["difference"]["value"] is not None
    done = call(workshop, "compare", "bundled", RUN, "--seconds", 0)
    assert "all evaluated anew on the test part of 'phantom'" in done.stderr


def test_models_are_not_compared_on_slices_that_one_has_seen(workshop: Path, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.onnx"
    shutil.copy(workshop / "runs" / RUN / "student" / "model.onnx", theirs)
    card, data = model_file.read_card(theirs), manifest.read(workshop / "data" / "phantom" / manifest.FILE)
    card = msgspec.structs.replace(
        card,
        data=msgspec.structs.replace(card.data, digest="another"),
        split=msgspec.structs.replace(card.split, digest="another"),
        training_slices=None,
    )
    model_file.recard(theirs, card)
    done = call(workshop, "compare", theirs, RUN, "--seconds", 0, "--json")
    before = json.loads(done.stdout)
    assert before["left_out"] == 0
    assert "does not say which slices it was trained on, so test slices of 'phantom' may be among them" in done.stderr
    first = json.loads((workshop / "runs" / RUN / "int8" / "evaluation.json").read_text())["slices"][0]
    seen = [i for i, item in enumerate(data.slices) if item.path == first]
    model_file.recard(theirs, msgspec.structs.replace(card, training_slices=training_slices.record(data, seen)))

    done = call(workshop, "compare", theirs, RUN, "--seconds", 0, "--json")

    after = json.loads(done.stdout)
    assert after["left_out"] > 0
    for row, whole in zip(after["rows"], before["rows"], strict=True):
        assert row["figures"]["n"] == whole["figures"]["n"] - after["left_out"]
    said = f"{after['left_out']} test slices of 'phantom' are left out: a model was trained on them, or on slices of"
    assert said in call(workshop, "compare", theirs, RUN, "--seconds", 0).stderr
    assert said in call(workshop, "compare", theirs, RUN, "--flips").stderr


def test_without_runs_the_bundled_model_is_listed(home: Path) -> None:
    (row,) = json.loads(call(home, "compare", "--seconds", "0", "--json").stdout)["rows"]
    assert (row["name"], row["precision"], row["synthetic"]) == ("bundled", "int8", False)
    assert row["bytes"] < 3_500_000


def test_evaluate_repeats_the_figures_of_the_card(workshop: Path) -> None:
    card = json.loads(call(workshop, "models", "card", RUN).stdout)
    evaluations = json.loads(call(workshop, "evaluate", RUN, "--json").stdout)["evaluations"]
    assert len(evaluations) == 1
    assert evaluations[0]["figures"] == card["figures"]
    assert sum(map(sum, evaluations[0]["confusion"])) == card["figures"]["n"]


def test_evaluate_shows_the_random_split_beside_and_warns(workshop: Path) -> None:
    done = call(workshop, "evaluate", RUN, "--data", "phantom", "--split", "random")
    assert "test part of the model's own grouped split" in done.stdout
    assert "test part of a random split, as in the literature" in done.stdout
    assert "its figures are too good" in done.stderr
    assert "→ malignant" in done.stdout


def test_evaluate_on_other_data_takes_every_slice(own_workshop: Path) -> None:
    draw_phantoms(own_workshop, *OTHERS)
    evaluations = json.loads(call(own_workshop, "evaluate", RUN, "--data", "others", "--json").stdout)["evaluations"]
    assert evaluations[0]["figures"]["n"] == 45
    assert evaluations[0]["figures"]["part"] == "all"


def test_benchmark_prints_percentiles_of_each_model(workshop: Path) -> None:
    models = [f"{RUN}/student", f"{RUN}/int8"]
    assert "p99 ms" in call(workshop, "benchmark", *models, "--seconds", "0.2").stdout
    document = json.loads(call(workshop, "benchmark", *models, "--seconds", "0.2", "--json").stdout)
    assert len(document["measurements"]) == 2
    for item in document["measurements"]:
        assert 0 < item["p50"] <= item["p90"] <= item["p99"]
        assert item["n"] > 0
        assert item["threads"] >= 1
    assert document["machine"]["cpu"]


def test_quantize_shows_its_search_and_never_overwrites_unasked(workshop: Path, tmp_path: Path) -> None:
    output = tmp_path / "ä [1].onnx"
    lax = ["--max-drop", "1", "--min-agreement", "0"]
    done = call(workshop, "quantize", f"{RUN}/student", "--output", output, *lax)
    assert done.stdout.strip() == str(output)
    assert "layers run on integers" in done.stderr
    for title in ("strategy", "size", "balanced", "agree-", "largest"):
        assert title in done.stderr
    assert done.stderr.count(" ms") == 2, "of both files, measured once"
    assert "minmax per tensor" in done.stderr
    assert "on this CPU" in done.stderr
    card = json.loads(call(workshop, "models", "card", output).stdout)
    assert [row["name"] for row in card["ladder"]][:2] == ["float32", "minmax per tensor"]
    assert card["ladder"][-1]["name"] == card["rung"]
    assert "exists already" in call(workshop, "quantize", f"{RUN}/student", "-o", output, check=2).stderr
    call(workshop, "quantize", f"{RUN}/student", "-o", output, "--overwrite", *lax)
    assert "is int8 already" in call(workshop, "quantize", RUN, check=2).stderr


def test_a_smaller_file_may_compute_in_float(workshop: Path, tmp_path: Path) -> None:
    form, output = "int8-weights", tmp_path / "small.onnx"
    done = call(workshop, "quantize", f"{RUN}/student", "--to", form, "-o", output, "--min-agreement", "0.5")
    assert f"{form}, computed in float32" in done.stderr
    source = workshop / "runs" / RUN / "student" / "model.onnx"
    assert output.stat().st_size < 0.5 * source.stat().st_size
    assert f"is {form} already" in call(workshop, "quantize", output, check=2).stderr


def test_where_no_strategy_passes_the_best_is_kept_and_named(
    workshop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing satisfies this gate; its error is the one that exit code 5 belongs to."""
    monkeypatch.setenv("LUNGCLI_HOME", str(workshop))
    monkeypatch.setattr(search, "shortfalls", lambda *_: ("agreement",))
    monkeypatch.setitem(search.STRATEGIES, "int8", search.STRATEGIES["int8"][:2])
    monkeypatch.setattr(run_job, "SECONDS", 0.1)
    output = tmp_path / "best.onnx"
    with pytest.raises(GateNotMetError) as caught:
        CliRunner().invoke(program(), ["quantize", f"{RUN}/student", "--output", str(output)], catch_exceptions=False)
    card = model_file.read_card(output)
    assert [row.fails for row in card.trials] == [(), ("agreement",), ("agreement",)]
    assert card.strategy in ("minmax per tensor", "minmax per channel")
    assert caught.value.message.startswith("quantization check failed: int8 minus float32 is ")
    kept = f"no strategy passes; the best, {card.strategy}, fails on agreement and is kept: {output}"
    assert caught.value.message.endswith(kept)
    assert card.failed_checks == ("quantization",)


def test_evaluate_needs_no_split_of_other_data(own_workshop: Path, tmp_path: Path) -> None:
    """Three slices are too few to divide, and enough to be judged."""
    # Of its own slices it would leave those out that it was trained on.
    draw_phantoms(own_workshop, *OTHERS)
    for label in ("benign", "malignant", "normal"):
        folder = tmp_path / "few" / label
        folder.mkdir(parents=True)
        first = sorted((own_workshop / "data" / "others" / "slices" / label).iterdir())[0]
        (folder / first.name).write_bytes(first.read_bytes())
    call(own_workshop, "data", "import", tmp_path / "few", "--name", "few")
    evaluations = json.loads(call(own_workshop, "evaluate", RUN, "--data", "few", "--json").stdout)["evaluations"]
    assert evaluations[0]["figures"]["n"] == 3


def test_models_are_listed(workshop: Path, home: Path) -> None:
    listed = call(workshop, "models", "list").stdout
    assert "mobilenetv2" in listed
    assert f"{RUN}/int8" in listed
    document = json.loads(call(home, "models", "list", "--json").stdout)
    assert set(document["files"]) == {"bundled"}
    assert {
        key: value
        for key, value in next(net for net in document["nets"] if net["name"] == "ownmodel").items()
        if key != "about"
    } == {
        "name": "ownmodel",
        "millions": 2.1,
        "pretrained": False,
        "int8": "yes",
        "class_activation_map": False,
        "prunable": True,
    }
    assert next(net for net in document["nets"] if net["name"] == "efficientnet-lite0")["pretrained"]
