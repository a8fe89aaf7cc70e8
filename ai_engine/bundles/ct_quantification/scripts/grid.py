"""A coarse copy of the volume, about 2 mm wide, on which the masks are found."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .orientation import Orientation

COARSE_MM = 2.0
Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Coarse:
    """Block means, float32 HU, with axes as the canonical volume; a last block is filled up by repetition."""

    voxels: NDArray[np.float32]
    factors: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def pixel_mm2(self) -> float:
        """Area of one coarse pixel within a slice."""
        return self.spacing_mm[1] * self.spacing_mm[2]

    @property
    def voxel_ml(self) -> float:
        """Volume of one coarse voxel; of a tilted stack it is an estimate."""
        return float(np.prod(self.spacing_mm)) / 1000

    def fine_slice(
        self, mask: NDArray[np.generic], index: int, shape: tuple[int, int]
    ) -> NDArray[np.generic]:
        """The pixels of canonical slice `index` of a coarse mask, at full resolution."""
        plane = mask[index // self.factors[0]]
        fine: NDArray[np.generic] = plane.repeat(self.factors[1], 0).repeat(self.factors[2], 1)
        return fine[: shape[0], : shape[1]]


@dataclass(frozen=True)
class Scene:
    """What every later step looks at, in canonical orientation."""

    voxels: NDArray[np.generic]  # full resolution, HU
    coarse: Coarse
    body: NDArray[np.bool_]  # coarse
    band: NDArray[np.bool_]  # coarse pixels along the inside of the field's edge
    orientation: Orientation


def coarsen(voxels: NDArray[np.generic], spacing_mm: tuple[float, float, float]) -> Coarse:
    """Means over blocks that make voxels about COARSE_MM wide; never finer than the source."""
    fz, fy, fx = (max(1, round(COARSE_MM / spacing)) for spacing in spacing_mm)
    depth, rows, columns = (
        -(-size // factor) for size, factor in zip(voxels.shape, (fz, fy, fx), strict=True)
    )
    coarse = np.empty((depth, rows, columns), np.float32)
    missing = ((0, rows * fy - voxels.shape[1]), (0, columns * fx - voxels.shape[2]))
    for at in range(depth):
        slab = voxels[at * fz : (at + 1) * fz].astype(np.float32).mean(axis=0)
        blocks = np.pad(slab, missing, mode="edge").reshape(rows, fy, columns, fx)
        coarse[at] = blocks.mean(axis=3).mean(axis=1)
    return Coarse(coarse, (fz, fy, fx), (spacing_mm[0] * fz, spacing_mm[1] * fy, spacing_mm[2] * fx))


def around(mask: NDArray[np.bool_], margin: int) -> Box:
    """The box of a mask that is not empty, with a margin in voxels."""
    slices = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        occupied = np.flatnonzero(mask.any(axis=others))
        slices.append(
            slice(max(0, int(occupied[0]) - margin), min(mask.shape[axis], int(occupied[-1]) + 1 + margin))
        )
    return slices[0], slices[1], slices[2]
