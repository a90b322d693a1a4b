"""What a prediction needs of a picture: its measures, and the slice as each net takes it."""

from collections.abc import Sequence
from dataclasses import dataclass

from lungcli.core.recipe import Resize
from lungcli.imaging import hounsfield, lung_segmentation, ood_features
from lungcli.imaging.lung_segmentation import LungSegmentation
from lungcli.imaging.ood_features import Features
from lungcli.imaging.picture import Picture, Pixels
from lungcli.imaging.preprocessing import part_seen, prepare_in

InputKind = tuple[int, Resize]
"""Size in pixels of the slice that a net takes, and what part of the picture that shows."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NetInputs:
    """Prepared slices, uint8 [S, S], of the kinds asked for, and what is known of the picture.

    `region` is that of the Picture; `scale` too, or else the window that its greys were probably exported in.
    """

    slices: tuple[Pixels, ...]
    features: Features
    region: str
    scale: str


def net_inputs(picture: Picture, chest: LungSegmentation, kinds: Sequence[InputKind]) -> NetInputs:
    """Measure a picture whose lungs are found, and prepare it; equal kinds share a slice."""
    image = lung_segmentation.as_image(picture.pixels)
    prepared = {kind: prepare_in(image, kind[0], part_seen(picture.size, chest, kind[1])) for kind in set(kinds)}
    return NetInputs(
        slices=tuple(prepared[kind] for kind in kinds),
        features=ood_features.measure(picture, chest),
        region=picture.region,
        scale=picture.scale or hounsfield.window_of(chest.air, chest.tissue),
    )
