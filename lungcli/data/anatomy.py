"""A made-up chest: the numbers that describe it, and its axial sections in Hounsfield units (HU).

Lengths are millimetres. In the frame of the patient `u` runs to the patient's left (right in the picture), `v` to the
back (down) and `z` to the feet; the origin lies between the lungs. A *field* is roughly the signed distance to an
outline, negative inside. Attenuations are the usual textbook values: air -1000, fat -100, muscle 50, bone 150 to 700.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Field = NDArray[np.float32]

AIR, FAT, MUSCLE, BLOOD, MARROW, CORTEX = -1000.0, -100.0, 50.0, 45.0, 150.0, 650.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """One patient's chest and how it lies in the scanner. `level` runs from 0 (aortic arch) to 1 (heart).

    `tilt` is in radians, `x` and `y` the offset from the middle of the picture, `fov` the picture's edge; `ripples` are
    (amplitude, waves per mm, phase) of the bends of the outlines; `grain` seeds the texture.
    """

    fov: float
    x: float
    y: float
    tilt: float
    lung_width: float
    lung_depth: float
    lung_lean: float
    lung_square: float
    lopsided: float
    gap: float
    side_wall: float
    front_wall: float
    fat: float
    shoulders: float
    breasts: float
    level: float
    heart: float
    heart_tilt: float
    contrast: float
    aeration: float
    ribs: tuple[float, ...]
    ripples: tuple[tuple[float, float, float], ...]
    table_gap: float
    table_x: float
    table_sag: float
    table_depth: float
    table_width: float
    grain: tuple[int, ...]

    @property
    def half_width(self) -> float:
        """Half the body's width."""
        return 2 * self.lung_width + self.gap + self.side_wall

    @property
    def half_depth(self) -> float:
        """Half the body's depth."""
        return self.lung_depth + self.front_wall


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """The pixels of one picture: `u`, `v` of each, shape (side, side), and `x` of each column (or `y` of each row)."""

    side: int
    pixel: float
    axis: Field
    u: Field
    v: Field


def grid_of(body: Body, side: int) -> Grid:
    """Lay `side` × `side` pixels over the patient's frame."""
    pixel = body.fov / side
    axis = ((np.arange(side, dtype=np.float32) + 0.5) * pixel - body.fov / 2).astype(np.float32)
    x, y = (axis - body.x)[None, :], (axis - body.y)[:, None]
    cos, sin = math.cos(body.tilt), math.sin(body.tilt)
    return Grid(side=side, pixel=pixel, axis=axis, u=cos * x + sin * y, v=cos * y - sin * x)


def pixel_of(body: Body, u: float, v: float, side: int) -> tuple[float, float]:
    """Return the column and row, in pixels, of a point of the patient's frame."""
    cos, sin = math.cos(body.tilt), math.sin(body.tilt)
    x, y = body.x + cos * u - sin * v, body.y + sin * u + cos * v
    scale = side / body.fov
    return (x + body.fov / 2) * scale - 0.5, (y + body.fov / 2) * scale - 0.5


