"""A synthetic chest: its parameters, and its axial sections in Hounsfield units (HU).

Lengths are millimetres. In the frame of the patient `u` runs to the patient's left (right in the picture), `v` to the
back (down) and `z` to the feet; the origin lies between the lungs. A *field* is roughly the signed distance to an
outline, negative inside. Attenuations are the usual textbook values: air -1000, fat -100, muscle 50, bone 150 to 700.
"""

import math
from collections.abc import Callable
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
    grain: tuple[int, int]

    @property
    def half_width(self) -> float:
        """Half the body's width."""
        return 2 * self.lung_width + self.gap + self.side_wall

    @property
    def half_depth(self) -> float:
        """Half the body's depth."""
        return self.lung_depth + self.front_wall


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
    """Draw a patient: habitus, organs, position and table, whatever the class."""
    lung_width, lung_depth = float(rng.uniform(50, 70)), float(rng.uniform(66, 96))
    gap, side_wall, front_wall = float(rng.uniform(8, 16)), float(rng.uniform(24, 54)), float(rng.uniform(24, 52))
    half_width = 2 * lung_width + gap + side_wall
    breasts = float(rng.choice([0.0, 0.0, rng.uniform(0.5, 1.2)]))
    fov = float(max(2 * half_width * rng.uniform(1.03, 1.3), 2.2 * (lung_depth + front_wall), 320.0))
    highest = lung_depth + front_wall + 20 * breasts - 0.48 * fov
    level = float(rng.uniform(0, 1))
    return Body(
        fov=fov,
        x=float(rng.uniform(-0.05, 0.05)) * fov,
        y=max(highest, float(rng.uniform(-0.11, 0.05)) * fov),
        tilt=float(rng.uniform(-0.08, 0.08)),
        lung_width=lung_width,
        lung_depth=lung_depth,
        lung_lean=float(rng.uniform(0.02, 0.3)),
        lung_square=float(rng.uniform(0, 0.7)),
        lopsided=float(rng.uniform(-0.07, 0.07)),
        gap=gap,
        side_wall=side_wall,
        front_wall=front_wall,
        fat=float(rng.uniform(4, 0.6 * min(side_wall, front_wall))),
        shoulders=max(0.0, 1 - 2 * level) * float(rng.uniform(0.3, 1.2)),
        breasts=breasts,
        level=level,
        heart=float(rng.uniform(0.75, 1.25)),
        heart_tilt=float(rng.uniform(-0.9, -0.2)),
        contrast=float(rng.choice([0.0, rng.uniform(60, 250)])),
        aeration=float(rng.uniform(-890, -800)),
        ribs=tuple(rng.uniform(0, 1, 14).tolist()),
        ripples=tuple(
            (float(rng.uniform(-4.5, 4.5)), float(rng.uniform(0.008, 0.03)), float(rng.uniform(0, 2 * math.pi)))
            for _ in range(4)
        ),
        table_gap=float(rng.uniform(0, 22)),
        table_x=float(rng.uniform(-0.06, 0.06)) * fov,
        table_sag=float(rng.uniform(0.1, 0.75)) * 1e-3,
        table_depth=float(rng.uniform(14, 45)),
        table_width=float(rng.uniform(170, 230)),
        grain=(int(rng.integers(2**31)), int(rng.integers(2**31))),
    )


def ellipse(u: Field, v: Field, a: float, b: float, angle: float = 0.0, square: float = 0.0) -> Field:
    """Field of an ellipse around the origin with half axes `a`, `b`; `square` from 0 to 1 fills its corners."""
    cos, sin = math.cos(angle), math.sin(angle)
    across, along = (u * (cos / a) + v * (sin / a)) ** 2, (v * (cos / b) - u * (sin / b)) ** 2
    round_ = across + along
    if square:
        round_ += square * (np.sqrt(across * across + along * along) - round_)
    field: Field = ((np.sqrt(round_) - 1) * min(a, b)).astype(np.float32, copy=False)
    return field


def _union(first: Field, second: Field, blend: float) -> Field:
    # Quadratic smooth minimum (Quilez, "smooth minimum"): a plain one would leave creases in the outline.
    near = np.maximum(blend - np.abs(first - second), 0) / blend
    joined: Field = np.minimum(first, second) - near * near * (blend / 4)
    return joined


def paint(hu: Field, field: Field, value: float | Field, soft: float) -> None:
    """Fill the inside of `field` with `value`, in place, with an edge `soft` millimetres wide."""
    share = covered(field, soft)
    share *= value - hu
    hu += share


def covered(field: Field, soft: float) -> Field:
    """Return the share of each pixel that lies inside `field`, 0 to 1."""
    share = np.float32(0.5) - field * np.float32(1 / soft)
    np.maximum(share, 0, out=share)
    np.minimum(share, 1, out=share)
    return share


def window_of(body: Body, grid: Grid, u: float, v: float, reach: float) -> tuple[slice, slice]:
    """Return the rows and columns within `reach` mm of a point, cut at the border of the picture."""
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
    window = window_of(body, grid, *at, max(axes) + 2 * grid.pixel)
    field = ellipse(grid.u[window] - at[0], grid.v[window] - at[1], *axes, angle)
    paint(hu[window], field, value, 1.5 * grid.pixel)


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


