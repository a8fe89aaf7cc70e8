"""Vessels and small airways of a lung as tapering straight pieces, from the hilum to short of the pleura."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.phantom.nodule_scans.population import Anatomy, draw
from ai_engine.phantom.nodule_scans.thorax import COARSE_MM, Thorax

SHORT_OF_PLEURA_MM = -4.0
THINNEST_MM = 0.35
BRONCHUS_GENERATIONS = 3
TREES_PER_LUNG = 9
TWIG_BRANCHINGS = 4


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of vessel, or of bronchus with air inside; ends are (z, y, x) in mm."""

    begin: NDArray[np.float64]
    end: NDArray[np.float64]
    begin_radius_mm: float
    end_radius_mm: float
    hollow: bool = False


def vessels_of(rng: np.random.Generator, thorax: Thorax, anatomy: Anatomy) -> list[Piece]:
    """All vessels and bronchi of both lungs."""
    growth = _Growth(rng, thorax)
    pieces: list[Piece] = []
    for side in (-1, 1):
        hilum = thorax.build.hilum(side)[::-1]
        for number in range(TREES_PER_LUNG):
            start = hilum + rng.uniform(-7, 7, 3)
            radius = draw(rng, anatomy.vessel_mm) * (1.0 if number < 5 else 0.7)
            grown = list(growth.branch(start, _direction(rng, side, number), radius, anatomy.branchings))
            pieces.extend(piece for piece, _ in grown)
            if number % 2 == 0:
                pieces.extend(_bronchi(grown))
    pieces.extend(_twigs(growth, anatomy))
    return pieces


def _twigs(growth: "_Growth", anatomy: Anatomy) -> Iterator[Piece]:
    """Small vessels that come into reach of the eye anywhere in the lung."""
    rng, thorax = growth.rng, growth.thorax
    cells = np.argwhere(thorax.lung_mm < SHORT_OF_PLEURA_MM - 4)
    for at in rng.integers(0, len(cells), int(rng.integers(*anatomy.twigs))):
        start = thorax.origin_mm + cells[at] * COARSE_MM
        grown = growth.branch(start, rng.standard_normal(3), rng.uniform(0.7, 1.7), TWIG_BRANCHINGS)
        yield from (piece for piece, _ in grown)


def _direction(rng: np.random.Generator, side: int, number: int) -> NDArray[np.float64]:
    """Where a lobe's tree leads, (z, y, x): spread over the half space of its side."""
    tilt = -1.2 + 2.4 * (number % 5) / 4 + rng.uniform(-0.25, 0.25)
    return np.array([tilt, rng.uniform(-0.9, 0.9), side * rng.uniform(0.5, 1.0)])


@dataclass(frozen=True, slots=True, eq=False)
class _Growth:
    """Grows vessels in one chest."""

    rng: np.random.Generator
    thorax: Thorax

    def branch(
        self, start: NDArray[np.float64], direction: NDArray[np.float64], radius: float, left: int
    ) -> Iterator[tuple[Piece, int]]:
        """A vessel with what branches from it, each piece with the branchings left."""
        rng = self.rng
        direction = direction / np.linalg.norm(direction)
        shrink = rng.uniform(0.72, 0.86)
        length = max(6.0, radius * rng.uniform(5.0, 9.0))
        middle = start + direction * length / 2 + rng.normal(0, 0.06 * length, 3)
        end = start + direction * length + rng.normal(0, 0.08 * length, 3)
        bounds = (start, middle, end)
        radii = (radius, radius * (1 + shrink) / 2, radius * shrink)
        distances = self.thorax.lung_distance(np.array(bounds).T)
        for at in range(2):
            if distances[at] > SHORT_OF_PLEURA_MM and (left < 6 or distances[at] > 25):
                return
            yield Piece(bounds[at], bounds[at + 1], radii[at], radii[at + 1]), left
        if left <= 1 or radii[2] < THINNEST_MM:
            return
        bend = _across(rng, direction) * rng.uniform(0.25, 0.75)
        other, share = direction - bend * rng.uniform(0.6, 1.6), rng.uniform(0.7, 1.0)
        yield from self.branch(end, direction + bend, radii[2], left - 1)
        yield from self.branch(end, other, radii[2] * share, left - 1)


def _bronchi(grown: list[tuple[Piece, int]]) -> Iterator[Piece]:
    """Bronchi that run beside the first generations of a tree."""
    most = max((left for _, left in grown), default=0)
    for piece, left in grown:
        if left > most - BRONCHUS_GENERATIONS:
            aside = np.array([0.4, 1.0, 0.3]) * (piece.begin_radius_mm * 2.1)
            widths = piece.begin_radius_mm * 0.9, piece.end_radius_mm * 0.9
            yield Piece(piece.begin + aside, piece.end + aside, *widths, hollow=True)


def _across(rng: np.random.Generator, direction: NDArray[np.float64]) -> NDArray[np.float64]:
    """A random unit vector across `direction`."""
    across = np.cross(direction, rng.standard_normal(3))
    return np.asarray(across / np.linalg.norm(across))