def draw_body(rng: np.random.Generator) -> Body:
    """Draw a patient: habitus, organs, position and table. Knows nothing of classes."""
    lung_width, lung_depth = float(rng.uniform(46, 68)), float(rng.uniform(70, 102))
    gap, side_wall, front_wall = float(rng.uniform(8, 16)), float(rng.uniform(18, 52)), float(rng.uniform(24, 52))
    half_width = 2 * lung_width + gap + side_wall
    fov = float(max(2 * half_width * rng.uniform(1.0, 1.3), 320.0))
    level = float(rng.uniform(0, 1))
    return Body(
        fov=fov,
        x=float(rng.uniform(-0.05, 0.05)) * fov,
        y=float(rng.uniform(-0.11, 0.05)) * fov,
        tilt=float(rng.normal(0, 0.07)),
        lung_width=lung_width,
        lung_depth=lung_depth,
        lung_lean=float(rng.uniform(0.02, 0.3)),
        lung_square=float(rng.uniform(0, 0.7)),
        lopsided=float(rng.uniform(-0.1, 0.1)),
        gap=gap,
        side_wall=side_wall,
        front_wall=front_wall,
        fat=float(rng.uniform(4, 0.6 * min(side_wall, front_wall))),
        shoulders=max(0.0, 1 - 2 * level) * float(rng.uniform(0.3, 1.2)),
        breasts=float(rng.choice([0.0, 0.0, rng.uniform(0.5, 1.3)])),
        level=level,
        heart=float(rng.uniform(0.75, 1.25)),
        heart_tilt=float(rng.uniform(-0.9, -0.2)),
        contrast=float(rng.choice([0.0, rng.uniform(60, 250)])),
        aeration=float(rng.uniform(-890, -800)),
        ribs=tuple(rng.uniform(0, 1, 14).tolist()),
        ripples=tuple(
            (float(rng.normal(0, 3.0)), float(rng.uniform(0.008, 0.03)), float(rng.uniform(0, 2 * math.pi)))
            for _ in range(4)
        ),
        table_gap=float(rng.uniform(0, 22)),
        table_x=float(rng.uniform(-0.06, 0.06)) * fov,
        table_sag=float(rng.uniform(0.1, 0.75)) * 1e-3,
        table_depth=float(rng.uniform(14, 45)),
        table_width=float(rng.uniform(170, 230)),
        grain=tuple(rng.integers(0, 2**31, 4).tolist()),
    )


def ellipse(u: Field, v: Field, a: float, b: float, angle: float = 0.0, square: float = 0.0) -> Field:
    """Field of an ellipse around the origin with half axes `a`, `b`; `square` from 0 to 1 fills its corners."""
    cos, sin = math.cos(angle), math.sin(angle)
    across, along = ((cos * u + sin * v) / a) ** 2, ((cos * v - sin * u) / b) ** 2
    round_ = across + along
    if square:
        round_ += square * (np.sqrt(across * across + along * along) - round_)
    return ((np.sqrt(round_) - 1) * min(a, b)).astype(np.float32, copy=False)


def _union(first: Field, second: Field, blend: float) -> Field:
    # Polynomial smooth minimum (Quilez, "smooth minimum", quadratic form).
    near = np.maximum(blend - np.abs(first - second), 0) / blend
    return np.minimum(first, second) - near * near * (blend / 4)


def _paint(hu: Field, field: Field, value: float | Field, soft: float) -> None:
    """Fill the inside of `field` with `value`, in place, with an edge `soft` millimetres wide."""
    share = np.clip(0.5 - field / soft, 0, 1)
    hu += share * (value - hu)


def _window(body: Body, grid: Grid, u: float, v: float, reach: float) -> tuple[slice, slice]:
    column, row = pixel_of(body, u, v, grid.side)
    span = reach / grid.pixel + 2
    rows = slice(max(0, int(row - span)), max(0, int(row + span) + 1))
    return rows, slice(max(0, int(column - span)), max(0, int(column + span) + 1))


def _oval(
    hu: Field,
    body: Body,
    grid: Grid,
    at: tuple[float, float],
    axes: tuple[float, float],
    value: float,
    angle: float = 0,
) -> None:
    """Paint a small ellipse at `at`, touching only the pixels around it."""
    window = _window(body, grid, *at, max(axes) + 2 * grid.pixel)
    field = ellipse(grid.u[window] - at[0], grid.v[window] - at[1], *axes, angle)
    _paint(hu[window], field, value, 1.5 * grid.pixel)


def _bone(
    hu: Field, body: Body, grid: Grid, at: tuple[float, float], axes: tuple[float, float], angle: float = 0
) -> None:
    _oval(hu, body, grid, at, axes, CORTEX, angle)
    inner = (max(axes[0] - 2.2, 0.4), max(axes[1] - 2.2, 0.4))
    _oval(hu, body, grid, at, inner, MARROW, angle)


def _bent(body: Body, grid: Grid, z: float) -> tuple[Field, Field]:
    """Return `u`, `v` with the patient's bends added, so that no outline is a plain ellipse."""
    (a, k, p), (b, m, q), (c, n, r), (d, o, s) = body.ripples
    axis = grid.axis
    du = a * np.sin(k * axis + p + 0.01 * z) + b * np.sin(m * axis + q)
    dv = c * np.sin(n * axis + r - 0.01 * z) + d * np.sin(o * axis + s)
    return grid.u + du[:, None].astype(np.float32), grid.v + dv[None, :].astype(np.float32)


