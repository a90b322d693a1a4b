"""Cold starts: `lungcli --help`, `lungcli predict` of one picture, the same through torch, and completing a name.

Run: python -m tests.benchmarks.startup [MODEL] [PICTURE]     (default: the newest model, a drawn phantom)
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from lungcli.modelfile import model_file, model_paths
from tests.benchmarks import machine

ROUNDS = 11

THROUGH_TORCH = """
import sys, torch, torchvision
from PIL import Image
from torchvision.transforms import functional
net = torchvision.models.get_model(sys.argv[1], weights=None, num_classes=3).eval()
picture = functional.to_tensor(Image.open(sys.argv[2]).convert("RGB").resize((int(sys.argv[3]),) * 2))
with torch.inference_mode():
    print(net(picture[None]).softmax(1))
"""

PARTS = """
import numpy, onnxruntime, sys
from PIL import Image
options = onnxruntime.SessionOptions()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
picture = Image.open(sys.argv[2]).convert("L").resize((int(sys.argv[3]),) * 2)
session.run(None, {"slice": numpy.asarray(picture)[None, None]})
"""

TORCHVISION = {"mobilenetv2": "mobilenet_v2", "shufflenetv2": "shufflenet_v2_x1_0"}


def main() -> None:
    """Measure and print."""
    model = model_paths.resolve(sys.argv[1]) if len(sys.argv) > 1 else model_paths.bundled()
    card = model_file.read_card(model)
    with tempfile.TemporaryDirectory() as scratch:
        picture = Path(sys.argv[2]) if len(sys.argv) > 2 else _phantom(Path(scratch))
        lungcli = [str(Path(sys.executable).with_name("lungcli"))]
        commands = {
            "lungcli --help": [*lungcli, "--help"],
            "lungcli predict": [*lungcli, "predict", "--model", str(model), str(picture)],
            "its parts alone (onnxruntime, Pillow, numpy)": [
                *(sys.executable, "-c", PARTS, str(model), str(picture), str(card.size))
            ],
            f"torch, torchvision {card.model}": [
                *(sys.executable, "-c", THROUGH_TORCH, TORCHVISION.get(card.model, card.model)),
                *(str(picture), str(card.size)),
            ],
            "completing lungcli predict -m": [
                *("env", "_LUNGCLI_COMPLETE=complete_bash", "COMP_WORDS=lungcli predict -m ", "COMP_CWORD=3"),
                *lungcli,
            ],
        }
        actions = [
            lambda command=command: subprocess.run(command, check=True, capture_output=True)
            for command in commands.values()
        ]
        medians = machine.taking_turns(actions, ROUNDS)
    machine.state()
    for name, median in zip(commands, medians, strict=True):
        machine.say(f"{name:<46} {median:6.3f} s")
    machine.say(f"torch ÷ lungcli predict: {medians[3] / medians[1]:.1f}×")
    machine.say(f"lungcli predict ÷ its parts: {medians[1] / medians[2]:.2f}×")


def _phantom(folder: Path) -> Path:
    from lungcli.datasets import manifest
    from lungcli.datasets.phantom import dataset

    name = "phantom" if "phantom" in manifest.existing() else dataset.make_dataset(slices=60, name="phantom").name
    del folder
    found = manifest.load(name)
    return manifest.folder(name) / found.slices[0].path


if __name__ == "__main__":
    main()
