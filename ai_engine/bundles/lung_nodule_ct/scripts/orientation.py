"""The stack seen in one fixed orientation, whatever way it was acquired.

Canonical axes: 0 towards the head (+z), 1 towards the back (+y), 2 towards the patient's left (+x), LPS.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T", bound=np.generic)
AXIAL_COSINE = 0.8  # slices tilted further than 37 degrees from axial are not read as axial


@dataclass(frozen=True)
class Orientation:
    """How to turn source axes (slice, row, column) into canonical ones and back."""

    order: tuple[int, int, int]  # source axis of each canonical axis
    flipped: tuple[int, ...]  # canonical axes that run against their source axis
    spacing_mm: tuple[float, float, float]  # along canonical axes
    voxel_mm3: float

    def to_canonical(self, array: NDArray[T]) -> NDArray[T]:
        """A view of `array` in canonical orientation."""
        return np.flip(array.transpose(self.order), self.flipped)

    def source_index(self, canonical: NDArray[np.floating], shape: tuple[int, ...]) -> tuple[float, ...]:
        """Where a canonical voxel position lies in the source; `shape` is that of the canonical view."""
        index = [0.0, 0.0, 0.0]
        for axis, at in enumerate(canonical):
            index[self.order[axis]] = float(shape[axis] - 1 - at if axis in self.flipped else at)
        return tuple(index)


def orientation_of(affine: NDArray[np.float64]) -> Orientation | None:
    """The orientation of an axial stack, also a tilted or mirrored one; None when it is not axial."""
    axes = np.asarray(affine, np.float64)[:3, :3]
    lengths = np.linalg.norm(axes, axis=0)
    cosines = axes / lengths
    normal = np.cross(cosines[:, 2], cosines[:, 1])
    if abs(cosines[2, 0]) < AXIAL_COSINE or abs(normal[2]) < AXIAL_COSINE:
        return None
    along_y = 1 if abs(cosines[1, 1]) >= abs(cosines[1, 2]) else 2
    order = (0, along_y, 3 - along_y)
    signs = (cosines[2, 0], cosines[1, order[1]], cosines[0, order[2]])
    return Orientation(
        order=order,
        flipped=tuple(axis for axis, sign in enumerate(signs) if sign < 0),
        spacing_mm=(float(lengths[0]), float(lengths[order[1]]), float(lengths[order[2]])),
        voxel_mm3=float(abs(np.linalg.det(axes))),
    )
