"""Bronchi of the phantom beyond the main ones: tubes with walls, in millimetres, from the hila outwards."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.phantom.anatomy import HILA, Mask, segment_distance

LOBAR_RADIUS_MM = 3.9
SHRINK = 0.77  # of radius and length at each branching
LOBAR_LENGTH_MM = 20.0
WALL_SHARE, THINNEST_WALL_MM = 0.3, 0.7  # of the radius
INTO_MAIN_MM = 4.0  # a lobar bronchus begins inside the main one

Point = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Tube:
    """A stretch of bronchus; the radius is that of the lumen."""

    begin_mm: Point
    end_mm: Point
    radius_mm: float

    @property
    def wall_mm(self) -> float:
        """Thickness of its wall."""
        return max(THINNEST_WALL_MM, WALL_SHARE * self.radius_mm)


def bronchi(rng: np.random.Generator, generations: int) -> tuple[Tube, ...]:
    """So many generations beyond the main bronchi; none for 0."""
    tubes: list[Tube] = []
    for side, hilum in zip((-1, 1), HILA, strict=True):
        for tilt in (-1.3, -0.25, 0.9) if generations else ():
            direction = np.array([side, rng.uniform(-0.3, 0.5), tilt + rng.uniform(-0.1, 0.1)])
            start = np.array(hilum) - (side * INTO_MAIN_MM, 0, 0)
            tubes.extend(_branch(rng, start, direction, LOBAR_RADIUS_MM, generations))
    return tuple(tubes)


def draw(
    tubes: tuple[Tube, ...], x: NDArray[np.float32], y: NDArray[np.float32], z: float
) -> tuple[Mask, Mask]:
    """Lumen and wall of all tubes in one slice, each a plane; x is a row, y a column of positions."""
    shape = np.broadcast_shapes(x.shape, y.shape)
    lumen, wall = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for tube in tubes:
        reach = tube.radius_mm + tube.wall_mm
        low, high = (
            f(a, b) for f, a, b in zip((min, max), *(tube.begin_mm[2:] * 2, tube.end_mm[2:] * 2), strict=True)
        )
        if not low - reach < z < high + reach:
            continue
        columns = _between(x[0], tube.begin_mm[0], tube.end_mm[0], reach)
        rows = _between(y[:, 0], tube.begin_mm[1], tube.end_mm[1], reach)
        distance = segment_distance(x[:, columns], y[rows], z, tube.begin_mm, tube.end_mm)
        lumen[rows, columns] |= distance < tube.radius_mm
        wall[rows, columns] |= distance < reach
    return lumen, wall & ~lumen


def _between(positions: NDArray[np.float32], one: float, other: float, reach: float) -> slice:
    low, high = min(one, other) - reach, max(one, other) + reach
    return slice(int(np.searchsorted(positions, low)), int(np.searchsorted(positions, high)))


def _branch(
    rng: np.random.Generator,
    start: NDArray[np.float64],
    direction: NDArray[np.float64],
    radius: float,
    left: int,
) -> Iterator[Tube]:
    """A bronchus and what branches from it."""
    direction = direction / np.linalg.norm(direction)
    end = start + direction * LOBAR_LENGTH_MM * (radius / LOBAR_RADIUS_MM) * rng.uniform(0.8, 1.2)
    yield Tube(_point(start), _point(end), radius)
    if left > 1:
        across = np.cross(direction, rng.standard_normal(3))
        bend = across / np.linalg.norm(across) * rng.uniform(0.45, 0.75)
        for turned in (direction + bend, direction - bend):
            yield from _branch(rng, end, turned, radius * SHRINK, left - 1)


def _point(at: NDArray[np.float64]) -> Point:
    return float(at[0]), float(at[1]), float(at[2])
