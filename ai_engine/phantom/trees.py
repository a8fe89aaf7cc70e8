"""Branching vessels and nodules of the phantom: balls along random trees, in millimetres."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ai_engine.phantom.anatomy import HILA

BRANCHINGS = 7
SHRINK = 0.78  # of a vessel's radius and length at each branching
STEP_MM = 2.0


@dataclass(frozen=True, slots=True)
class Ball:
    """A ball of soft tissue inside a lung."""

    centre_mm: tuple[float, float, float]
    radius_mm: float


def vessels(rng: np.random.Generator) -> list[Ball]:
    """The vessels of both lungs, from the hila outwards."""
    balls: list[Ball] = []
    for side, hilum in zip((-1, 1), HILA, strict=True):
        for tilt in (-0.9, -0.3, 0.3, 0.9):
            direction = np.array([side, rng.uniform(-0.5, 0.5), tilt + rng.uniform(-0.15, 0.15)])
            balls.extend(_branch(rng, np.array(hilum), direction, 4.6, BRANCHINGS))
    return balls


def nodules(rng: np.random.Generator, count: int) -> list[Ball]:
    """Solid nodules, 6 to 18 mm wide, at random places between hilum and pleura."""
    found: list[Ball] = []
    for number in range(count):
        side = -1 if number % 2 == 0 else 1
        centre = (side * rng.uniform(70, 105), rng.uniform(-35, 45), rng.uniform(-40, 80))
        found.append(Ball(centre, float(rng.uniform(3, 9))))
    return found


def _branch(
    rng: np.random.Generator, start: np.ndarray, direction: np.ndarray, radius: float, left: int
) -> Iterator[Ball]:
    """A vessel and what branches from it."""
    direction = direction / np.linalg.norm(direction)
    steps = max(3, int(radius * rng.uniform(4.5, 7) / STEP_MM))
    for step in range(steps):
        thinned = radius * (1 - (1 - SHRINK) * step / steps)
        x, y, z = start + direction * step * STEP_MM
        yield Ball((float(x), float(y), float(z)), float(thinned))
    if left > 1:
        end = start + direction * steps * STEP_MM
        bend = _perpendicular(rng, direction) * rng.uniform(0.35, 0.75)
        for turned in (direction + bend, direction - bend * rng.uniform(0.5, 1.1)):
            yield from _branch(rng, end, turned, radius * SHRINK, left - 1)


def _perpendicular(rng: np.random.Generator, direction: np.ndarray) -> np.ndarray:
    """A random unit vector across `direction`."""
    across = np.cross(direction, rng.standard_normal(3))
    return np.asarray(across / np.linalg.norm(across))
