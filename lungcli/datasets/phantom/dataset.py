"""Synthetic data: chest phantoms drawn by the program, so that everything can be tried without a download.

Only the nodule depends on the class. Body, position, table, noise, blur and window are drawn from random streams of
their own, so that no shortcut separates the classes.
"""

import functools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lungcli.core.errors import UsageError
from lungcli.datasets import manifest
from lungcli.datasets.files import Advance
from lungcli.datasets.ingest import ingest
from lungcli.datasets.manifest import Manifest, Source
from lungcli.datasets.phantom import anatomy, lung
from lungcli.datasets.phantom.anatomy import Body, Field
from lungcli.datasets.phantom.lung import Nodule
from lungcli.imaging.picture import encoded

FEWEST = 30
SHARES = {"normal": 0.40, "benign": 0.25, "malignant": 0.35}
SLICES_A_PATIENT = 4

# One random stream per purpose: bodies stay the same when, say, nodules are drawn in another way.
_PLAN, _BODY, _TREE, _SCAN, _NODULE, _NOISE = range(6)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """How one patient was scanned. `noise` is in HU, `grain` (its correlation) and `blur` in mm, the window in HU."""

    slices: int
    spacing: float
    noise: float
    grain: float
    blur: float
    centre: float
    width: float
    round_field: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Patient:
    """One synthetic patient: `seed` is the data set's and the patient's number, `tree` the vessels of the lungs."""

    name: str
    label: str
    seed: tuple[int, int]
    body: Body
    tree: Field
    scan: Scan
    nodule: Nodule | None

    def positions(self) -> tuple[float, ...]:
        """Where the slices lie, in mm along the body, around 0."""
        return tuple((i - (self.scan.slices - 1) / 2) * self.scan.spacing for i in range(self.scan.slices))


def patients(slices: int, seed: int) -> Iterator[Patient]:
    """Draw patients with `slices` slices in all; the same `seed` gives the same patients.

    Every class has at least three patients, four from 60 slices on. Raises UsageError below 30 slices or when `seed`
    is negative.
    """
    for index, (label, count) in enumerate(_plan(slices, seed)):
        stream = functools.partial(_stream, seed, index)
        body = anatomy.draw_body(stream(_BODY))
        tree = lung.grow_tree(stream(_TREE), body)
        scan = _draw_scan(stream(_SCAN), count)
        yield Patient(
            name=f"p{index + 1:03d}",
            label=label,
            seed=(seed, index),
            body=body,
            tree=tree,
            scan=scan,
            nodule=_draw_nodule(stream(_NODULE), label, body, scan),
        )


def render(patient: Patient, z: float, side: int = 512) -> NDArray[np.uint8]:
    """Draw the slice at `z` mm as a scanner's lung window shows it: uint8 [side, side]."""
    scan = patient.scan
    hu = hounsfield(patient, z, side)
    grey = (hu - np.float32(scan.centre - scan.width / 2)) * np.float32(255 / scan.width)
    pixels: NDArray[np.uint8] = np.rint(np.clip(grey, 0, 255)).astype(np.uint8)
    return pixels


def hounsfield(patient: Patient, z: float, side: int = 512) -> Field:
    """Scan the slice at `z` mm, blur and noise included: float32 HU, shape (side, side)."""
    scan, pixel = patient.scan, patient.body.fov / side
    hu = _blurred(lung.section(patient.body, patient.tree, patient.nodule, z, side), scan.blur / pixel)
    rng = _stream(*patient.seed, _NOISE, round((z + 1000) * 1000))
    # The blur makes uniform noise nearly normal, and uniform noise is drawn five times as fast.
    noise = _blurred(rng.random((side, side), dtype=np.float32) - np.float32(0.5), scan.grain / pixel)
    hu += noise * np.float32(scan.noise / float(noise.std()))
    if scan.round_field:
        square = ((np.arange(side, dtype=np.float32) + 0.5) * (2 / side) - 1) ** 2
        hu[square[:, None] + square[None, :] > 1] = anatomy.AIR - 24
    return hu


def make_dataset(
    slices: int = 240, seed: int = 0, name: str = "phantom", side: int = 512, advance: Advance | None = None
) -> Manifest:
    """Draw the data set `name` of `slices` slices, `side` pixels each way, and return its manifest.

    If the same data set exists already, it is returned as it is. `advance(done, total)` counts slices.
    Raises UsageError (name taken by another, too few slices, negative seed), LungcliError (cannot write).
    """
    source = Source(about=f"phantoms drawn by lungcli (seed {seed})", synthetic=True, licence="CC0-1.0")
    if name in manifest.existing():
        existing = manifest.load(name)
        if existing.source == source and len(existing.slices) == slices and existing.slices[0].size == (side, side):
            return existing
    incoming = [
        ingest.IncomingFile(
            label=patient.label,
            filename=f"{patient.name}-s{number:02d}.png",
            content=functools.partial(_png, patient, z, side),
            # Another seed draws other bodies, and data sets of both may be combined.
            patient=f"phantom-{seed}-{patient.name}",
        )
        for patient in patients(slices, seed)
        for number, z in enumerate(patient.positions(), start=1)
    ]
    # Patients are known here, so file numbers add nothing to the groups.
    return ingest.write_dataset(name, incoming, source, ordered=False, advance=advance)


