"""A chest drawn on a grid finer than the slices: planes of HU with partial volume, before any scanner."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ai_engine.phantom.nodule_scans.nodules import Nodule
from ai_engine.phantom.nodule_scans.population import Anatomy, draw
from ai_engine.phantom.nodule_scans.thorax import AIR_HU, BLOOD_HU, COARSE_MM, Field, Thorax
from ai_engine.phantom.nodule_scans.vessels import Piece

WALL_HU = -150.0  # of small bronchi, thinner than a voxel
TEXTURE_TILE = (48, 160, 160)
FISSURE_HU = 320.0  # above the lung, at its middle
EDGE_MM = 1.0  # over which a surface fades


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """Plane heights and pixel centres in mm."""

    z: Field
    y: Field
    x: Field

    def box(self, low_mm: NDArray[np.floating], high_mm: NDArray[np.floating]) -> tuple[slice, slice, slice]:
        """The voxels between two corners (z, y, x)."""
        slices = [
            slice(int(np.searchsorted(axis, low)), int(np.searchsorted(axis, high)))
            for axis, low, high in zip((self.z, self.y, self.x), low_mm, high_mm, strict=True)
        ]
        return slices[0], slices[1], slices[2]

    def points(self, box: tuple[slice, slice, slice]) -> Field:
        """The voxel centres of a box, (3, z, y, x)."""
        z, y, x = self.z[box[0]], self.y[box[1]], self.x[box[2]]
        return np.stack(np.broadcast_arrays(z[:, None, None], y[None, :, None], x[None, None, :]))


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """What is in one chest."""

    thorax: Thorax
    vessels: list[Piece]
    nodules: list[Nodule]
    anatomy: Anatomy
    seed: int


def draw_scene(contents: Contents, grid: Grid) -> Field:
    """HU of the chest at the grid's points, float32 (z, y, x)."""
    rng = np.random.default_rng(contents.seed)
    cover = _vessel_cover(contents.vessels, grid)
    tile = _texture(rng, draw(rng, contents.anatomy.texture_hu))
    base = draw(rng, contents.anatomy.parenchyma_hu)
    gradient = draw(rng, (0.0, 0.35))  # HU per mm towards the back
    bends = _fissures(rng, contents.thorax)
    upsampled = _Upsampler(contents.thorax, grid)
    scene = np.empty((len(grid.z), len(grid.y), len(grid.x)), np.float32)
    lung_rows = (base + gradient * grid.y).astype(np.float32)[:, None]
    for at, z in enumerate(grid.z):
        tissue, distance = upsampled.plane(float(z))
        scene[at] = tissue
        box = upsampled.lung_box
        lung = np.clip(0.5 - distance / EDGE_MM, 0, 1)
        inside = lung_rows[box[0]] + _tiled(tile, at, lung.shape)
        for bend in bends:
            _add_fissure(inside, grid, box, float(z), bend)
        _mix_vessels(inside, cover[at][box])
        plane = scene[at][box]
        plane += lung * (inside - plane)
    for band in _scars(rng, contents):
        _add_scar(scene, grid, contents.thorax, band)
    for nodule in contents.nodules:
        _add_nodule(scene, grid, contents.thorax, nodule)
    return scene


class _Upsampler:
    """Coarse fields brought to the pixels of one plane, by linear interpolation as two matrix products."""

    def __init__(self, thorax: Thorax, grid: Grid) -> None:
        self._thorax = thorax
        self._rows = _weights(grid.y, float(thorax.origin_mm[1]), thorax.lung_mm.shape[1])
        self._columns = _weights(grid.x, float(thorax.origin_mm[2]), thorax.lung_mm.shape[2])
        near = np.any(thorax.lung_mm < 2 * EDGE_MM, axis=0)
        rows = np.flatnonzero((self._rows @ near.any(axis=1).astype(np.float32)) > 0)
        columns = np.flatnonzero((self._columns @ near.any(axis=0).astype(np.float32)) > 0)
        self.lung_box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))

    def plane(self, z: float) -> tuple[Field, Field]:
        """Tissue of the whole plane, and distance to the lungs' surface within `lung_box`."""
        at = np.clip((z - self._thorax.origin_mm[0]) / COARSE_MM, 0, len(self._thorax.lung_mm) - 1.001)
        low, share = int(at), np.float32(at % 1)
        tissue, distance = (
            field[low] * (1 - share) + field[low + 1] * share
            for field in (self._thorax.tissue_hu, self._thorax.lung_mm)
        )
        rows, columns = self.lung_box
        return self._rows @ tissue @ self._columns.T, self._rows[rows] @ distance @ self._columns[columns].T


