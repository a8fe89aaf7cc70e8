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


def find_region(coarse: NDArray[np.float32], spacing_mm: Spacing) -> Mask:
    """The region to search on the coarse grid (canonical axes); empty when there is no lung."""
    body = _body(coarse, spacing_mm)
    lungs = np.zeros(coarse.shape, bool)
    labels, count = ndimage.label((coarse < AERATED_HU) & body)
    volumes = np.bincount(labels.ravel(), minlength=count + 1) * float(np.prod(spacing_mm)) / 1000
    for number, box in enumerate(ndimage.find_objects(labels), 1):
        if volumes[number] >= SMALLEST_PIECE_ML:
            piece = labels[box] == number
            if np.median(coarse[box][piece]) > PLAIN_GAS_HU:
                lungs[box] |= piece
    return _closed(lungs, spacing_mm) & body if lungs.any() else lungs


def _body(coarse: NDArray[np.float32], spacing_mm: Spacing) -> Mask:
    """The filled trunk."""
    dense = coarse > DENSE_HU
    steps = max(1, round(TABLE_MM / spacing_mm[1]))
    labels, count = ndimage.label(ndimage.binary_erosion(dense, IN_PLANE, iterations=steps))
    if not count:
        return np.zeros(dense.shape, bool)
    largest = labels == np.argmax(np.bincount(labels.ravel())[1:]) + 1
    body = ndimage.binary_dilation(largest, IN_PLANE, iterations=steps + 1, mask=dense)
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body])


def _closed(lungs: Mask, spacing_mm: Spacing) -> Mask:
    """Closing with a ball, then a little more; by distances, because the ball is large."""
    pad = [int(np.ceil((CLOSED_MM + AROUND_MM) / spacing)) + 1 for spacing in spacing_mm]
    padded = np.pad(lungs, [(size, size) for size in pad])
    near = ndimage.distance_transform_edt(~padded, spacing_mm) <= CLOSED_MM
    closed = ndimage.distance_transform_edt(near, spacing_mm) > CLOSED_MM - AROUND_MM
    inner = tuple(slice(size, size + whole) for size, whole in zip(pad, lungs.shape, strict=True))
    result: Mask = closed[inner] | lungs
    return result