def lung_field(body: Body, grid: Grid, z: float) -> Field:
    """Field of both lungs: two leaning ovals, less heart, great vessels and spine. Shape (side, side)."""
    u, v = _bent(body, grid, z)
    lungs = np.full_like(u, np.float32(np.inf))
    for side in (-1, 1):
        a, b, centre = _lung(body, side, z)
        np.minimum(lungs, ellipse(u - centre, v, a, b, side * body.lung_lean, body.lung_square), out=lungs)
    band = ellipse(u, v + 0.1 * body.lung_depth, body.gap * (0.8 + 0.3 * body.level), 1.2 * body.lung_depth)
    spine = ellipse(u, v - _spine(body) - 4, 24, 28)
    keep_out = _union(_union(_heart(body, u, v, z), band, 8.0), spine, 12.0)
    return -_union(-lungs, keep_out, 6.0)


def _lung(body: Body, side: int, z: float) -> tuple[float, float, float]:
    """Half axes of one lung and the `u` of its middle."""
    scale = (1 + side * body.lopsided) * (1 + 0.003 * z)
    a = body.lung_width * scale
    return a, body.lung_depth * (1 + 0.4 * side * body.lopsided) * (1 + 0.002 * z), side * (body.gap + a * 0.97)


def _heart(body: Body, u: Field, v: Field, z: float) -> Field:
    level = min(1.0, max(0.0, body.level + 0.006 * z))
    a = (20 + 34 * level) * body.heart
    b = (36 + 14 * level) * body.heart
    return ellipse(u - (4 + 16 * level), v + 0.24 * body.lung_depth, b, a, math.pi / 2 + body.heart_tilt * level, 0.2)


def _spine(body: Body) -> float:
    return 0.66 * body.lung_depth


def section(body: Body, tree: Field, nodule: Nodule | None, z: float, side: int) -> Field:
    """Draw the section at `z`, without blur and noise: float32 HU, shape (side, side)."""
    grid = grid_of(body, side)
    hu = np.full((side, side), AIR, dtype=np.float32)
    _draw_table(hu, body, grid)
    coarse, fine = _texture(body, z, side)
    _draw_wall(hu, body, grid, z, coarse)
    _draw_bones(hu, body, grid, z)
    _draw_middle(hu, body, grid, z)
    lung = body.aeration + 22 * coarse + 16 * fine + (0.45 * grid.v).astype(np.float32)
    _draw_tree(lung, body, grid, tree, z)
    if nodule is not None:
        _draw_nodule(lung, body, grid, nodule, z)
    _paint(hu, lung_field(body, grid, z), lung, 1.5 * grid.pixel)
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


def _draw_table(hu: Field, body: Body, grid: Grid) -> None:
    x = grid.axis - body.table_x
    ends = np.clip(1 - (x / body.table_width) ** 2, 0, 1)
    top = body.y + body.half_depth + body.table_gap - body.table_sag * x * x
    rows = slice(int(np.searchsorted(grid.axis, top.min() - 5)), None)
    below = (grid.axis[rows, None] - top[None, :]).astype(np.float32)
    out = np.where(ends > 0, 0, np.float32(50))
    for depth in (0.0, body.table_depth):
        shell = np.abs(below - (depth * ends)[None, :].astype(np.float32)) - 1.6 + out
        _paint(hu[rows], shell, 250.0, 1.5 * grid.pixel)


def _draw_wall(hu: Field, body: Body, grid: Grid, z: float, coarse: Field) -> None:
    """Skin, fat and muscle of the trunk, with shoulders and breasts."""
    u, v = _bent(body, grid, z)
    outline = ellipse(u, v, body.half_width, body.half_depth, 0, 0.35)
    if body.shoulders:
        for side in (-1, 1):
            part = ellipse(u - side * 0.86 * body.half_width, v - 22, 48 * body.shoulders, 52 * body.shoulders)
            outline = _union(outline, part, 40.0)
    if body.breasts:
        for side in (-1, 1):
            part = ellipse(
                u - side * 0.5 * body.half_width, v + 0.86 * body.half_depth, 55 * body.breasts, 34 * body.breasts
            )
            outline = _union(outline, part, 18.0)
    soft = 1.5 * grid.pixel
    _paint(hu, outline, MUSCLE, soft)
    _paint(hu, outline + 2.0, FAT + 12 * coarse, soft)
    _paint(hu, outline + (body.fat + 2.5 * coarse), MUSCLE + 90 * np.minimum(coarse + 0.7, 0), 3 * grid.pixel)