def _weights(at_mm: Field, origin_mm: float, count: int) -> Field:
    """Matrix (points, coarse samples) of linear interpolation, the ends repeated."""
    at = np.clip((at_mm - origin_mm) / COARSE_MM, 0, count - 1.001)
    low = at.astype(int)
    weights = np.zeros((len(at_mm), count), np.float32)
    weights[np.arange(len(at)), low] = 1 - at % 1
    weights[np.arange(len(at)), low + 1] = at % 1
    return weights


def _vessel_cover(pieces: list[Piece], grid: Grid) -> NDArray[np.int8]:
    """Share of each voxel that is vessel, in 1/100; negative: air of a bronchus."""
    cover = np.zeros((len(grid.z), len(grid.y), len(grid.x)), np.int8)
    for hollow in (False, True):
        for piece in pieces:
            if piece.hollow == hollow:
                _draw_piece(cover, grid, piece)
    return cover


def _draw_piece(cover: NDArray[np.int8], grid: Grid, piece: Piece) -> None:
    reach = max(piece.begin_radius_mm, piece.end_radius_mm) + 1.2
    box = grid.box(np.minimum(piece.begin, piece.end) - reach, np.maximum(piece.begin, piece.end) + reach)
    if any(part.start >= part.stop for part in box):
        return
    along, away = _along_and_away(piece.begin, piece.end, grid, box)
    depth = piece.begin_radius_mm + (piece.end_radius_mm - piece.begin_radius_mm) * along - away
    share = np.clip(0.5 + depth / EDGE_MM, 0, 1) * min(1.0, (2 * piece.end_radius_mm / EDGE_MM) ** 0.5)
    drawn = cover[box]
    if not piece.hollow:
        np.maximum(drawn, (share * 100).astype(np.int8), out=drawn)
        return
    drawn[(share > 0.2) & (drawn < 60)] = 55
    drawn[depth > 0.9] = -100


def _along_and_away(
    begin: NDArray[np.float64], end: NDArray[np.float64], grid: Grid, box: tuple[slice, slice, slice]
) -> tuple[Field, Field]:
    """Where along the piece (0 to 1) each voxel's foot lies, and the distance to it."""
    axis = (end - begin).astype(np.float32)
    dz = (grid.z[box[0]] - np.float32(begin[0]))[:, None, None]
    dy = (grid.y[box[1]] - np.float32(begin[1]))[None, :, None]
    dx = (grid.x[box[2]] - np.float32(begin[2]))[None, None, :]
    along = np.clip((dz * axis[0] + dy * axis[1] + dx * axis[2]) / np.float32(axis @ axis), 0, 1)
    away = np.sqrt((dz - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dx - along * axis[2]) ** 2)
    return along, away


def _mix_vessels(inside: Field, cover: NDArray[np.int8]) -> None:
    """Put vessels and bronchi on a plane of parenchyma."""
    share = np.maximum(cover, 0).astype(np.float32)
    share *= 0.01
    inside += share * (BLOOD_HU - inside)
    inside[cover < 0] = AIR_HU + 10


def _texture(rng: np.random.Generator, amplitude_hu: float) -> Field:
    """A tile of parenchyma's texture around 0 that repeats seamlessly: coarse and fine parts."""
    white = rng.standard_normal(TEXTURE_TILE, np.float32)
    tile = np.zeros_like(white)
    for sigma, share in ((0.9, 0.6), (3.5, 0.8)):
        part = ndimage.gaussian_filter(white, sigma, mode="wrap", truncate=3)
        tile += share * part / part.std()
    return (tile * amplitude_hu).astype(np.float32)


