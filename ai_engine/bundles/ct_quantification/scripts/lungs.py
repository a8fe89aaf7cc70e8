"""Right and left lung: aerated tissue inside the body that is neither airway nor gas in stomach or bowel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from .body import IN_PLANE
from .grid import Coarse

AERATED_HU = -400
PLAIN_GAS_HU = -950  # a region whose core has a darker median is gas in a hollow organ,
GAS_HU = -930  # or this dark and nowhere lighter than
GAS_LIGHTEST_HU = -880  # for lung, however destroyed, holds vessels and spared tissue
GAS_LIGHTEST_PERCENTILE = 90
SMALLEST_PIECE_ML = 1.0
SURELY_LUNG_ML = 500.0  # a smaller region must reach the uppermost slice to be the base of a lung
SHARE_OF_A_SIDE = 0.15  # of a region that lies on its lesser side, above which it is two lungs that touch
SPLIT_RADII_MM = (2.5, 5.0, 7.5, 10.0, 15.0, 20.0)
VESSEL_MM = 6.0  # half the width of the vessels that closing takes into the lung

RIGHT, LEFT = 1, 2


@dataclass(frozen=True)
class Piece:
    """A connected aerated region that is lung."""

    number: int
    volume_ml: float
    lowest: int  # slices, canonical
    highest: int


def find_lungs(coarse: Coarse, body: NDArray[np.bool_], airways: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """RIGHT and LEFT on the coarse grid with the vessels inside them, 0 elsewhere."""
    aerated = (coarse.voxels < AERATED_HU) & body & ~airways
    labels, count = ndimage.label(aerated)
    pieces = _lung_pieces(coarse, labels, count)
    if not pieces:
        return np.zeros(body.shape, np.uint8)
    midline = float(np.flatnonzero(body.any(axis=(0, 1))).mean())
    lungs = np.zeros(body.shape, np.uint8)
    boxes = ndimage.find_objects(labels)
    for piece in pieces:
        box = boxes[piece.number - 1]
        region = labels[box] == piece.number
        lungs[box][region] = _sides(region, midline - box[2].start, coarse.spacing_mm)[region]
    return _closed(lungs, coarse, body & ~airways)


def _lung_pieces(coarse: Coarse, labels: NDArray[np.int32], count: int) -> list[Piece]:
    """The regions that are lung, largest first."""
    volumes = np.bincount(labels.ravel(), minlength=count + 1) * coarse.voxel_ml
    volumes[0] = 0
    boxes = ndimage.find_objects(labels)
    pieces = [
        Piece(int(number), float(volumes[number]), boxes[number - 1][0].start, boxes[number - 1][0].stop - 1)
        for number in np.argsort(-volumes)
        if volumes[number] >= SMALLEST_PIECE_ML
        and not _is_gas(coarse, labels, int(number), boxes[number - 1])
    ]
    top = len(labels) - 1
    main = next(
        (piece for piece in pieces if piece.volume_ml >= SURELY_LUNG_ML or piece.highest == top), None
    )
    return [piece for piece in pieces if main and _beside(piece, main)]


def _beside(piece: Piece, main: Piece) -> bool:
    """Whether at least half of the height of a piece lies level with the main one: bowel lies below."""
    shared = min(piece.highest, main.highest) - max(piece.lowest, main.lowest) + 1
    return shared * 2 >= piece.highest - piece.lowest + 1


def _is_gas(coarse: Coarse, labels: NDArray[np.int32], number: int, box: tuple[slice, ...]) -> bool:
    """Whether the inside of a region, away from its wall, is plain gas; the whole of it when it is thin."""
    region = labels[box] == number
    core = ndimage.binary_erosion(region, IN_PLANE, iterations=2)
    values = coarse.voxels[box][core if core.any() else region]
    middle, light = np.percentile(values, (50, GAS_LIGHTEST_PERCENTILE))
    return bool(middle < PLAIN_GAS_HU or (middle < GAS_HU and light < GAS_LIGHTEST_HU))


def _sides(
    region: NDArray[np.bool_], midline: float, spacing_mm: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """RIGHT or LEFT for every voxel of a region; +x is the patient's left."""
    on_left = np.arange(region.shape[2]) > midline
    share_left = region[:, :, on_left].sum() / region.sum()
    if share_left >= 1 - SHARE_OF_A_SIDE or share_left <= SHARE_OF_A_SIDE:
        return np.full(region.shape, LEFT if share_left > 0.5 else RIGHT, np.uint8)
    return _split(region, on_left, spacing_mm)


def _split(
    region: NDArray[np.bool_], on_left: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> NDArray[np.uint8]:
    """Two touching lungs parted: cores that come apart under erosion, and each voxel to its nearest core."""
    depth_mm = ndimage.distance_transform_edt(region, spacing_mm)
    for radius in SPLIT_RADII_MM:
        cores, count = ndimage.label(depth_mm > radius)
        if count < 2:
            continue
        first, second = (np.argsort(-np.bincount(cores.ravel())[1:])[:2] + 1).tolist()
        shares = [(cores[:, :, on_left] == core).sum() / (cores == core).sum() for core in (first, second)]
        if min(shares) < 0.3 and max(shares) > 0.7:
            left, right = (first, second) if shares[0] > shares[1] else (second, first)
            seeds = (cores != left) & (cores != right)
            nearest = ndimage.distance_transform_edt(
                seeds, spacing_mm, return_distances=False, return_indices=True
            )
            return np.where(cores[tuple(nearest)] == left, LEFT, RIGHT).astype(np.uint8)
    return np.broadcast_to(np.where(on_left, LEFT, RIGHT).astype(np.uint8), region.shape)


def _closed(lungs: NDArray[np.uint8], coarse: Coarse, allowed: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Each lung with its vessels; where the two would overlap, a voxel stays what it was.

    Holes are closed in three dimensions: in a single slice the dome of the diaphragm is a hole too.
    """
    steps = max(1, round(VESSEL_MM / coarse.spacing_mm[1]))
    closed = lungs.copy()
    for side in (RIGHT, LEFT):
        filled = ndimage.binary_fill_holes(ndimage.binary_closing(lungs == side, IN_PLANE, iterations=steps))
        closed[filled & allowed & (closed == 0)] = side
    return closed
