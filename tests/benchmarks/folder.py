"""A folder of 1,000 JPEGs of 512×512 pixels: `lungcli predict --jsonl`, next to its parts alone and to other programs.

Run: python -m tests.benchmarks.folder [FOLDER] [--rounds N] [--ultralytics PYTHON]

Without FOLDER, phantoms are drawn (a minute). The parts are done one after another, each on all cores, for all
pictures: what a program reaches that wastes nothing and overlaps nothing. The torch script is what one writes in ten
minutes: Pillow, torchvision's transforms and MobileNetV2, one picture after another. Ultralytics' classify predict is
run where PYTHON has it (its licence is AGPL, so it is never installed with lungcli), in torch and through its own ONNX
export (`pip install ultralytics onnx onnxruntime` there); its net is YOLO11n-cls, untrained. Programs take turns, and
each one's time holds its start; all nets take the bundled model's size; the export is made before. Pictures are JPEG in
colour mode, as viewers export them.
"""

import argparse
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from PIL import Image

from lungcli.core import cpu as hardware
from lungcli.core import package_data
from lungcli.datasets.phantom import dataset
from lungcli.imaging import lung_segmentation, ood, ood_features
from lungcli.imaging.image_io import read
from lungcli.imaging.preprocessing import prepare_in
from lungcli.modelfile import model_file
from tests.benchmarks import machine

PICTURES, A_PATIENT, AT_ONCE = 1000, 4, 100
LUNGCLI = [sys.executable, "-m", "lungcli", "predict", "--jsonl"]
TORCH = """
import sys
from pathlib import Path
import torch
from PIL import Image
from torchvision import models, transforms
net = models.mobilenet_v2(num_classes=3).eval()
resize = transforms.Resize((int(sys.argv[2]), int(sys.argv[2])))
prepare = transforms.Compose([resize, transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
with torch.inference_mode():
    for path in sorted(Path(sys.argv[1]).iterdir()):
        print(path.name, net(prepare(Image.open(path).convert("RGB"))[None]).softmax(1).tolist())
"""
EXPORT = """
import sys
from ultralytics import YOLO
YOLO("yolo11n-cls.yaml", task="classify").export(format="onnx", imgsz=int(sys.argv[1]))
"""
ULTRALYTICS = """
import sys
from ultralytics import YOLO
for found in YOLO(sys.argv[2], task="classify").predict(
    source=sys.argv[1], imgsz=int(sys.argv[3]), device="cpu", stream=True, verbose=False, save=False
):
    print(found.path, found.probs.data.tolist())
"""

T = TypeVar("T")
R = TypeVar("R")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ultralytics", metavar="PYTHON", default="")
    asked = parser.parse_args()
    machine.state()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.folder or draw(Path(scratch) / "pictures")
        files = sorted(folder.iterdir())
        programs: dict[str, list[str]] = {"lungcli predict": [*LUNGCLI, str(folder)]}
        side = str(model_file.load(package_data.MODEL).card.size)
        programs["plain torch script"] = [sys.executable, "-c", TORCH, str(folder), side]
        if asked.ultralytics:
            run([asked.ultralytics, "-c", EXPORT, side], Path(scratch))
            for name, net in (("ultralytics, torch", "yolo11n-cls.yaml"), ("ultralytics, ONNX", "yolo11n-cls.onnx")):
                programs[name] = [asked.ultralytics, "-c", ULTRALYTICS, str(folder), net, side]
        times: dict[str, list[float]] = {}
        for _ in range(asked.rounds):
            for name, taken in parts(files).items():
                times.setdefault(name, []).append(taken)
            for name, command in programs.items():
                taken = machine.seconds(lambda command=command: run(command, Path(scratch)))  # type: ignore[misc]
                times.setdefault(name, []).append(taken)
        report(times, len(files), list(programs))


def draw(folder: Path) -> Path:
    """Draw 1,000 slices of 250 made-up patients as JPEG files."""
    folder.mkdir()
    patients = itertools.islice(dataset.patients(2 * PICTURES, 0), PICTURES // A_PATIENT)
    for number, patient in enumerate(patients):
        for place in range(A_PATIENT):
            slice_ = Image.fromarray(dataset.render(patient, (place - A_PATIENT / 2) / A_PATIENT))
            slice_.convert("RGB").save(folder / f"{number:03}-{place}.jpg", quality=95)
    return folder


def parts(files: Sequence[Path]) -> dict[str, float]:
    """Seconds of each part for all pictures, on all cores, a hundred pictures in memory at a time."""
    model = model_file.load(package_data.MODEL, threads=1)
    size, known = model.card.size, model.card.guard
    taken = dict.fromkeys(("read", "find the lungs", "guard", "crop and scale", "net"), 0.0)
    with ThreadPoolExecutor(hardware.physical_cores()) as pool:

        def timed(name: str, work: Callable[[T], R], items: Iterable[T]) -> list[R]:
            start = time.perf_counter()
            done = list(pool.map(work, items))
            taken[name] += time.perf_counter() - start
            return done

        for start in range(0, len(files), AT_ONCE):
            pictures = timed("read", read, files[start : start + AT_ONCE])
            found = timed("find the lungs", lambda each: lung_segmentation.segment(each.pixels), pictures)
            pairs = list(zip(pictures, found, strict=True))
            looks = timed("guard", lambda pair: ood_features.measure(*pair), pairs)
            timed("guard", lambda look: (ood.layout_rejection(look), known and ood.distance(look, known)), looks)
            slices = timed(
                "crop and scale",
                lambda pair: prepare_in(lung_segmentation.as_image(pair[0].pixels), size, pair[1]),
                pairs,
            )
            timed("net", lambda each: model.probabilities(each[None]), slices)
    return taken


def run(command: list[str], scratch: Path) -> None:
    """Run a program to its end; Ultralytics keeps its settings apart and calls nobody."""
    # Torch and OpenCV set their threads themselves.
    quiet = {"YOLO_OFFLINE": "true", "YOLO_CONFIG_DIR": str(scratch), "YOLO_AUTOINSTALL": "false"}
    kept = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    with (scratch / "said").open("wb") as said:
        subprocess.run(command, env=kept | quiet, stdout=said, stderr=subprocess.PIPE, cwd=scratch, check=True)


def report(times: dict[str, list[float]], count: int, programs: Sequence[str]) -> None:
    """Print medians; shares are medians of the rounds' own ratios, so that a busy moment meets both sides."""
    alone = [name for name in times if name not in programs]
    for name in alone:
        machine.say(f"{name:<22} {statistics.median(times[name]) / count * 1000:6.2f} ms a picture, all cores")
    whole = [sum(times[name][number] for name in alone) for number in range(len(times[programs[0]]))]
    machine.say(f"{'parts one by one':<22} {count / statistics.median(whole):6.0f} pictures/s")
    for name in programs:
        ratio = statistics.median(parts / own for parts, own in zip(whole, times[name], strict=True))
        rate = count / statistics.median(times[name])
        machine.say(f"{name:<22} {rate:6.0f} pictures/s, {ratio:.0%} of the parts")


if __name__ == "__main__":
    main()
