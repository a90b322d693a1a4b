"""The lungs of a synthetic chest: their section with vessels and, maybe, a nodule.

Frame, units and fields are those of `lungcli.datasets.phantom.anatomy`.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lungcli.datasets.phantom import anatomy
from lungcli.datasets.phantom.anatomy import Body, Field, Grid


@dataclass(frozen=True, slots=True, kw_only=True)
class Nodule:
    """A nodule in a lung. `radius` is that of its largest section, `reach` its half length along z.

    `lobes` are (relative amplitude, waves around, phase) of its outline; `spicules` are (angle, length over radius);
    `core` is the relative radius of a calcified core, 0 for none.
    """

    u: float
    v: float
    z: float
    radius: float
    reach: float
    density: float
    core: float = 0.0
    lobes: tuple[tuple[float, int, float], ...] = ()
    spicules: tuple[tuple[float, float], ...] = ()

    def section(self, z: float) -> float:
        """Radius of the section at `z`, 0 beyond the nodule."""
        return self.radius * math.sqrt(max(0.0, 1 - ((z - self.z) / self.reach) ** 2))


def section(body: Body, tree: Field, nodule: Nodule | None, z: float, side: int) -> Field:
    """Draw the section at `z`, without blur and noise: float32 HU, shape (side, side)."""
    grid = anatomy.grid_of(body, side)
    coarse, fine = _texture(body, z, side)
    hu = anatomy.chest(body, grid, z, coarse)
    # The dependent part of a lung is the densest.
    lung = body.aeration + 22 * coarse + 16 * fine + (0.45 * grid.v).astype(np.float32)
    _draw_tree(lung, body, grid, tree, z)
    if nodule is not None:
        draw_nodule(lung, body, grid, nodule, z)
    anatomy.paint(hu, anatomy.enlarged(anatomy.lung_field, body, z, side), lung, 1.5 * grid.pixel)
    return hu


def _texture(body: Body, z: float, side: int) -> tuple[Field, Field]:
    """Two smooth random fields of unit spread, coarse and fine, that drift slowly with z."""
    turn = z / 12
    fields = []
    for cells, seed in ((9, body.grain[0]), (88, body.grain[1])):
        grains = np.random.default_rng(seed).standard_normal((2, cells, cells)).astype(np.float32)
        drifted = grains[0] * np.float32(math.cos(turn)) + grains[1] * np.float32(math.sin(turn))
        image = Image.fromarray(drifted).resize((side, side), Image.Resampling.BICUBIC)
        fields.append(np.asarray(image, dtype=np.float32))
    return fields[0], fields[1]


def grow_tree(rng: np.random.Generator, body: Body) -> Field:
    """Grow the vessels of both lungs by repeated forking: float32 (n, 7), rows (u, v, z, u', v', z', radius)."""
    side = np.repeat([-1.0, 1.0], 26)
    count = len(side)
    start = np.stack(
        [
            side * (body.gap + rng.uniform(8, 22, count)),
            rng.normal(0.08, 0.14, count) * body.lung_depth,
            rng.normal(0, 18, count),
        ],
        axis=1,
    )
    fan = rng.uniform(-1.35, 1.35, count)
    way = np.stack([side * np.cos(fan), 1.25 * np.sin(fan), rng.normal(0, 0.6, count)], axis=1)
    radius = 1.5 + 1.9 * rng.random(count) ** 2
    length = rng.uniform(18, 34, count)
    grown = []
    for _ in range(6):
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        end = start + way * length[:, None]
        grown.append(np.column_stack([start, end, radius]))
        # Children share the parent's r³ (Murray 1926), less some narrowing, or the thinnest would look swollen.
        share = rng.uniform(0.25, 0.75, len(radius))
        radius = np.concatenate([radius * 0.85 * np.cbrt(share), radius * 0.85 * np.cbrt(1 - share)])
        bend = rng.normal(0, 0.3, (len(share), 3))
        start, way = np.concatenate([end, end]), np.concatenate([way + bend, way - bend])
        length = np.tile(length, 2) * rng.uniform(0.65, 1.0, len(radius))
    tree = np.concatenate(grown).astype(np.float32)
    middle: Field = (tree[:, :2] + tree[:, 3:5]) * np.float32(0.5)
    lungs = [
        anatomy.ellipse(middle[:, 0] - c, middle[:, 1], a, b)
        for a, b, c in (anatomy.lung_oval(body, i, 0.0) for i in (-1, 1))
    ]
    visible = (np.minimum(*lungs) < 2) & (tree[:, 6] > 0.35) & (np.minimum(abs(tree[:, 2]), abs(tree[:, 5])) < 30)
    return tree[visible]


def _draw_tree(hu: Field, body: Body, grid: Grid, tree: Field, z: float) -> None:
    """Paint the part of each vessel that lies in a section 1.2 mm thick."""
    soft = max(1.2, 1.5 * grid.pixel)
    start, way, thick = tree[:, :3], tree[:, 3:6] - tree[:, :3], tree[:, 6] + soft
    steep = np.where(np.abs(way[:, 2]) < 1e-3, np.float32(1e-3), way[:, 2])
    cuts = np.sort(np.stack([(z - thick - start[:, 2]) / steep, (z + thick - start[:, 2]) / steep]), axis=0)
    low, high = np.clip(cuts, 0, 1)
    for i in np.flatnonzero(high > low):
        at, to = start[i] + way[i] * low[i], start[i] + way[i] * high[i]
        _segment(hu, body, grid, (at[0], at[1], at[2] - z), (to[0], to[1], to[2] - z), float(tree[i, 6]), soft)


def _segment(
    hu: Field,
    body: Body,
    grid: Grid,
    start: tuple[float, float, float],
    end: tuple[float, float, float],
    radius: float,
    soft: float,
) -> None:
    """Paint a rod whose ends are given as (u, v, height above the section)."""
    du, dv, dz = (float(b - a) for a, b in zip(start, end, strict=True))
    reach = math.hypot(du, dv) / 2 + radius + soft
    window = anatomy.window_of(body, grid, float(start[0]) + du / 2, float(start[1]) + dv / 2, reach)
    u, v = grid.u[window] - np.float32(start[0]), grid.v[window] - np.float32(start[1])
    if not u.size:
        return
    above = float(start[2])
    along = u * du + v * dv - above * dz
    share = np.minimum(np.maximum(along / max(du * du + dv * dv + dz * dz, 1e-6), 0), 1)
    distance = np.sqrt((u - share * du) ** 2 + (v - share * dv) ** 2 + (above + share * dz) ** 2)
    _brighten(hu[window], anatomy.covered(distance - np.float32(radius), soft), anatomy.BLOOD)


def _brighten(hu: Field, share: Field, value: float) -> None:
    np.maximum(hu, hu + share * (value - hu), out=hu)


def draw_nodule(hu: Field, body: Body, grid: Grid, nodule: Nodule, z: float) -> None:
    """Paint the section of a nodule: lobes bend its outline, spicules run out of it."""
    radius = nodule.section(z)
    if not radius:
        return
    soft = 1.5 * grid.pixel
    window = anatomy.window_of(body, grid, nodule.u, nodule.v, 2 * radius)
    u, v = grid.u[window] - np.float32(nodule.u), grid.v[window] - np.float32(nodule.v)
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for amplitude, waves, phase in nodule.lobes:
        outline += np.float32(amplitude) * np.sin(waves * angle + np.float32(phase + 0.06 * z))
    distance = np.hypot(u, v)
    _brighten(hu[window], anatomy.covered(distance - np.float32(radius) * outline, soft), nodule.density)
    if nodule.core:
        _brighten(hu[window], anatomy.covered(distance - np.float32(radius * nodule.core), soft), anatomy.CORTEX)
    for turn, length in nodule.spicules:
        reach = radius * length
        tip = (nodule.u + reach * math.cos(turn), nodule.v + reach * math.sin(turn), 0.0)
        _segment(hu, body, grid, (nodule.u, nodule.v, 0.0), tip, 0.5, max(1.0, soft))
