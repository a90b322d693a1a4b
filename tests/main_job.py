"""What the README promises of its main job: student and int8 file have learned, and their heat-maps point at nodules.

Run after it: python -m tests.main_job [RUN]
"""

import re
import sys

from lungcli.core import runs
from lungcli.datasets import manifest
from lungcli.datasets.phantom import dataset
from lungcli.evaluation import compare
from lungcli.modelfile import model_file
from tests.predict import pointing

BALANCED, SENSITIVITY, POINTING, SMALLER = 0.80, 0.90, 0.5, 3.0


def main() -> int:
    run = runs.load(sys.argv[1] if len(sys.argv) > 1 else "compress-mobilenetv2-phantom")
    data = manifest.load("phantom")
    broken = []
    sizes = {}
    for stage in ("student", "int8"):
        path = run.stage(stage) / "model.onnx"
        sizes[stage] = path.stat().st_size
        model = model_file.load(path)
        evaluation = compare.stored_evaluation(path)
        assert evaluation is not None
        figures = evaluation.figures()
        balanced, sensitivity = figures.estimates["balanced_accuracy"].value, figures.sensitivity
        assert balanced is not None
        assert sensitivity is not None
        assert sensitivity.value is not None
        people = {re.sub(r".*/(p\d+)-s.*", r"\1", name) for name in evaluation.slices}
        drawn = [patient for patient in dataset.patients(len(data.slices), seed=0) if patient.name in people]
        cases = [case for patient in drawn for case in pointing.cases_of(patient, model.card.size)]
        hits, chance = pointing.won(model, cases)
        print(
            f"{stage}: balanced accuracy {balanced:.3f}, malignant sensitivity {sensitivity.value:.3f}, "
            f"peak on the nodule in {hits:.0%} of {len(cases)} (chance {chance:.0%}), {sizes[stage] / 1e6:.2f} MB"
        )
        if balanced < BALANCED or sensitivity.value < SENSITIVITY or hits < chance + POINTING:
            broken.append(stage)
    if sizes["student"] < SMALLER * sizes["int8"]:
        broken.append("size")
    print(f"broken promises: {', '.join(broken) or 'none'}")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