def _draw_bones(hu: Field, body: Body, grid: Grid, z: float) -> None:
    """Ribs and scapulae around the lungs, the sternum, and a vertebra."""
    for side in (-1, 1):
        a, b, centre = _lung(body, side, z)
        for i, jitter in enumerate(body.ribs[: len(body.ribs) // 2] if side < 0 else body.ribs[len(body.ribs) // 2 :]):
            turn = -1.25 + 0.41 * (i + 0.7 * jitter) + 0.012 * z
            u, v = centre + side * (a + 8) * math.cos(turn), (b + 8) * math.sin(turn)
            slope = math.atan2((b + 8) * math.cos(turn), -side * (a + 8) * math.sin(turn))
            lean = side * body.lung_lean
            at = (math.cos(lean) * u - math.sin(lean) * v, math.sin(lean) * u + math.cos(lean) * v)
            at = (at[0] + centre * (1 - math.cos(lean)), at[1] - centre * math.sin(lean))
            _bone(hu, body, grid, at, (7 + 11 * jitter, 4.2), slope + lean)
        if body.shoulders:
            reach = side * (2 * a + body.gap + 0.35 * body.side_wall)
            _bone(hu, body, grid, (reach * 0.93, 0.62 * b), (34, 3.8), -side * 0.95)
            _bone(hu, body, grid, (reach * 1.06, 0.3 * b), (17, 5.5), side * 0.4)
    _bone(hu, body, grid, (0, -body.lung_depth - 0.35 * body.front_wall), (21, 6))
    back = _spine(body)
    _bone(hu, body, grid, (0, back), (19, 15))
    for side in (-1, 1):
        _bone(hu, body, grid, (side * 24, back + 22), (19, 5), side * 0.35)
        _bone(hu, body, grid, (side * 8, back + 30), (12, 4), side * 0.7)
    _bone(hu, body, grid, (0, back + 42), (4.5, 15))
    _oval(hu, body, grid, (0, back + 20), (9, 8), 25)


def _draw_middle(hu: Field, body: Body, grid: Grid, z: float) -> None:
    """Fat of the mediastinum, heart, aorta and airways."""
    depth, blood = body.lung_depth, BLOOD + body.contrast
    _oval(hu, body, grid, (0, -0.15 * depth), (24, 0.62 * depth), FAT + 40)
    reach = 90 * body.heart
    window = _window(body, grid, 15, -0.2 * depth, reach)
    _paint(hu[window], _heart(body, grid.u[window], grid.v[window], z), BLOOD + 0.6 * body.contrast, 3 * grid.pixel)
    _oval(hu, body, grid, (24, 0.42 * depth), (12.5, 12.5), blood)
    if body.level < 0.3:
        _oval(hu, body, grid, (14, 0.14 * depth), (13, 34), blood, -0.5)
        _oval(hu, body, grid, (-2, 0.2 * depth), (10.5, 10.5), MUSCLE)
        _oval(hu, body, grid, (-2, 0.2 * depth), (8.5, 9), AIR + 10)
    elif body.level < 0.75:
        apart = 12 + 26 * (body.level - 0.3) + 0.3 * z
        for side in (-1, 1):
            _oval(hu, body, grid, (side * apart, 0.2 * depth), (10, 8), MUSCLE, side * 0.3)
            _oval(hu, body, grid, (side * apart, 0.2 * depth), (8, 5.8), AIR + 10, side * 0.3)


def grow_tree(rng: np.random.Generator, body: Body) -> Field:
    """Grow the vessels of both lungs by repeated forking: shape (n, 8), rows (u, v, z, u', v', z', r, r')."""
    side = np.repeat([-1.0, 1.0], 15)
    count = len(side)
    start = np.stack(
        [
            side * (body.gap + rng.uniform(8, 22, count)),
            rng.normal(0.08, 0.1, count) * body.lung_depth,
            rng.normal(0, 14, count),
        ],
        axis=1,
    )
    fan = rng.uniform(-1.35, 1.35, count)
    way = np.stack([side * np.cos(fan), 1.25 * np.sin(fan), rng.normal(0, 0.5, count)], axis=1)
    radius = rng.uniform(2.0, 4.6, count)
    length = rng.uniform(16, 30, count)
    grown = []
    for _ in range(6):
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        end = start + way * length[:, None]
        grown.append(np.column_stack([start, end, radius, radius * 0.8]))
        # Both children together carry about what the parent did: r³ = r₁³ + r₂³ (Murray 1926).
        share = rng.uniform(0.25, 0.75, len(radius))
        radius = np.concatenate([radius * 0.85 * np.cbrt(share), radius * 0.85 * np.cbrt(1 - share)])
        bend = rng.normal(0, 0.38, (len(share), 3))
        start, way = np.concatenate([end, end]), np.concatenate([way + bend, way - bend])
        length = np.tile(length, 2) * rng.uniform(0.6, 1.0, len(radius))
    return np.concatenate(grown).astype(np.float32)


def _draw_tree(hu: Field, body: Body, grid: Grid, tree: Field, z: float) -> None:
    """Paint the part of each vessel that lies in a section 1.2 mm thick."""
    soft = max(1.2, 1.5 * grid.pixel)
    start, way, thick = tree[:, :3], tree[:, 3:6] - tree[:, :3], tree[:, 6] + soft
    steep = np.where(np.abs(way[:, 2]) < 1e-3, np.float32(1e-3), way[:, 2])
    cuts = np.sort(np.stack([(z - thick - start[:, 2]) / steep, (z + thick - start[:, 2]) / steep]), axis=0)
    low, high = np.clip(cuts, 0, 1)
    for i in np.flatnonzero((high > low) & (tree[:, 6] > 0.35)):
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
    du, dv, dz = (float(b - a) for a, b in zip(start, end, strict=True))
    reach = math.hypot(du, dv) / 2 + radius + soft
    window = _window(body, grid, float(start[0]) + du / 2, float(start[1]) + dv / 2, reach)
    u, v = grid.u[window] - np.float32(start[0]), grid.v[window] - np.float32(start[1])
    if not u.size:
        return
    along = u * du + v * dv - float(start[2]) * dz
    share = np.clip(along / max(du * du + dv * dv + dz * dz, 1e-6), 0, 1)
    distance = np.sqrt((u - share * du) ** 2 + (v - share * dv) ** 2 + (float(start[2]) + share * dz) ** 2)
    _brighten(hu[window], np.clip(0.5 + (radius - distance) / soft, 0, 1), BLOOD)


def _brighten(hu: Field, share: Field, value: float) -> None:
    np.maximum(hu, hu + share * (value - hu), out=hu)


def _draw_nodule(hu: Field, body: Body, grid: Grid, nodule: Nodule, z: float) -> None:
    """Paint the section of a nodule: lobes bend its outline, spicules run out of it."""
    radius = nodule.section(z)
    if not radius:
        return
    soft = 1.5 * grid.pixel
    window = _window(body, grid, nodule.u, nodule.v, 2 * radius)
    u, v = grid.u[window] - np.float32(nodule.u), grid.v[window] - np.float32(nodule.v)
    angle = np.arctan2(v, u)
    outline = np.ones_like(angle)
    for amplitude, waves, phase in nodule.lobes:
        outline += np.float32(amplitude) * np.sin(waves * angle + np.float32(phase + 0.06 * z))
    distance = np.hypot(u, v)
    _brighten(hu[window], np.clip(0.5 + (radius * outline - distance) / soft, 0, 1), nodule.density)
    if nodule.core:
        _brighten(hu[window], np.clip(0.5 + (radius * nodule.core - distance) / soft, 0, 1), CORTEX)
    for turn, length in nodule.spicules:
        reach = radius * length
        tip = (nodule.u + reach * math.cos(turn), nodule.v + reach * math.sin(turn), 0.0)
        _segment(hu, body, grid, (nodule.u, nodule.v, 0.0), tip, 0.5, max(1.0, soft))
