"""Peak memory: an epoch on 1,000 slices at 224 px, and the prediction of many files.

Run: python -m tests.benchmarks.memory     (about five minutes; makes and removes its own data in a temporary home)
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import machine

LUNGCLI = [sys.executable, "-m", "lungcli"]

# `resource` gives the peak of the child alone, in kilobytes on Linux.
PEAK = "import resource, sys; print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3)"


def peak_megabytes(command: list[str], environment: dict[str, str]) -> float:
    """Run a command to its end and return its peak resident memory in MB."""
    code = f"import subprocess; subprocess.run({command!r}, check=True, capture_output=True); {PEAK}"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def main() -> None:
    """Measure and print."""
    machine.state()
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"LUNGCLI_HOME": home}
        subprocess.run([*LUNGCLI, "data", "phantom", "--slices", "1000"], check=True, env=environment)
        train = [*LUNGCLI, "train", "--model", "mobilenetv2", "--data", "phantom", "--epochs", "1", "--name", "m"]
        machine.say(f"train mobilenetv2, 1,000 slices, 224 px, batch 32: {peak_megabytes(train, environment):.0f} MB")
        small = [*train[:-1], "small", "--micro-batch", "16"]
        machine.say(f"the same, 16 slices in memory at once: {peak_megabytes(small, environment):.0f} MB")
        pictures = sorted(Path(home, "data", "phantom", "slices").rglob("*.png"))[:100]
        for rounds in (1, 10, 100):
            many = Path(home, f"{rounds}")
            many.mkdir()
            for number in range(rounds):
                for picture in pictures:
                    (many / f"{number}-{picture.name}").hardlink_to(picture)
            predict = [*LUNGCLI, "predict", "--model", "m", str(many)]
            machine.say(f"predict {rounds * len(pictures):>6} files: {peak_megabytes(predict, environment):.0f} MB")


if __name__ == "__main__":
    main()
