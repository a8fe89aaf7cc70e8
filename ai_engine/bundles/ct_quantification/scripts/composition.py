"""Muscle and fat on the slice at the third lumbar level.

Muscle is what lies in the muscle window in the wall of the trunk and around the spine; organs are left out as
far as fat parts them from it. Fat outside the wall is subcutaneous, fat inside it visceral.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .field import trunk_reaches_edge
from .grid import Scene
from .level import NOT_THERE, Level, find_l3
from .measure import COMPOSITION_NAMES, LungField, Report
from .tissue import FAT_HU, MUSCLE_HU
from .wall import Mask, Plane, WallPlane, find_wall

MUSCLE, SUBCUTANEOUS_FAT, VISCERAL_FAT = 7, 8, 9  # labels

RAYS = 360
THICKEST_WALL_MM = 40.0
WALL_RAYS = 41  # whose lower quartile is the thickness: bowel that touches the wall is no wall
WALL_QUANTILE = 0.3
WALL_SPARE_MM = 1.0
CAP_OF_MEDIAN, THINNEST_CAP_MM = 1.6, 15.0  # liver along the wall is no wall either
SPINE_HU, SPINE_SLAB_MM, SPINE_HALF_MM = 130, 36.0, 45.0
PSOAS_BEFORE_MM = 8.0  # of the vertebra's front
BACK_HALF_MM = 85.0  # from the midline, behind the middle of the spine; in front of it:
PSOAS_HALF_MM = 48.0  # from the side of the vertebra
JOINED_MM = 3.0  # half the width of what joins an organ to a muscle
SHARE_IN_ZONE = 0.6  # of a muscle; of an organ that reaches into the zone it is less
STRAND_MM = 1.5  # half the width of what does not join muscle to muscle
NEAR_SPINE_MM = 8.0


@dataclass(frozen=True)
class Spine:
    """The vertebral column on a slice, from the slices around it, for there may be a disc."""

    mask: Mask
    front: int  # first row
    middle: int  # row
    column: int
    half_columns: float


@dataclass(frozen=True)
class Composition:
    """Masks of one slice."""

    muscle: Mask
    subcutaneous_fat: Mask
    visceral_fat: Mask


def measure_composition(
    scene: Scene, lungs: LungField, labels: NDArray[np.uint8], report: Report
) -> int | None:
    """Report areas and muscle density and draw them into `labels`; the source index of the slice, or None."""
    level = find_l3(scene, lungs)
    reason = NOT_THERE if level is None else _why_not(scene, level)
    spine = None if level is None else spine_at(scene, level.slice_index)
    if reason or level is None or spine is None:
        report.not_measured.update(dict.fromkeys(COMPOSITION_NAMES, reason or NOT_THERE))
        return None
    at = level.slice_index
    found = compose(scene.voxels[at], _roughly(scene, at), spine, scene.orientation.spacing_mm[1:])
    index = scene.orientation.source_slice(at, len(scene.voxels))
    pixel_cm2 = scene.orientation.spacing_mm[1] * scene.orientation.spacing_mm[2] / 100
    masks = (found.muscle, found.subcutaneous_fat, found.visceral_fat)
    for name, mask, label in zip(
        COMPOSITION_NAMES, masks, (MUSCLE, SUBCUTANEOUS_FAT, VISCERAL_FAT), strict=False
    ):
        report.measured(name, float(mask.sum() * pixel_cm2), index)
        labels[at][mask & (labels[at] == 0)] = label
    if found.muscle.any():
        report.measured("l3_muscle_density", float(scene.voxels[at][found.muscle].mean()), index)
    return index


def compose(values: Plane, roughly: Mask, spine: Spine, pixel_mm: tuple[float, float]) -> Composition:
    """The tissues of one slice, after a 3 by 3 median against noise."""
    calm = ndimage.median_filter(values, size=3)
    plane = find_wall(calm, roughly, pixel_mm)
    window = (calm >= MUSCLE_HU[0]) & (calm <= MUSCLE_HU[1]) & plane.inside & ~spine.mask
    wall = _wall(plane)
    back = _back_muscles(window, wall, spine, pixel_mm)
    fat = (calm >= FAT_HU[0]) & (calm <= FAT_HU[1]) & _away_from_air(calm, plane.trunk)
    rows = np.arange(len(calm))[:, None]
    visceral = fat & plane.inside & ~wall & ~back & (rows <= spine.middle)
    return Composition((wall & window) | back, fat & plane.trunk & ~plane.inside, visceral)


def spine_at(scene: Scene, at: int) -> Spine | None:
    """The spine around a canonical slice, at full resolution."""
    coarse = scene.coarse
    half = max(1, round(SPINE_SLAB_MM / 2 / coarse.spacing_mm[0]))
    middle = at // coarse.factors[0]
    slab = coarse.voxels[max(0, middle - half) : middle + half + 1].mean(axis=0)
    body = scene.body[middle]
    rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
    if not rows.size:
        return None
    bone = (slab > SPINE_HU) & body
    bone[: int(rows.mean())] = False
    bone[:, np.abs(np.arange(bone.shape[1]) - columns.mean()) * coarse.spacing_mm[2] > SPINE_HALF_MM] = False
    labels, count = ndimage.label(ndimage.binary_closing(bone, iterations=2))
    if not count:
        return None
    largest = ndimage.binary_fill_holes(labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1)
    shape = scene.voxels.shape[1:]
    mask = coarse.fine_slice(largest[None], 0, (shape[0], shape[1])).astype(bool)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    widest = mask[rows[0] : rows[0] + max(1, len(rows) // 2)].sum(axis=1).max()
    return Spine(mask, int(rows[0]), int(rows.mean()), int(columns.mean()), float(widest / 2))


def _why_not(scene: Scene, level: Level) -> str | None:
    trunk = scene.body[level.slice_index // scene.coarse.factors[0]]
    if not trunk.any():
        return NOT_THERE
    cut = trunk_reaches_edge(scene.coarse, trunk, scene.band)
    return "the trunk reaches beyond the field of view" if cut else None


def _roughly(scene: Scene, at: int) -> Mask:
    """The coarse trunk with one more coarse pixel around it."""
    shape = scene.voxels.shape[1:]
    grown = ndimage.binary_dilation(scene.body[at // scene.coarse.factors[0]])
    return scene.coarse.fine_slice(grown[None], 0, (shape[0], shape[1])).astype(bool)


def _wall(plane: WallPlane) -> Mask:
    """The wall by rays from the middle: from its edge inwards to the first fat or gas; no bowel on it."""
    rows, columns = np.nonzero(plane.inside)
    row_mm, column_mm = plane.pixel_mm
    y, x = (rows - rows.mean()) * row_mm, (columns - columns.mean()) * column_mm
    radius = np.hypot(x, y)
    ray = ((np.arctan2(y, x) / (2 * np.pi)) * RAYS).astype(int) % RAYS
    solid = plane.solid[rows, columns]
    edge = np.zeros(RAYS)
    np.maximum.at(edge, ray[solid], radius[solid])
    depth = edge[ray] - radius
    gap = ~solid & (depth >= 0)
    thickness = np.full(RAYS, THICKEST_WALL_MM)
    np.minimum.at(thickness, ray[gap], depth[gap])
    bounded = thickness[thickness < THICKEST_WALL_MM]
    usual = float(np.median(bounded)) if bounded.size else THICKEST_WALL_MM
    thickness = np.minimum(thickness, max(THINNEST_CAP_MM, CAP_OF_MEDIAN * usual))
    thickness = ndimage.percentile_filter(thickness, 100 * WALL_QUANTILE, size=WALL_RAYS, mode="wrap")
    wall = np.zeros(plane.inside.shape, bool)
    within = (depth >= 0) & (depth <= thickness[ray] + WALL_SPARE_MM)
    wall[rows[within], columns[within]] = True
    return wall


def _back_muscles(window: Mask, wall: Mask, spine: Spine, pixel_mm: tuple[float, float]) -> Mask:
    """Muscle around the spine: joined to it or to the wall behind, and no further forward than psoas lies."""
    rows, columns = np.ogrid[: window.shape[0], : window.shape[1]]
    aside_mm = np.abs(columns - spine.column) * pixel_mm[1]
    behind = (rows > spine.middle) & (aside_mm <= BACK_HALF_MM)
    beside = (rows <= spine.middle) & (aside_mm <= spine.half_columns * pixel_mm[1] + PSOAS_HALF_MM)
    beside &= rows >= spine.front - PSOAS_BEFORE_MM / pixel_mm[0]
    beside &= (rows >= spine.front + 2 / pixel_mm[0]) | (np.abs(columns - spine.column) >= spine.half_columns)
    cavity = window & ~wall
    zone = window & (behind | beside) & ~_organs(cavity, beside | behind, pixel_mm)
    joined = spine.mask | (wall & (rows > spine.middle))
    near = ndimage.distance_transform_edt(~joined, pixel_mm) <= NEAR_SPINE_MM
    return _grown(ndimage.distance_transform_edt(zone, pixel_mm) > STRAND_MM, near, zone, pixel_mm)


def _organs(cavity: Mask, zone: Mask, pixel_mm: tuple[float, float]) -> Mask:
    """What is joined broadly to something that lies mostly outside the muscles' zone."""
    labels, count = ndimage.label(ndimage.distance_transform_edt(cavity, pixel_mm) > JOINED_MM)
    if not count:
        return np.zeros_like(cavity)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    outside = np.bincount(labels[zone], minlength=count + 1) < SHARE_IN_ZONE * sizes
    outside[0] = False
    if not outside.any():
        return np.zeros_like(cavity)
    organs: Mask = ndimage.distance_transform_edt(~outside[labels], pixel_mm) <= JOINED_MM + 0.5
    return organs


def _grown(firm: Mask, near: Mask, zone: Mask, pixel_mm: tuple[float, float]) -> Mask:
    """The parts of `zone` whose firm inside comes `near`."""
    labels, count = ndimage.label(firm)
    kept = np.bincount(labels[near], minlength=count + 1) > 0
    kept[0] = False
    if not kept.any():
        return np.zeros_like(zone)
    muscle: Mask = zone & (ndimage.distance_transform_edt(~kept[labels], pixel_mm) <= STRAND_MM + 0.5)
    return muscle


def _away_from_air(calm: Plane, trunk: Mask) -> Mask:
    """Without the pixels beside air, where the blur looks like fat."""
    away: Mask = ~ndimage.binary_dilation(np.less(calm, -300) | ~trunk)
    return away
