"""Where nodules are looked for: aerated lung with what it encloses, and a little of its surroundings."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Mask = NDArray[np.bool_]
COARSE_MM = 3.0
DENSE_HU, AERATED_HU, PLAIN_GAS_HU = -300, -400, -955
TABLE_MM = 4.0
SMALLEST_PIECE_ML = 20.0
CLOSED_MM = 13.0  # radius of what is taken into the lung: nodules at its surface, vessels
AROUND_MM = 3.0
RIM_MM = 8.0  # of the field of view: trunk that reaches into it may be cut off
WHOLE_SHARE = 0.3  # of the slices that must show the trunk from side to side before its middle is known
IN_PLANE = ndimage.generate_binary_structure(3, 1) & np.array([[[0]], [[1]], [[0]]], bool)
Spacing = tuple[float, float, float]


def block_means(voxels: NDArray[np.generic], factors: tuple[int, int, int]) -> NDArray[np.float32]:
    """Means over blocks; what is left over at the ends of rows and columns is dropped, of slices kept."""
    fz, fy, fx = factors
    rows, columns = voxels.shape[1] // fy, voxels.shape[2] // fx
    coarse = np.empty((-(-len(voxels) // fz), rows, columns), np.float32)
    for at in range(len(coarse)):
        slab = voxels[at * fz : (at + 1) * fz, : rows * fy, : columns * fx]
        plane = slab.sum(axis=0, dtype=np.float32) / np.float32(len(slab))
        coarse[at] = plane.reshape(rows, fy, columns, fx).mean(axis=(1, 3))
    return coarse


def coarse_factors(spacing_mm: Spacing) -> tuple[int, int, int]:
    """How many voxels make one coarse voxel along each axis."""
    z, y, x = (max(1, round(COARSE_MM / spacing)) for spacing in spacing_mm)
    return z, y, x


def find_region(coarse: NDArray[np.float32], body: Mask, spacing_mm: Spacing) -> Mask:
    """The region to search on the coarse grid (canonical axes), within the trunk; empty without a lung."""
    lungs = np.zeros(coarse.shape, bool)
    labels, count = ndimage.label((coarse < AERATED_HU) & body)
    volumes = np.bincount(labels.ravel(), minlength=count + 1) * float(np.prod(spacing_mm)) / 1000
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if volumes[number] >= SMALLEST_PIECE_ML:
            piece = labels[box] == number
            if np.median(coarse[box][piece]) > PLAIN_GAS_HU:
                lungs[box] |= piece
    return _closed(lungs, spacing_mm) & body if lungs.any() else lungs


def find_trunk(coarse: NDArray[np.float32], spacing_mm: Spacing) -> Mask:
    """The trunk on the coarse grid (canonical axes), filled."""
    dense = coarse > DENSE_HU
    steps = max(1, round(TABLE_MM / spacing_mm[1]))
    labels, count = ndimage.label(ndimage.binary_erosion(dense, IN_PLANE, iterations=steps))
    if not count:
        return np.zeros(dense.shape, bool)
    largest = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    body = ndimage.binary_dilation(largest, IN_PLANE, iterations=steps + 1, mask=dense)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body])


def midline_of(body: Mask, spacing_mm: Spacing) -> float | None:
    """The column in the middle of the trunk; None when the field of view cuts it off at the sides too often.

    Of the trunk, not of the lungs: these lie unevenly when one is white, removed or cut off.
    """
    seen = _well_inside(body.shape[1:], spacing_mm)
    middles = []
    for plane in body:
        columns = np.flatnonzero(plane.any(axis=0))
        if len(columns) and all(seen[plane[:, at], at].all() for at in columns[[0, -1]]):
            middles.append((columns[0] + columns[-1]) / 2)
    return float(np.median(middles)) if len(middles) > WHOLE_SHARE * len(body) else None


def _well_inside(shape: tuple[int, ...], spacing_mm: Spacing) -> Mask:
    """Which voxels of a slice lie inside the circle that a scanner reconstructs, and not at its rim.

    What lies beyond it is padding, which looks like air: a trunk that reaches the rim may go on behind it.
    """
    y, x = (
        (np.arange(size) - (size - 1) / 2) * step for size, step in zip(shape, spacing_mm[1:], strict=True)
    )
    radius = max(shape[0] * spacing_mm[1], shape[1] * spacing_mm[2]) / 2
    inside: Mask = np.hypot(y[:, None], x) < radius - RIM_MM
    inside[:, [0, -1]] = False
    return inside


def _closed(lungs: Mask, spacing_mm: Spacing) -> Mask:
    """Closing with a ball, then a little more; by distances, because the ball is large."""
    pad = [int(np.ceil((CLOSED_MM + AROUND_MM) / spacing)) + 1 for spacing in spacing_mm]
    padded = np.pad(lungs, [(size, size) for size in pad])
    near = ndimage.distance_transform_edt(~padded, spacing_mm) <= CLOSED_MM
    closed = ndimage.distance_transform_edt(near, spacing_mm) > CLOSED_MM - AROUND_MM
    inner = tuple(slice(size, size + whole) for size, whole in zip(pad, lungs.shape, strict=True))
    result: Mask = closed[inner] | lungs
    return result
