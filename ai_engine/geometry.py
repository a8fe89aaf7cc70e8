"""Where voxels lie: the one geometry value of the engine (PS3.3 C.7.6.2, patient coordinates in LPS, mm)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Geometry:
    """The place of an array with axes (slice, row, column) in the patient.

    `affine` is float64, 4×4: it maps (slice, row, column, 1), the centre of a voxel counted from 0, to
    (x, y, z, 1) in LPS mm. Slices are parallel and evenly spaced; a series with gaps has no Geometry.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    frame_of_reference_uid: str

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along (slice, row index, column index)."""
        lengths = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(lengths[0]), float(lengths[1]), float(lengths[2])

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel; holds for sheared (tilted) stacks too."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def tilt_degrees(self) -> float:
        """The angle between the stack and the normal of its slices: that of a tilted gantry; else 0."""
        step, rows, columns = self.affine[:3, :3].T
        normal = np.cross(columns, rows)
        cosine = abs(step @ normal) / (np.linalg.norm(step) * np.linalg.norm(normal))
        return float(np.degrees(np.arccos(min(1.0, cosine))))

    def position_lps_mm(self, slice_row_column: tuple[float, float, float]) -> tuple[float, float, float]:
        """The place of an index, which may lie between voxels."""
        x, y, z, _ = self.affine @ np.array([*slice_row_column, 1.0])
        return float(x), float(y), float(z)