def enlarged(draw: Callable[[Body, Grid, float], Field], body: Body, z: float, side: int) -> Field:
    """Compute a field on a coarse grid and enlarge it: fields are smooth, and this costs a tenth."""
    coarse = Image.fromarray(draw(body, grid_of(body, max(side // 4, 96)), z))
    return np.asarray(coarse.resize((side, side), Image.Resampling.BILINEAR), dtype=np.float32)


def lung_field(body: Body, grid: Grid, z: float) -> Field:
    """Field of both lungs: two leaning ovals, less heart, great vessels and spine. Shape (side, side)."""
    u, v = _bent(body, grid, z)
    lungs = np.full_like(u, np.float32(np.inf))
    for side in (-1, 1):
        a, b, centre = lung_oval(body, side, z)
        np.minimum(lungs, ellipse(u - centre, v, a, b, side * body.lung_lean, body.lung_square), out=lungs)
    band = ellipse(u, v + 0.1 * body.lung_depth, body.gap * (0.8 + 0.3 * body.level), 1.2 * body.lung_depth)
    spine = ellipse(u, v - _spine(body) - 4, 24, 28)
    keep_out = _union(_union(_heart(body, u, v, z), band, 8.0), spine, 12.0)
    return np.maximum(-_union(-lungs, keep_out, 6.0), _trunk_field(body, grid, z) + 13)


def lung_oval(body: Body, side: int, z: float) -> tuple[float, float, float]:
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


def chest(body: Body, grid: Grid, z: float, coarse: Field) -> Field:
    """Draw all but the lungs at `z`: float32 HU, shape (side, side); `coarse` mottles fat and muscle."""
    hu = np.full((grid.side, grid.side), AIR, dtype=np.float32)
    _draw_table(hu, body, grid)
    _draw_wall(hu, body, grid, z, coarse)
    _draw_bones(hu, body, grid, z)
    _draw_middle(hu, body, grid, z)
    return hu


def _draw_table(hu: Field, body: Body, grid: Grid) -> None:
    x = grid.axis - body.table_x
    ends = np.clip(1 - (x / body.table_width) ** 2, 0, 1)
    top = body.y + body.half_depth + body.table_gap - body.table_sag * x * x
    rows = slice(int(np.searchsorted(grid.axis, top.min() - 5)), None)
    below = (grid.axis[rows, None] - top[None, :]).astype(np.float32)
    out = np.where(ends > 0, 0, np.float32(50))
    for depth in (0.0, body.table_depth):
        shell = np.abs(below - (depth * ends)[None, :].astype(np.float32)) - 1.6 + out
        paint(hu[rows], shell, 250.0, 1.5 * grid.pixel)


def _trunk_field(body: Body, grid: Grid, z: float) -> Field:
    """Field of the skin: a rounded oval with shoulders and breasts. Shape (side, side)."""
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
    return outline


def _draw_wall(hu: Field, body: Body, grid: Grid, z: float, coarse: Field) -> None:
    outline, soft = enlarged(_trunk_field, body, z, grid.side), 1.5 * grid.pixel
    marbled = MUSCLE + 90 * np.minimum(coarse + 0.7, 0)
    paint(hu, outline, MUSCLE, soft)
    paint(hu, outline + 2.0, FAT + 12 * coarse, soft)
    paint(hu, outline + (body.fat + 2.5 * coarse), marbled, 3 * grid.pixel)


def _draw_bones(hu: Field, body: Body, grid: Grid, z: float) -> None:
    for side, ribs in ((-1, body.ribs[0::2]), (1, body.ribs[1::2])):
        a, b, centre = lung_oval(body, side, z)
        for i, jitter in enumerate(ribs):
            turn = -1.25 + 0.41 * (i + 0.7 * jitter) + 0.012 * z
            u, v = centre + side * (a + 8) * math.cos(turn), (b + 8) * math.sin(turn)
            slope = math.atan2((b + 8) * math.cos(turn), -side * (a + 8) * math.sin(turn))
            lean = side * body.lung_lean
            at = (math.cos(lean) * u - math.sin(lean) * v, math.sin(lean) * u + math.cos(lean) * v)
            at = (at[0] + centre * (1 - math.cos(lean)), at[1] - centre * math.sin(lean))
            _bone(hu, body, grid, at, (7 + 11 * jitter, 4.2), slope + lean)
        if body.shoulders:
            reach = side * (2 * a + body.gap)
            _bone(hu, body, grid, (0.86 * reach, 0.86 * b), (24, 3.4), -side * 0.75)
            _bone(hu, body, grid, (reach + side * 0.45 * body.side_wall, 0.5 * b), (9, 5), side * 0.9)
    _bone(hu, body, grid, (0, -body.lung_depth - 0.35 * body.front_wall), (21, 6))
    back = _spine(body)
    _bone(hu, body, grid, (0, back), (19, 15))
    for side in (-1, 1):
        _bone(hu, body, grid, (side * 24, back + 22), (19, 5), side * 0.35)
        _bone(hu, body, grid, (side * 8, back + 30), (12, 4), side * 0.7)
    tip = min(14.0, max(2.0, 0.5 * (body.half_depth - body.fat - back - 30)))
    _bone(hu, body, grid, (0, back + 28 + tip), (4.5, tip))
    _oval(hu, body, grid, (0, back + 20), (9, 8), 25)


def _draw_middle(hu: Field, body: Body, grid: Grid, z: float) -> None:
    """Fat of the mediastinum, heart, aorta and airways."""
    depth, blood = body.lung_depth, BLOOD + body.contrast
    _oval(hu, body, grid, (0, -0.15 * depth), (24, 0.62 * depth), FAT + 40)
    reach = 90 * body.heart
    window = window_of(body, grid, 15, -0.2 * depth, reach)
    paint(hu[window], _heart(body, grid.u[window], grid.v[window], z), BLOOD + 0.6 * body.contrast, 3 * grid.pixel)
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