def _stream(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def _plan(slices: int, seed: int) -> tuple[tuple[str, int], ...]:
    """Class and number of slices of every patient, shuffled."""
    if slices < FEWEST:
        raise UsageError(
            f"{slices} slices are too few: each class needs three patients, for training, validation and test",
            f"ask for at least {FEWEST}: lungcli data phantom --slices {FEWEST}",
        )
    if seed < 0:
        raise UsageError(f"the seed is {seed}; it can't be negative", "leave --seed out, or give 0 or more")
    fewest = 3 if slices < 60 else 4
    count = max(3 * fewest, round(slices / SLICES_A_PATIENT))
    sizes = {label: max(fewest, round(count * share)) for label, share in SHARES.items()}
    labels = [label for label, size in sizes.items() for _ in range(size)]
    rng = _stream(seed, 0, _PLAN)
    rng.shuffle(labels)
    weights = rng.uniform(0.6, 1.4, len(labels))
    edges = np.rint(np.cumsum(weights) / weights.sum() * (slices - 2 * len(labels))).astype(np.int64)
    counts = np.diff(edges, prepend=0) + 2
    return tuple(zip(labels, counts.tolist(), strict=True))


def _draw_scan(rng: np.random.Generator, slices: int) -> Scan:
    return Scan(
        slices=slices,
        spacing=float(rng.uniform(0.7, 1.2)),
        noise=float(rng.uniform(12, 45)),
        grain=float(rng.uniform(0.25, 0.6)),
        blur=float(rng.uniform(0.3, 0.75)),
        centre=float(rng.normal(-600, 25)),
        width=float(rng.normal(1500, 60)),
        round_field=bool(rng.random() < 0.5),
    )


def _draw_nodule(rng: np.random.Generator, label: str, body: Body, scan: Scan) -> Nodule | None:
    """Draw the patient's nodule, inside a lung; long enough along z to be met by every slice."""
    if label == "normal":
        return None
    malignant = label == "malignant"
    radius = float(rng.uniform(15, 18) if malignant else rng.uniform(8, 10))
    u, v = _place(rng, body, radius if malignant else radius + 3)
    spiculated = malignant and rng.random() < 0.6
    lobes = [(float(rng.uniform(0.06, 0.16)), waves, float(rng.uniform(0, 2 * math.pi))) for waves in (2, 3, 5)]
    turns = rng.uniform(0, 2 * math.pi, int(rng.integers(10, 22)))
    return Nodule(
        u=u,
        v=v,
        z=float(rng.uniform(-0.3, 0.3)),
        radius=radius,
        reach=max(radius, 0.62 * scan.slices * scan.spacing),
        density=float(rng.uniform(10, 60)),
        core=0.55 if not malignant and rng.random() < 0.4 else 0.0,
        lobes=tuple(lobes) if malignant else (),
        spicules=tuple((float(turn), float(rng.uniform(1.2, 1.65))) for turn in turns) if spiculated else (),
    )


def _place(rng: np.random.Generator, body: Body, margin: float) -> tuple[float, float]:
    """Choose a point at least `margin` mm inside a lung, or the innermost one where lungs are too narrow."""
    grid = anatomy.grid_of(body, 96)
    field = anatomy.lung_field(body, grid, 0.0).ravel()
    inside = np.flatnonzero(field < -margin)
    chosen = int(rng.choice(inside)) if len(inside) else int(field.argmin())
    return float(grid.u.flat[chosen]), float(grid.v.flat[chosen])


def _blurred(field: Field, sigma: float) -> Field:
    """Blur with a Gaussian of `sigma` pixels, one axis after the other; the border repeats."""
    reach = max(1, math.ceil(2 * sigma))
    taps = np.exp(-0.5 * (np.arange(reach + 1) / sigma) ** 2)
    taps = (taps / (2 * taps.sum() - taps[0])).astype(np.float32)
    height, width = field.shape
    tall = np.pad(field, ((reach, reach), (0, 0)), mode="edge")
    field = taps[0] * field
    for i in range(1, reach + 1):
        field += taps[i] * (tall[reach - i : reach - i + height] + tall[reach + i : reach + i + height])
    wide = np.pad(field, ((0, 0), (reach, reach)), mode="edge")
    field = taps[0] * field
    for i in range(1, reach + 1):
        field += taps[i] * (wide[:, reach - i : reach - i + width] + wide[:, reach + i : reach + i + width])
    return field


def _png(patient: Patient, z: float, side: int) -> bytes:
    # Noise has no long repeats: run-length matching takes half the time and gives no larger file.
    return encoded(Image.fromarray(render(patient, z, side)), compress_level=1, compress_type=zlib.Z_RLE)
