"""Nodules of known shape: where they lie, their surface, their density."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ai_engine.phantom.nodule_scans.population import NoduleMix, draw
from ai_engine.phantom.nodule_scans.thorax import COARSE_MM, Thorax
from ai_engine.phantom.nodule_scans.vessels import Piece

APART_MM = 6.0  # between the surfaces of two nodules
FROM_HILUM_MM = 22.0
TRIES = 60
FITTING_STEPS = 5
FITTING_TOLERANCE = 0.1
PROBE_MM = 0.5  # smallest step of the grid on which a nodule's volume inside the lung is taken
LOBES = 6
SPIKES = 7


@dataclass(frozen=True, slots=True, eq=False)
class Nodule:
    """One nodule. Positions are (z, y, x) in mm; the surface is where `surface` is 0."""

    kind: str  # solid, part-solid, ground-glass
    place: str  # inner, juxtapleural, juxtavascular
    centre_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]  # along the columns of `axes`
    axes: NDArray[np.float64]
    waves: NDArray[np.float64]  # of the lobulated surface: (LOBES, 3) wave vectors on the unit sphere
    lobulation: float
    hu: float
    core_hu: float
    core_share: float  # of the radius; 0 without a solid core
    spikes: NDArray[np.float64]  # (n, 3) unit vectors
    diameter_mm: float  # of the sphere with the volume that lies inside the lung
    volume_mm3: float

    @property
    def reach_mm(self) -> float:
        """No part, spikes included, lies further from the centre."""
        return float(self.radii_mm.max() * (1 + self.lobulation) * (1.75 if len(self.spikes) else 1) + 1)

    def surface(self, points_zyx_mm: NDArray[np.floating]) -> NDArray[np.float32]:
        """Approximate signed distance to the surface at points (3, …), spikes left out."""
        away = points_zyx_mm - self.centre_mm.reshape(3, *[1] * (points_zyx_mm.ndim - 1))
        scaled = np.tensordot(self.axes.T, away, 1) / self.radii_mm.reshape(
            3, *[1] * (points_zyx_mm.ndim - 1)
        )
        radius = np.sqrt((scaled**2).sum(axis=0))
        shape = self.lobulation * self._wave(scaled / np.maximum(radius, 1e-3)) if self.lobulation else 0.0
        return np.asarray((radius - 1 - shape) * self.radii_mm.min(), np.float32)

    def _wave(self, unit: NDArray[np.floating]) -> NDArray[np.floating]:
        waves = np.tensordot(self.waves, unit, 1)
        return np.asarray(np.sin(waves + np.arange(LOBES).reshape(-1, *[1] * (unit.ndim - 1))).mean(axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class _Room:
    """Where nodules may lie: the chest, and its coarse voxels inside the lungs with their depths."""

    thorax: Thorax
    vessels: list[Piece]
    cells: NDArray[np.int64]
    depths_mm: NDArray[np.float32]


def draw_nodules(
    rng: np.random.Generator, thorax: Thorax, vessels: list[Piece], mix: NoduleMix
) -> list[Nodule]:
    """The nodules of one scan; none in a scan that has none."""
    if rng.random() >= mix.positive_share:
        return []
    cells = np.argwhere(thorax.lung_mm < 0)
    room = _Room(thorax, vessels, cells, -thorax.lung_mm[tuple(cells.T)])
    found: list[Nodule] = []
    for _ in range(int(rng.integers(mix.count[0], mix.count[1] + 1))):
        wanted = _wanted(rng, mix)
        for _ in range(TRIES):
            placed = _placed(rng, room, wanted)
            if placed is not None and all(_apart(placed, other) for other in found):
                found.append(placed)
                break
    return found


def _wanted(rng: np.random.Generator, mix: NoduleMix) -> Nodule:
    """A nodule without a place; `diameter_mm` is what its volume shall be that of."""
    names, shares = zip(*mix.kinds, strict=True)
    kind = str(rng.choice(names, p=shares))
    chance = rng.random()
    attached = mix.juxtapleural_share, mix.juxtapleural_share + mix.juxtavascular_share
    place = "juxtapleural" if chance < attached[0] else "juxtavascular" if chance < attached[1] else "inner"
    diameter = float(np.exp(rng.uniform(*np.log(mix.diameter_mm))))
    long, middle = draw(rng, mix.elongation), rng.uniform(0.85, 1.1)
    radii = np.array([long, middle, 1.0])
    radii *= diameter / 2 / np.prod(radii) ** (1 / 3)
    spiked = kind != "ground-glass" and diameter >= 8 and rng.random() < mix.spiculated_share
    spikes = rng.standard_normal((SPIKES if spiked else 0, 3))
    return Nodule(
        kind=kind,
        place=place,
        centre_mm=np.zeros(3),
        radii_mm=radii,
        axes=np.linalg.qr(rng.standard_normal((3, 3)))[0],
        waves=rng.normal(0, 2.2, (LOBES, 3)),
        lobulation=2.0 * draw(rng, mix.lobulation),
        hu=draw(rng, mix.solid_hu if kind == "solid" else mix.ground_glass_hu),
        core_hu=draw(rng, mix.solid_hu),
        core_share=draw(rng, (0.35, 0.65)) if kind == "part-solid" else 0.0,
        spikes=spikes / np.linalg.norm(spikes, axis=1, keepdims=True),
        diameter_mm=diameter,
        volume_mm3=0.0,
    )


def _placed(rng: np.random.Generator, room: _Room, wanted: Nodule) -> Nodule | None:
    """The nodule at a random place of its sort, as large inside the lung as wanted; None: no room."""
    radius, thorax = wanted.diameter_mm / 2, room.thorax
    depth = (0.15 * radius, 0.7 * radius) if wanted.place == "juxtapleural" else (radius + 2.0, np.inf)
    if wanted.place == "juxtavascular":
        piece = room.vessels[int(rng.integers(len(room.vessels)))]
        centre = piece.end + rng.uniform(-1, 1, 3) * radius
    else:
        cells = room.cells[(room.depths_mm > depth[0] - 1) & (room.depths_mm < depth[1] + 1)]
        if not len(cells):
            return None
        centre = thorax.origin_mm + (cells[rng.integers(len(cells))] + rng.uniform(-0.5, 0.5, 3)) * COARSE_MM
    inside = -float(thorax.lung_distance(centre[:, None])[0])
    near_hilum = min(np.linalg.norm(centre - thorax.build.hilum(side)[::-1]) for side in (-1, 1))
    if not depth[0] <= inside <= depth[1] or near_hilum < FROM_HILUM_MM + radius:
        return None
    return _fitted(thorax, replace(wanted, centre_mm=centre))


def _fitted(thorax: Thorax, nodule: Nodule) -> Nodule | None:
    """Scaled until the part inside the lung has about the volume that is wanted; None where it cannot."""
    wanted = nodule.diameter_mm
    measured = 0.0
    for _ in range(FITTING_STEPS):
        volume = _volume_inside(thorax, nodule)
        if volume <= 0:
            return None
        measured = (6 * volume / np.pi) ** (1 / 3)
        nodule = replace(nodule, volume_mm3=volume, diameter_mm=float(measured))
        if abs(measured / wanted - 1) < 0.02:
            return nodule
        nodule = replace(nodule, radii_mm=nodule.radii_mm * min(1.5, wanted / measured))
    return None if abs(measured / wanted - 1) > FITTING_TOLERANCE else _measured(thorax, nodule)


def _measured(thorax: Thorax, nodule: Nodule) -> Nodule:
    volume = _volume_inside(thorax, nodule)
    return replace(nodule, volume_mm3=volume, diameter_mm=float((6 * volume / np.pi) ** (1 / 3)))


def _volume_inside(thorax: Thorax, nodule: Nodule) -> float:
    reach = float(nodule.radii_mm.max() * (1 + nodule.lobulation)) + 0.5
    step = max(PROBE_MM, reach / 10)
    axis = np.arange(-reach, reach + step / 2, step)
    points = np.stack(np.meshgrid(axis, axis, axis, indexing="ij")) + nodule.centre_mm[:, None, None, None]
    inside = (nodule.surface(points) < 0) & (thorax.lung_distance(points) < 0)
    return float(inside.sum() * step**3)


def _apart(one: Nodule, other: Nodule) -> bool:
    away = float(np.linalg.norm(one.centre_mm - other.centre_mm))
    return away > float(one.radii_mm.max() + other.radii_mm.max()) + APART_MM
