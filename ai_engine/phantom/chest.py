"""The phantom's voxels and the truth about them; the same specification gives the same voxels."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ai_engine.geometry import Geometry
from ai_engine.phantom import anatomy, bronchi, calcium
from ai_engine.phantom import lumbar as lower
from ai_engine.phantom.anatomy import Build
from ai_engine.phantom.calcium import Plaque
from ai_engine.phantom.measured import PhantomTruth, SliceTruth, truth_of
from ai_engine.phantom.trees import Ball, nodules, vessels

RIGHT, LEFT, AIRWAYS = 1, 2, 3  # in `Phantom.truth_labels`
TEXTURE_GRID = (48, 64, 64)
TEXTURE_BLUR = 1.1
BLUR_MM = 0.45  # the scanner's, within the slice
NOISE_HU = 16.0
NOISE_BLUR_PX = 0.7
FINEST_NOISE_MM = 0.75
EXTRAS_STREAM = 1 << 20  # of random numbers; slices have their own from 0


@dataclass(frozen=True, slots=True)
class PhantomSpec:
    """What to generate. The chest is the same whatever the sampling."""

    seed: int = 1
    slices: int = 120
    rows: int = 512
    columns: int = 512
    field_of_view_mm: float = 384.0
    height_mm: float = 300.0
    emphysema_share: float = 0.08  # of the lungs' parenchyma
    nodule_count: int = 5
    noise_hu: float = NOISE_HU
    emphysema_rise: float = 0.0  # how much more of it towards the apex, in deviations of the texture
    bronchus_generations: int = 0  # beyond the main bronchi
    plaque_count: int = 0  # calcified plaques of the coronary arteries; with them come lures elsewhere
    contrast_hu: float = 0.0  # added to blood in heart and great vessels
    below_mm: float = 0.0  # of abdomen under the chest; 150 reaches the fifth lumbar vertebra

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Between slices, rows and columns."""
        return (
            (self.height_mm + self.below_mm) / self.slices,
            self.field_of_view_mm / self.rows,
            self.field_of_view_mm / self.columns,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Phantom:
    """`voxels` is int16 HU, the truths are uint8; axes (slice, row, column) in `geometry`'s order."""

    spec: PhantomSpec
    voxels: NDArray[np.int16]
    truth_labels: NDArray[np.uint8]
    truth: PhantomTruth
    geometry: Geometry
    truth_tissue: NDArray[np.uint8] | None = None  # `lumbar`'s kinds, below the chest only


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """What is drawn once for all slices."""

    build: Build
    texture: NDArray[np.float32]  # standard normal, smooth
    emphysema_level: float  # of the texture, above which parenchyma is destroyed
    balls: tuple[Ball, ...]
    tubes: tuple[bronchi.Tube, ...]
    plaques: tuple[Plaque, ...]
    lumbar: lower.Lumbar


@dataclass(frozen=True, slots=True, eq=False)
class _Drawn:
    """One slice before blur and noise."""

    hu: NDArray[np.float32]
    labels: NDArray[np.uint8]
    tissue: NDArray[np.uint8] | None
    truth: SliceTruth


def make_phantom(spec: PhantomSpec, frame_of_reference_uid: str, threads: int = 2) -> Phantom:
    """Generate the phantom, in six seconds of one core at full size; `threads` changes only the time."""
    rng = np.random.default_rng(spec.seed)
    nodule_balls = tuple(nodules(rng, spec.nodule_count))
    plan = _plan(rng, spec, nodule_balls)
    labels = np.empty((spec.slices, spec.rows, spec.columns), np.uint8)
    voxels = np.empty(labels.shape, np.int16)
    tissue = np.zeros_like(labels) if spec.below_mm else None

    def draw(at: int) -> SliceTruth:
        drawn = _slice(spec, plan, at)
        labels[at] = drawn.labels
        if tissue is not None and drawn.tissue is not None:
            tissue[at] = drawn.tissue
        voxels[at] = _scan(drawn.hu, spec, np.random.default_rng([spec.seed, at]))
        return drawn.truth

    with ThreadPoolExecutor(threads) as pool:
        counted = list(pool.map(draw, range(spec.slices)))
    truth = replace(
        truth_of(labels, spec.spacing_mm, counted),
        nodules=nodule_balls,
        plaques=plan.plaques,
        l3_z_mm=plan.lumbar.l3_z if spec.below_mm else None,
    )
    return Phantom(spec, voxels, labels, truth, geometry_of(spec, frame_of_reference_uid), tissue)


def geometry_of(spec: PhantomSpec, frame_of_reference_uid: str) -> Geometry:
    """Axial slices from the feet upwards, rows towards the back, columns towards the left."""
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = spec.spacing_mm
    affine[:3, 3] = [
        _axis(spec.columns, spec.spacing_mm[2])[0],
        _axis(spec.rows, spec.spacing_mm[1])[0],
        _heights(spec)[0],
    ]
    affine[3, 3] = 1
    return Geometry((spec.slices, spec.rows, spec.columns), affine, frame_of_reference_uid)


def _plan(rng: np.random.Generator, spec: PhantomSpec, nodule_balls: tuple[Ball, ...]) -> _Plan:
    build = Build(
        scale=float(rng.uniform(0.95, 1.03)),
        fat_mm=float(rng.uniform(10, 18)),
        lung_scale=float(rng.uniform(0.94, 1.0)),
        dome_mm=float(rng.uniform(34, 48)),
        contrast_hu=spec.contrast_hu,
    )
    texture = ndimage.gaussian_filter(rng.standard_normal(TEXTURE_GRID).astype(np.float32), TEXTURE_BLUR)
    texture /= texture.std()
    level = float(np.quantile(texture, 1 - spec.emphysema_share)) if spec.emphysema_share else np.inf
    balls = (*vessels(rng), *nodule_balls)
    more = np.random.default_rng([spec.seed, EXTRAS_STREAM])  # the chest is the same with and without them
    return _Plan(
        build,
        texture,
        level,
        balls,
        lumbar=lower.lumbar(more),
        plaques=calcium.plaques(more, spec.plaque_count),
        tubes=bronchi.bronchi(more, spec.bronchus_generations),
    )


def _slice(spec: PhantomSpec, plan: _Plan, at: int) -> _Drawn:
    """One slice and the truth about it."""
    x = _axis(spec.columns, spec.spacing_mm[2])[None, :]
    y = _axis(spec.rows, spec.spacing_mm[1])[:, None]
    z = float(_heights(spec)[at])
    depth = anatomy.trunk(x, y, z, plan.build)
    if spec.below_mm and z < lower.TOP_Z:
        return _lower_slice(x, y, z, plan)
    hu = _trunk_hu(x, y, z, depth, plan.build)
    lungs = _lungs(x, y, z, depth, plan.build)
    airway = anatomy.airway_radius(x, y, z)
    lungs &= airway > 1.3
    lumen, wall = bronchi.draw(plan.tubes, x, y, z)
    lumen &= lungs | (airway < 1.3)
    share = plan.emphysema_level - spec.emphysema_rise * (z / spec.height_mm)
    bottom = np.float32((spec.spacing_mm[0] - spec.height_mm) / 2)  # of the chest
    parenchyma = _parenchyma(plan.texture, share, (z - bottom) / np.float32(spec.height_mm), y, lungs)
    hu[lungs] = parenchyma
    solid = _draw_balls(hu, lungs, plan.balls, spec, z)
    hu[wall & lungs] = anatomy.MUSCLE_HU - 20
    if (plaques := calcium.plaque_hu(plan.plaques, x, y, z)) is not None:
        _paint(hu, np.where(lungs, np.nan, plaques))
    hu[airway < 1 + anatomy.WALL_MM / 6.5] = anatomy.MUSCLE_HU - 20
    lumen |= (airway < 1) & (depth > 0)
    hu[lumen] = anatomy.AIR_HU
    labels = np.where(lungs, np.where(x < 0, RIGHT, LEFT), 0).astype(np.uint8)
    labels[lumen] = AIRWAYS
    aerated = ~(solid | wall | lumen)[lungs]
    on_right = np.broadcast_to(x < 0, lungs.shape)[lungs]
    return _Drawn(hu, labels, None, SliceTruth.of(parenchyma, aerated, on_right))


def _lower_slice(x: NDArray[np.float32], y: NDArray[np.float32], z: float, plan: _Plan) -> _Drawn:
    """One slice below the chest."""
    body, tissue = lower.draw(x, y, z, plan.build, plan.lumbar)
    hu = np.full(body.shape, anatomy.AIR_HU, np.float32)
    _paint(hu, anatomy.table(x, y, plan.build))
    _paint(hu, body)
    return _Drawn(hu, np.zeros(hu.shape, np.uint8), tissue, SliceTruth.nothing())


def _lungs(
    x: NDArray[np.float32], y: NDArray[np.float32], z: float, depth: NDArray[np.float32], build: Build
) -> NDArray[np.bool_]:
    """Both lungs with what of bronchi and vessels lies in them."""
    right, left = (anatomy.lung(x, y, z, side, build) for side in (-1, 1))
    cavity = depth > build.fat_mm + 21
    lungs: NDArray[np.bool_] = (right | left) & ~anatomy.mediastinum(x, y, z) & cavity
    return lungs


def _trunk_hu(
    x: NDArray[np.float32], y: NDArray[np.float32], z: float, depth: NDArray[np.float32], build: Build
) -> NDArray[np.float32]:
    """Everything but lungs and airways, from the outside inwards."""
    hu = np.full(depth.shape, anatomy.AIR_HU, np.float32)
    _paint(hu, anatomy.table(x, y, build))
    hu[depth > 0] = anatomy.SKIN_HU
    hu[depth > 2] = anatomy.FAT_HU
    hu[depth > build.fat_mm] = anatomy.MUSCLE_HU
    cavity = depth > build.fat_mm + 19
    hu[cavity] = anatomy.FAT_HU + 15
    organs = anatomy.abdomen(x, y, z, build)
    _paint(hu, np.where(cavity & (z < anatomy.LUNG_BASE_Z + build.dome_mm * 1.5), organs, np.nan))
    blood = anatomy.BLOOD_HU + build.contrast_hu
    hu[(anatomy.heart(x, y, z) < 1) & cavity] = anatomy.HEART_HU + build.contrast_hu
    hu[anatomy.ellipse(x, y, (22, 46), (12, 12)) < 1] = blood  # descending aorta
    if z > 0:
        hu[anatomy.ellipse(x, y, (6, -8), (14, 11)) < 1] = blood  # great vessels
    rib = anatomy.ribs(x, y, z, depth, build)
    hu[rib > 0] = anatomy.CORTICAL_HU
    hu[rib > 1.6] = anatomy.SPONGY_HU
    breastbone = (anatomy.ellipse(x, y, (0, -92 * build.scale), (18, 6)) < 1) & (-60 < z < 90)
    hu[breastbone] = anatomy.SPONGY_HU
    _paint(hu, anatomy.spine(x, y, z))
    return hu


def _parenchyma(
    texture: NDArray[np.float32],
    emphysema_level: float,
    height: np.float32,
    y: NDArray[np.float32],
    lungs: NDArray[np.bool_],
) -> NDArray[np.float32]:
    """HU of a slice's lung voxels: denser towards the back, mottled, in part destroyed."""
    if not lungs.any():
        return np.empty(0, np.float32)
    at = height * (len(texture) - 1)
    low = int(at)
    share = np.float32(at - low)
    plane = (1 - share) * texture[low] + share * texture[min(low + 1, len(texture) - 1)]
    mottling = _stretched(_stretched(plane, lungs.shape[0]).T, lungs.shape[1]).T[lungs]
    gravity = np.broadcast_to(y, lungs.shape)[lungs] * np.float32(0.35)
    hu: NDArray[np.float32] = anatomy.LUNG_HU + gravity + np.float32(14) * mottling
    hu[mottling > emphysema_level] = anatomy.EMPHYSEMA_HU
    return hu


def _stretched(plane: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Axis 0 interpolated linearly to `size` samples."""
    at = np.linspace(0, len(plane) - 1, size)
    low = np.minimum(at.astype(int), len(plane) - 2)
    share = (at - low).astype(np.float32)[:, None]
    stretched: NDArray[np.float32] = plane[low] * (1 - share) + plane[low + 1] * share
    return stretched


def _draw_balls(
    hu: NDArray[np.float32], lungs: NDArray[np.bool_], balls: tuple[Ball, ...], spec: PhantomSpec, z: float
) -> NDArray[np.bool_]:
    """Draw what of vessels and nodules lies in this slice's lungs; which pixels that is."""
    solid = np.zeros(lungs.shape, np.bool_)
    _, row_mm, column_mm = spec.spacing_mm
    x0, y0 = _axis(spec.columns, column_mm)[0], _axis(spec.rows, row_mm)[0]
    for ball in balls:
        reach = ball.radius_mm**2 - (ball.centre_mm[2] - z) ** 2
        if reach <= 0:
            continue
        radius = reach**0.5
        column, row = (ball.centre_mm[0] - x0) / column_mm, (ball.centre_mm[1] - y0) / row_mm
        wide, high = radius / column_mm, radius / row_mm
        rows = np.arange(max(0, int(row - high)), min(spec.rows, int(row + high) + 2))[:, None]
        columns = np.arange(max(0, int(column - wide)), min(spec.columns, int(column + wide) + 2))[None, :]
        if rows.size and columns.size:
            disc = ((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 <= 1
            solid[rows[0, 0] : rows[-1, 0] + 1, columns[0, 0] : columns[0, -1] + 1] |= disc
    solid &= lungs
    hu[solid] = anatomy.BLOOD_HU
    return solid


def _scan(hu: NDArray[np.float32], spec: PhantomSpec, rng: np.random.Generator) -> NDArray[np.int16]:
    """One slice as a scanner gives it: blurred within the slice, with noise as grainy as its kernel."""
    blur_px = BLUR_MM / spec.spacing_mm[2]
    blurred = ndimage.gaussian_filter(hu, blur_px, truncate=3) if blur_px > 0.15 else hu
    if spec.noise_hu:
        grain = ndimage.gaussian_filter(
            rng.standard_normal(hu.shape, np.float32), NOISE_BLUR_PX, truncate=2.5
        )
        amplitude = spec.noise_hu * min(1.0, FINEST_NOISE_MM / spec.spacing_mm[2])
        blurred = blurred + grain * np.float32(amplitude / 0.4)  # 0.4: deviation that the filter leaves of 1
    return np.clip(np.rint(blurred), -1024, 3071).astype(np.int16)


def _paint(hu: NDArray[np.float32], over: NDArray[np.float32]) -> None:
    """Put `over` on `hu` where it is a number."""
    drawn = ~np.isnan(over)
    hu[drawn] = over[drawn]


def _axis(count: int, spacing_mm: float) -> NDArray[np.float32]:
    """Pixel centres around 0."""
    return ((np.arange(count) - (count - 1) / 2) * spacing_mm).astype(np.float32)


def _heights(spec: PhantomSpec) -> NDArray[np.float32]:
    middle = spec.height_mm / 2 - (spec.height_mm + spec.below_mm) / 2
    return _axis(spec.slices, spec.spacing_mm[0]) + np.float32(middle)
