"""Whether heat-maps point at real lesions: the pointing game (Zhang et al., 1608.00507) on masks of a data set.

Run: python -m tests.benchmarks.pointing DATA [MODEL]     (default model: bundled)

Malignant slices with a mask that the model was neither trained nor chosen on. A peak hits where it lies in the mask, or
within 8 pixels of it in a slice of 512. Beside `predict --explain` stand the class activation map, and a random pixel
of the lungs.
"""

import sys

import numpy as np
from PIL import Image, ImageFilter

from lungcli.datasets import manifest, training_slices
from lungcli.imaging import lung_segmentation
from lungcli.imaging.image_io import read
from lungcli.imaging.preprocessing import prepare_in
from lungcli.modelfile import model_file, model_paths
from lungcli.predict import explain

NEAR = 8 / 512


def main(name: str, which: str = "bundled") -> None:
    """Measure and print."""
    model, data = model_file.load(model_paths.resolve(which)), manifest.load(name)
    label = model.card.classes.index("malignant")
    folder = manifest.folder(name)
    items = [data.slices[index] for index in training_slices.unseen(model.card.training_slices, data)]
    rows = []
    for item in (item for item in items if item.mask and item.label == "malignant"):
        grey = read(folder / item.path, colour=False).pixels
        chest = lung_segmentation.segment(np.asarray(grey, dtype=np.float32) / np.float32(255))
        prepared = prepare_in(lung_segmentation.as_image(grey), model.card.size, chest)
        reach = 2 * round(NEAR * max(grey.shape)) + 1
        mask = Image.fromarray((read(folder / str(item.mask), colour=False).pixels > 0).astype(np.uint8))
        near = np.asarray(mask.filter(ImageFilter.MaxFilter(reach))) > 0
        lungs = np.asarray(Image.fromarray(chest.lungs).resize(mask.size)) > 0
        evidence = model.evidence(prepared[None])
        assert evidence is not None
        heats = (explain.explain(model, prepared, label), evidence[0, label] - evidence[0].mean(axis=0))
        peaks = [explain.peak(explain.in_picture(heat, chest.box, chest.outline, mask.size[::-1])) for heat in heats]
        hits = [peak is not None and bool(near[peak.y, peak.x]) for peak in peaks]
        rows.append([*hits, (near & lungs).sum() / max(1, lungs.sum())])
    shown, activation, chance = np.mean(rows, axis=0)
    print(
        f"{len(rows)} slices: peak of --explain in the lesion {shown:.3f}, "
        f"of the class activation map {activation:.3f}, chance {chance:.3f}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