def _tiled(tile: Field, at: int, shape: tuple[int, ...]) -> Field:
    """The tile's plane `at`, repeated over `shape`."""
    plane = tile[at % len(tile)]
    repeats = [-(-size // part) for size, part in zip(shape, plane.shape, strict=True)]
    return np.tile(plane, repeats)[: shape[0], : shape[1]]


def _fissures(rng: np.random.Generator, thorax: Thorax) -> list[NDArray[np.float64]]:
    """Per fissure: side, height at y = 0, slope, bend and thickness."""
    middle = (thorax.build.base_z + thorax.build.top_z) / 2
    slopes = [(-1, -0.75), (1, -0.75), (-1, 0.12)]
    return [
        np.array(
            [
                side,
                middle + rng.uniform(-12, 8),
                slope + rng.uniform(-0.1, 0.1),
                rng.uniform(2, 7),
                rng.uniform(0.4, 0.8),
            ]
        )
        for side, slope in slopes
    ]


def _add_fissure(
    inside: Field, grid: Grid, box: tuple[slice, slice], z: float, bend: NDArray[np.float64]
) -> None:
    """A thin curved sheet: where it cuts this plane."""
    side, height, slope, warp, thickness = bend
    x, y = grid.x[box[1]], grid.y[box[0]]
    columns = np.flatnonzero(x * side > 12)
    offset = (height - z + warp * np.sin(x[columns] / 23)).astype(np.float32)
    at = -offset / slope if abs(slope) > 0.3 else None
    rows = np.arange(len(y)) if at is None else np.flatnonzero((y > at.min() - 5) & (y < at.max() + 5))
    if at is None:
        rows = rows[y[rows] < 20]
        if np.abs(offset).min() > 12:
            return
    if not len(rows) or not len(columns):
        return
    away = (offset[None, :] + np.float32(slope) * y[rows, None]) / np.float32(np.hypot(1, slope))
    sheet = np.exp(-((away / np.float32(thickness)) ** 2)) * np.float32(FISSURE_HU)
    if at is None:
        sheet *= np.clip((20 - y[rows, None]) / 15, 0, 1)
    inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += sheet


def _scars(
    rng: np.random.Generator, contents: Contents
) -> list[tuple[NDArray[np.float64], NDArray[np.float64], float, float]]:
    """Flat bands of dense tissue: centre, the three axes, half width and half thickness."""
    thorax, bands = contents.thorax, []
    inner = np.argwhere((thorax.lung_mm < -4) & (thorax.lung_mm > -22))
    for _ in range(int(rng.integers(0, contents.anatomy.scars + 1))):
        centre = thorax.origin_mm + inner[rng.integers(len(inner))] * COARSE_MM
        axes = np.linalg.qr(rng.standard_normal((3, 3)))[0]
        bands.append((centre, axes, draw(rng, (7.0, 16.0)), draw(rng, (0.5, 1.1))))
    return bands


def _add_scar(
    scene: Field,
    grid: Grid,
    thorax: Thorax,
    band: tuple[NDArray[np.float64], NDArray[np.float64], float, float],
) -> None:
    centre, axes, half_width, half_thickness = band
    box = grid.box(centre - half_width, centre + half_width)
    points = grid.points(box)
    across = np.tensordot(
        axes.T.astype(np.float32), points - centre.astype(np.float32).reshape(3, 1, 1, 1), 1
    )
    taper = np.clip(1 - (across[0] / half_width) ** 2 - (across[1] / (0.6 * half_width)) ** 2, 0, 1)
    share = np.clip(0.5 + (half_thickness * taper - np.abs(across[2])) / EDGE_MM, 0, 1) * (taper > 0)
    _blend(scene[box], share * _lung_share(thorax, points), np.float32(-40.0), keep_denser=True)


def _add_nodule(scene: Field, grid: Grid, thorax: Thorax, nodule: Nodule) -> None:
    """One nodule with its core and spikes; vessels stay visible in ground glass."""
    box = grid.box(nodule.centre_mm - nodule.reach_mm, nodule.centre_mm + nodule.reach_mm)
    points = grid.points(box)
    lung = _lung_share(thorax, points)
    surface = nodule.surface(points)
    solid = nodule.kind == "solid"
    edge = EDGE_MM if solid else 1.5 * EDGE_MM
    share = np.clip(0.5 - surface / edge, 0, 1)
    for spike in nodule.spikes:
        begin = nodule.centre_mm
        along, away = _along_and_away(begin, begin + spike * nodule.radii_mm.mean() * 1.7, grid, box)
        share = np.maximum(
            share, np.clip(0.5 + (1.4 * (1 - along) - away) / EDGE_MM, 0, 1) * (0.8 if solid else 0.4)
        )
    _blend(scene[box], share * lung, np.float32(nodule.hu), keep_denser=not solid)
    if nodule.core_share:
        core = surface + nodule.radii_mm.min() * (1 - nodule.core_share)
        _blend(
            scene[box],
            np.clip(0.5 - core / EDGE_MM, 0, 1) * lung,
            np.float32(nodule.core_hu),
            keep_denser=False,
        )


def _lung_share(thorax: Thorax, points: Field) -> Field:
    share = np.clip(0.5 - thorax.lung_distance(points) / EDGE_MM, 0, 1)
    return np.asarray(share, np.float32)


def _blend(target: Field, share: Field, hu: np.float32, *, keep_denser: bool) -> None:
    over = np.maximum(target, hu) if keep_denser else hu
    target += share * (over - target)
