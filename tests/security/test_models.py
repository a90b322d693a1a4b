"""Model files, runs and recipes that mean harm: each is one clear error, and nothing else happens."""

import contextlib
import io
import json
import os
import pickle
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lungcli.core import recipe, runs
from lungcli.core.errors import LungcliError, ModelFileError
from lungcli.modelfile import model_card, model_file, model_paths, trial_run
from lungcli.training import checkpoint
from lungcli.web import examples, slice_worker
from tests import forked
from tests.cli.conftest import environment
from tests.modelfile import graphs

# What may be taken before a file is refused; those that mean to fill memory would take gigabytes.
MOST_BYTES = 64 << 20


class _Evil:
    """What a pickle would run."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, ...]]:
        return os.mkdir, (str(self.mark),)


def poisoned(mark: Path) -> bytes:
    """A file as `torch.save` writes it, which makes the folder `mark` when it is loaded without care."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(_Evil(mark)))
        archive.writestr("archive/version", "3\n")
        archive.writestr("archive/byteorder", "little")
    return file.getvalue()


def net(*nodes: onnx.NodeProto, weights: tuple[onnx.TensorProto, ...] = (), size: int = graphs.SIZE) -> onnx.ModelProto:
    """A model file that would pass for one of ours but for what its nodes do with `float`, the slice."""
    graph = helper.make_graph(
        [helper.make_node("Cast", ["slice"], ["float"], to=TensorProto.FLOAT), *nodes],
        "net",
        [helper.make_tensor_value_info("slice", TensorProto.UINT8, ["N", 1, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 3])],
        list(weights),
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("evil", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    helper.set_model_props(model, {model_file.KEY: model_card.encode(graphs.card(size=size))})
    return model


def ints(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


def floats(name: str, *shape: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.zeros(shape, dtype=np.float32), name)


def ended(source: str) -> tuple[onnx.NodeProto, ...]:
    """Logits out of anything."""
    return (
        helper.make_node("ReduceMean", [source, "places"], ["mean"], keepdims=0),
        helper.make_node("Flatten", ["mean"], ["logits"]),
    )


def external(location: str) -> onnx.ModelProto:
    tensor = floats("w", 3)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return net(helper.make_node("Add", ["float", "w"], ["logits"]), weights=(tensor,))


def huge_constant() -> onnx.ModelProto:
    value = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    nodes = (
        helper.make_node("ConstantOfShape", ["shape"], ["huge"], value=value),
        helper.make_node("Add", ["float", "huge"], ["sum"]),
    )
    return net(*nodes, *ended("sum"), weights=(ints("shape", 1, 1 << 14, 1 << 8, 1 << 7), ints("places", 2, 3)))


def expanded() -> onnx.ModelProto:
    shape = ints("shape", 1, 1 << 16, graphs.SIZE, graphs.SIZE)
    return net(
        helper.make_node("Expand", ["float", "shape"], ["huge"]), *ended("huge"), weights=(shape, ints("places", 2, 3))
    )


def doubled() -> onnx.ModelProto:
    """Sixteen times as many channels with each of six nodes, every operator one of ours."""
    names = ["float", *(f"d{i}" for i in range(6))]
    nodes = [helper.make_node("Concat", [a] * 16, [b], axis=1) for a, b in pairwise(names)]
    return net(*nodes, *ended(names[-1]), weights=(ints("places", 2, 3),))


def padded() -> onnx.ModelProto:
    node = helper.make_node("Conv", ["float", "w"], ["huge"], pads=[20_000] * 4)
    return net(node, *ended("huge"), weights=(floats("w", 3, 1, 1, 1), ints("places", 2, 3)))


def framed(*pads: int) -> onnx.ModelProto:
    """A slice with empty rows and columns around it."""
    node = helper.make_node("Pad", ["float", "pads"], ["huge"])
    return net(node, *ended("huge"), weights=(ints("pads", *pads), ints("places", 2, 3)))


def framed_as_it_runs() -> onnx.ModelProto:
    """A frame as wide as the slice says."""
    pads = (
        helper.make_node("ReduceMax", ["float", "places"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["pads"], to=TensorProto.INT64),
        helper.make_node("Pad", ["float", "pads"], ["huge"]),
    )
    return net(*pads, *ended("huge"), weights=(ints("places", 2, 3),))


def outer() -> onnx.ModelProto:
    """A sum of a column and a row, a thousand times as large as either."""
    nodes = (
        helper.make_node("Mul", ["float", "column"], ["a"]),
        helper.make_node("Add", ["a", "row"], ["huge"]),
    )
    weights = (floats("column", 1, 4096, 1, 1), floats("row", 1, 4096, 1, 1, 1), ints("places", 2, 3, 4))
    return net(*nodes, *ended("huge"), weights=weights)


def folded() -> onnx.ModelProto:
    """A product of constants, which the runtime works out while it starts."""
    nodes = (
        helper.make_node("MatMul", ["column", "row"], ["huge"]),
        helper.make_node("ReduceMean", ["huge"], ["grey"]),
        helper.make_node("Add", ["float", "grey"], ["sum"]),
    )
    return net(
        *nodes, *ended("sum"), weights=(floats("column", 30_000, 1), floats("row", 1, 30_000), ints("places", 2, 3))
    )


def endless() -> onnx.ModelProto:
    """Little memory, and no end of work."""
    names = ["wide", *(f"c{i}" for i in range(15_000))]
    start = helper.make_node("Conv", ["float", "first"], ["wide"])
    nodes = [helper.make_node("Conv", [a, "w"], [b], pads=[7] * 4) for a, b in pairwise(names)]
    weights = (floats("first", 32, 1, 1, 1), floats("w", 32, 32, 15, 15), ints("places", 2, 3))
    return net(start, *nodes, *ended(names[-1]), weights=weights)


def layers(count: int, size: int, scale: float = 1.0) -> onnx.ModelProto:
    """Convolutions of 64 channels, one behind the other, each of which keeps the mean of the scaled slice."""
    names = ["wide", *(f"c{i}" for i in range(count))]
    mean = numpy_helper.from_array(np.full((64, 64, 3, 3), 1 / 576, dtype=np.float32), "w")
    scaled = numpy_helper.from_array(np.full((64, 1, 1, 1), scale, dtype=np.float32), "first")
    nodes = [helper.make_node("Conv", [a, "w"], [b], pads=[1] * 4) for a, b in pairwise(names)]
    classes = (
        helper.make_node("Slice", [names[-1], "from", "to", "axis"], ["three"]),
        *ended("three"),
    )
    weights = (scaled, mean, ints("from", 0), ints("to", 3), ints("axis", 1), ints("places", 2, 3))
    return net(helper.make_node("Conv", ["float", "first"], ["wide"]), *nodes, *classes, weights=weights, size=size)


def looped() -> onnx.ModelProto:
    body = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "b", [], [])
    return net(helper.make_node("Loop", ["", ""], ["logits"], body=body))


def lying() -> onnx.ModelProto:
    """A tensor of 4 GB, by its own account, without content."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 15, 1 << 15])
    return net(helper.make_node("Add", ["float", "w"], ["logits"]), weights=(tensor,))


def sparse() -> onnx.ModelProto:
    model = net(helper.make_node("Add", ["float", "s"], ["logits"]))
    values = numpy_helper.from_array(np.ones(1, dtype=np.float32), "s")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, ints("i", 0), [1 << 15, 1 << 15]))
    return model


def products() -> onnx.ModelProto:
    """A constant of numbers that come one by one in the file, times every pixel."""
    nodes = (
        helper.make_node("Constant", [], ["row"], value_floats=[0.0] * 60_000),
        helper.make_node("Reshape", ["float", "column"], ["a"]),
        helper.make_node("Mul", ["a", "row"], ["huge"]),
    )
    return net(*nodes, *ended("huge"), weights=(ints("column", -1, 1, graphs.SIZE**2, 1), ints("places", 2, 3)))


def parts() -> onnx.ModelProto:
    model = net(*ended("float"), weights=(ints("places", 2, 3),))
    for _ in range(300_000):
        model.graph.node[0].input.append("")
        model.graph.node[0].output.append("")
    return model


# A process of its own: the peak of one that pytest starts counts pytest's own memory, which a new process shares until
# its program is loaded.
CHILD = """
import json, resource, sys, time
from pathlib import Path
from lungcli.core.errors import ModelFileError
from lungcli.modelfile import model_file
from tests.memory import peak

reason, (before, _), begun = "", peak(), time.process_time()
try:
    model_file.load(Path(sys.argv[1]), threads=1)
except ModelFileError as error:
    reason = error.message
taken = peak()[1] - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss << 10
print(json.dumps([reason, time.process_time() - begun, *taken]))
"""


TOO_MUCH = "takes more than"
HARMFUL: dict[str, tuple[Callable[[], onnx.ModelProto], str]] = {
    "weights in /etc/passwd": (lambda: external("/etc/passwd"), "keeps weights in another file"),
    "weights in ../": (lambda: external("../../../../etc/passwd"), "keeps weights in another file"),
    "an operator of its own": (
        lambda: net(helper.make_node("Run", ["float"], ["logits"], domain="evil")),
        "operator 'Run' of 'evil'",
    ),
    "a constant of 2 GB": (huge_constant, "operator 'ConstantOfShape'"),
    "an expansion": (expanded, "operator 'Expand'"),
    "ever more channels": (doubled, TOO_MUCH),
    "padding": (padded, TOO_MUCH),
    "a wide frame": (lambda: framed(0, 0, 20_000, 20_000, 0, 0, 20_000, 20_000), TOO_MUCH),
    "a frame that takes away more than there is": (
        lambda: framed(0, 0, 0, 0, 0, 0, -99, 0),
        "onnxruntime cannot run it",
    ),
    "a frame of too few sides": (lambda: framed(0, 0, 1, 1), "onnxruntime cannot run it"),
    "a frame as wide as the slice says": (framed_as_it_runs, "only known when it runs"),
    "an outer sum": (outer, TOO_MUCH),
    "a product of constants": (folded, TOO_MUCH),
    "work without end": (endless, TOO_MUCH),
    "work that ends": (lambda: layers(300, 500), TOO_MUCH),
    "a loop": (looped, "graphs inside nodes"),
    "a tensor that lies": (lying, f"onnxruntime cannot run it|{TOO_MUCH}"),
    "a row for every pixel": (products, TOO_MUCH),
    "parts without end": (parts, "more than 500,000 parts"),
    "a sparse tensor": (sparse, "sparse tensors"),
}


# These have all of their time.
LONG = ("work without end", "work that ends")


@pytest.mark.parametrize("name", [pytest.param(each, marks=[pytest.mark.long] * (each in LONG)) for each in HARMFUL])
def test_a_harmful_graph_is_refused_before_it_takes_resources(name: str, tmp_path: Path) -> None:
    make, why = HARMFUL[name]
    path = tmp_path / "m.onnx"
    path.write_bytes(make().SerializeToString())
    assert path.stat().st_size < 2 << 20
    done = subprocess.run(
        [sys.executable, "-c", CHILD, path], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    reason, seconds, memory_here, memory_of_trial = json.loads(done.stdout)
    assert re.search(why, reason)
    assert memory_here < MOST_BYTES
    assert memory_of_trial <= trial_run.BASE_BYTES + (200 << 20)
    assert seconds < 5


def test_a_slice_takes_no_longer_than_that_of_the_trial(tmp_path: Path) -> None:
    """Numbers below 1.2e-38, which the slice decides on, would take a hundred times as long."""
    seconds = []
    for scale in (1.0, 1e-41):
        path = tmp_path / f"{scale}.onnx"
        path.write_bytes(layers(4, 96, scale).SerializeToString())
        model = model_file.load(path, threads=1)
        slices = np.random.default_rng(0).integers(1, 256, (4, 96, 96), dtype=np.uint8)
        model.logits(slices)
        began = time.process_time()
        model.logits(slices)
        seconds.append(time.process_time() - began)
    assert seconds[1] < 10 * seconds[0]


def test_work_without_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_run, "_MOST_WAITED", 3)
    path = tmp_path / "m.onnx"
    path.write_bytes(endless().SerializeToString())
    with pytest.raises(ModelFileError, match=TOO_MUCH):
        model_file.load(path, threads=1)


def test_a_process_has_no_more_processor_time_than_it_is_given() -> None:
    code = "from lungcli.modelfile import trial_run\ntrial_run.bound(1)\nwhile True:\n    pass"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == -signal.SIGKILL


@pytest.mark.parametrize("name", ["weights in /etc/passwd", "ever more channels", "a tensor that lies"])
def test_every_command_that_takes_a_model_refuses_it(name: str, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(HARMFUL[name][0]().SerializeToString())
    picture = tmp_path / "x.png"
    shutil.copy(Path(__file__).parents[1] / "fuzz" / "corpus" / "picture" / "tag-larger-than-file", picture)
    for asked in (
        ["predict", "--model", path, picture],
        ["evaluate", path],
        ["benchmark", path],
        ["calibrate", path],
        ["quantize", path],
        ["export", path, "--to", "ort", "--output", tmp_path / "out"],
        ["compare", path, path, "--seconds", "0.1"],
    ):
        one_clear_error(home, asked)
    assert not (tmp_path / "out").exists()
    # Its card is read without the graph.
    card = forked.run(["models", "card", path], environment(home), timeout=60)
    assert card.returncode in (0, 3), card
    assert card.stderr.count("error: ") == (card.returncode == 3), card


def torn() -> bytes:
    whole: bytes = net(*ended("float"), weights=(ints("places", 2, 3),)).SerializeToString()
    return whole[: len(whole) // 2]


def carded(card: str) -> bytes:
    """A net with another card."""
    model = net(*ended("float"), weights=(ints("places", 2, 3),))
    helper.set_model_props(model, {model_file.KEY: card})
    content: bytes = model.SerializeToString()
    return content


# What is sent, and whether its card can be read, for which nobody needs the graph.
SENT: dict[str, tuple[Callable[[], bytes], bool]] = {
    "weights in /etc/passwd": (lambda: HARMFUL["weights in /etc/passwd"][0]().SerializeToString(), False),
    "ever more channels": (lambda: HARMFUL["ever more channels"][0]().SerializeToString(), True),
    "a tensor that lies": (lambda: HARMFUL["a tensor that lies"][0]().SerializeToString(), True),
    "torn": (torn, False),
    "no model": (lambda: b"<html>", False),
    "a card nested deep": (lambda: carded('{"x":' + "[" * 100_000 + "]" * 100_000 + "}"), False),
    "a card of other classes": (lambda: carded(model_card.encode(graphs.card(classes=("a", "b")))), True),
    "a card of a negative temperature": (
        lambda: carded(model_card.encode(graphs.card()).replace('"temperature":2.0', '"temperature":-2.0')),
        False,
    ),
}


@pytest.mark.parametrize("name", SENT)
def test_every_command_that_makes_another_file_of_it_refuses_it(name: str, home: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "m.onnx", tmp_path / "out"
    make, has_card = SENT[name]
    path.write_bytes(make())
    adopt: list[object] = ["models", "adopt", path, "--name", "x", "--classes", "a,b,c", "--size", "32"]
    asked: list[list[object]] = [
        ["quantize", path, "--output", out],
        ["quantize", path, "--to", "float16", "--output", out],
        ["export", path, "--output", out],
        ["export", path, "--to", "ort", "--output", out],
        ["models", "card", path],
        [*adopt, "--scale", "imagenet", "--resize", "stretch"],
    ]
    for words in asked:
        if words[1] == "adopt" and name.startswith("a card"):
            continue
        done = forked.run(words, environment(home), timeout=300)
        if words[1] == "card" and has_card:
            assert done.returncode == 0, done
            continue
        # A card may name data that there is not.
        assert done.returncode in ((2, 3) if words[0] == "quantize" and has_card else (3,)), (words, done)
        assert not done.stdout
        assert done.stderr.count("error: ") == 1, (words, done)
        assert not any(word in done.stderr for word in ("Traceback", "unforeseen", "root:"))
        assert not out.exists()
    assert not list((home / "models").glob("*"))


def no_number() -> onnx.ModelProto:
    """Logits of 0 / 0."""
    return net(
        helper.make_node("ReduceMean", ["float", "places"], ["mean"], keepdims=0),
        helper.make_node("Sub", ["mean", "mean"], ["zero"]),
        helper.make_node("Div", ["zero", "none"], ["logits"]),
        weights=(floats("none", 3), ints("places", 2, 3)),
    )


def test_answers_that_are_no_numbers_are_an_error_of_the_model_and_no_prediction(home: Path, tmp_path: Path) -> None:
    path, sound = tmp_path / "m.onnx", graphs.model_file(tmp_path / "sound.onnx")
    path.write_bytes(no_number().SerializeToString())
    folder = tmp_path / "pictures"
    folder.mkdir()
    upload = examples.phantom("malignant")
    (folder / "x.png").write_bytes(upload.content)
    for how in ((folder / "x.png",), (folder,), (folder, "--json"), (folder, "--tta"), (folder, "--model", sound)):
        done = forked.run(["predict", "--force", "--model", path, *how], environment(home), timeout=60)
        assert done.returncode == 3, done
        assert "no finite numbers" in done.stderr
        assert not done.stdout
    with pytest.raises(ModelFileError, match="no finite numbers"):
        slice_worker.predict(upload, model_file.load(path, threads=1))


def test_a_pickle_as_model_run_or_checkpoint_executes_nothing(home: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    evil = poisoned(mark)
    commands = ("predict", "evaluate", "benchmark", "calibrate", "quantize", "compare")
    for suffix in ("pt", "onnx"):
        (tmp_path / f"m.{suffix}").write_bytes(evil)
        for command in commands if suffix == "pt" else commands[:1]:
            more = ["--model", tmp_path / f"m.{suffix}"] if command == "predict" else []
            one_clear_error(home, [command, *more, tmp_path / f"m.{suffix}"])
    assert not mark.exists()
    # The very same bytes do harm where nobody takes care.
    pickle.loads(pickle.dumps(_Evil(mark)))
    assert mark.exists()


def test_a_poisoned_checkpoint_executes_nothing(home: Path, tmp_path: Path) -> None:
    import torch

    mark, path = tmp_path / "mark", tmp_path / "checkpoint.safetensors"
    layer = torch.nn.Linear(1, 1)
    optimizer = torch.optim.AdamW(layer.parameters())
    header = b'{"__metadata__":{"position":"%s"}}'
    bad = [
        poisoned(mark),
        pickle.dumps(_Evil(mark)),
        b"",
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        *(
            struct.pack("<Q", len(text)) + text
            for text in (header % b"x", header % b"{}", header % b'{\\"recipe\\":\\"r\\",\\"epoch\\":[]}', b"{" * 900)
        ),
        struct.pack("<Q", 80) + b'{"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,8]}}'.ljust(80),
    ]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(LungcliError):
            checkpoint.restore(path, "r", layer, layer, optimizer)
        with pytest.raises(LungcliError):
            checkpoint.load_weights(path, layer)
    assert not mark.exists()


def a_run(name: str = "copied", **changes: object) -> Path:
    run = runs.create(
        name, "train", msgspec.structs.replace(recipe.Recipe(data="phantom", model="resnet18"), **changes)
    )
    (run.stage("train")).mkdir()
    graphs.model_file(run.stage("train") / model_paths.MODEL)
    return run.folder


LINKED = ("events.jsonl", ".lock", "run.json", "recipe.toml", "worker.json", "tags.json", "train", "train/model.onnx")


@pytest.mark.parametrize("name", LINKED)
def test_links_out_of_a_run_folder_are_refused_and_their_targets_stay(name: str, home: Path, tmp_path: Path) -> None:
    folder, outside = a_run(), tmp_path / "outside"
    here = folder / name
    if here.is_dir():
        shutil.copytree(here, outside)
        shutil.rmtree(here)
    else:
        outside.write_bytes(here.read_bytes() if here.exists() else b"precious, without a last line's end")
        here.unlink(missing_ok=True)
    here.symlink_to(outside)
    before = outside.read_bytes() if outside.is_file() else sorted(outside.iterdir())

    for each in (lambda: runs.load("copied"), lambda: model_paths.resolve("copied")):
        with pytest.raises(LungcliError, match="'copied' holds a link"):
            each()
    assert runs.readable()[0] == []
    if name in ("events.jsonl", ".lock", "train"):
        for asked in (["runs", "list"], ["runs", "resume", "copied"]):
            assert "'copied' holds a link" in call(home, asked), asked
    assert before == (outside.read_bytes() if outside.is_file() else sorted(outside.iterdir()))


def test_a_run_that_names_outside_paths_touches_none(home: Path, tmp_path: Path) -> None:
    folder = a_run()
    secret = tmp_path / "secret.json"
    secret.write_text("precious words")
    for changes in (
        {"data": "../../../../etc"},
        {"data": str(tmp_path)},
        {"split": str(secret)},
        {"split": "../../../../etc/passwd"},
        {"model": "os:system"},
        {"model": "../../x"},
        {"teacher": "../../../etc/passwd"},
        {"method": "builtins:exec"},
        {"device": "../x"},
    ):
        recipe.save(recipe.Recipe(**{"data": "phantom", "model": "resnet18", **changes}), folder / "recipe.toml")  # type: ignore[arg-type]
        done = call(home, ["runs", "resume", "copied"])
        assert "error: " in done, (changes, done)
        assert "precious" not in done
        assert "root:" not in done
        assert "Traceback" not in done
        assert "unforeseen" not in done
    assert secret.read_text() == "precious words"


@pytest.mark.parametrize(
    "text",
    [
        'about = "x"\ntakes = "y"\nextra = 1\n[[jobs]]\nsettings = {}\n',
        'about = "x"\ntakes = "y"\n[[jobs]]\nkind = "compress"\nsettings = { run = "rm -rf /" }\n',
        'about = "x"\ntakes = "y"\n[[jobs]]\nsettings = { data = "../../etc", model = "resnet18" }\n',
        'about = "x"\ntakes = "y"\n[[jobs]]\nsettings = { split = "/etc/passwd", model = "alexnet" }\n',
        'about = "x"\ntakes = "y"\n[[jobs]]\nsettings = { model = "os:system", data = "phantom" }\n',
        'about = "x"\ntakes = "y"\n[[jobs]]\nsettings = { threads = 99999999, model = "resnet18" }\n',
    ],
)
def test_a_recipe_with_unknown_keys_or_paths_outside_is_refused(text: str, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "evil.toml"
    path.write_text(text)
    one_clear_error(home, ["compress", "--recipe", path])


def call(home: Path, asked: Sequence[object]) -> str:
    done = forked.run(asked, environment(home), timeout=600)
    return done.stdout + done.stderr


def one_clear_error(home: Path, asked: Sequence[object]) -> None:
    done = call(home, asked)
    assert done.count("error: ") == 1, (asked, done)
    assert "Traceback" not in done
    assert "unforeseen" not in done, (asked, done)
    assert "root:" not in done


def test_a_file_that_is_not_known_is_tried_once(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path) -> None:
    tried: list[bytes] = []

    def passes(_module: str, *, content: bytes, **_: float) -> tuple[int, str]:
        tried.append(content)
        return 0, ""

    trial_run._known.cache_clear()
    monkeypatch.setattr(trial_run, "in_process", passes)
    sent, made = tmp_path / "sent.onnx", graphs.model_file(tmp_path / "made.onnx")
    sent.write_bytes(net(*ended("float"), weights=(ints("places", 2, 3),)).SerializeToString())
    for path in (made, sent, sent):
        with contextlib.suppress(ModelFileError):
            model_file.load(path, threads=1)
    assert tried == [sent.read_bytes()]
    trial_run._known.cache_clear()
    assert trial_run.is_known(sent.read_bytes())
    # Another card makes no other program; another weight does.
    model_file.recard(made, graphs.card(temperature=3.0))
    assert trial_run.is_known(made.read_bytes())
    other = onnx.load(made)
    other.opset_import[0].version = 17
    assert not trial_run.is_known(other.SerializeToString())
    assert len(tried) == 1


def test_a_file_that_waits_for_ever_is_given_up(monkeypatch: pytest.MonkeyPatch, home: Path, tmp_path: Path) -> None:
    path = graphs.model_file(tmp_path / "m.onnx")
    trial_run._known().clear()
    monkeypatch.setattr(trial_run, "_MOST_WAITED", 0.01)
    with pytest.raises(ModelFileError, match=TOO_MUCH):
        model_file.load(path, threads=1)


def test_what_the_runtime_prints_is_no_part_of_the_reason(home: Path, tmp_path: Path) -> None:
    """A name that is no UTF-8 makes it print several lines and try again."""
    content = graphs.brightness(tmp_path / "net").read_bytes().replace(b"Cast", b"C\xf3st", 1)
    with pytest.raises(ValueError, match=r"^onnxruntime cannot run it: .+$") as raised:
        trial_run.require(content)
    assert "\n" not in str(raised.value)
