"""What a perfect measurement of the phantom would find, counted while it is drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ai_engine.phantom.anatomy import EMPHYSEMA_HU
from ai_engine.phantom.calcium import Plaque
from ai_engine.phantom.trees import Ball

SIDES = ("right", "left")
ZONES = ("lower", "middle", "upper")  # thirds of a lung's height, from its base
LEAST_AREA_MM2 = 100.0  # of lung on a slice that counts for its height


@dataclass(frozen=True, slots=True)
class ZoneTruth:
    """A third of one lung's height."""

    side: str
    zone: str
    volume_ml: float
    emphysema_percent: float


@dataclass(frozen=True, slots=True)
class SliceTruth:
    """Parenchyma of one slice, per side (right, left): voxels and destroyed ones; sum of HU of both."""

    voxels: tuple[int, int]
    destroyed: tuple[int, int]
    hu_sum: float

    @classmethod
    def nothing(cls) -> "SliceTruth":
        """Of a slice without lung."""
        return cls((0, 0), (0, 0), 0.0)

    @classmethod
    def of(
        cls, hu: NDArray[np.float32], aerated: NDArray[np.bool_], on_right: NDArray[np.bool_]
    ) -> "SliceTruth":
        """Of a slice's lung voxels: their HU, which are parenchyma, which lie on the right."""
        destroyed = (hu == EMPHYSEMA_HU) & aerated
        sides = (aerated & on_right, aerated & ~on_right)
        return cls(
            (int(sides[0].sum()), int(sides[1].sum())),
            (int((destroyed & on_right).sum()), int((destroyed & ~on_right).sum())),
            float(hu[aerated].sum(dtype=np.float64)),
        )


@dataclass(frozen=True, slots=True)
class PhantomTruth:
    """Densities are of parenchyma without vessels and bronchi, before noise."""

    right_lung_ml: float
    left_lung_ml: float
    emphysema_percent: float
    mean_parenchyma_hu: float
    nodules: tuple[Ball, ...] = ()
    zones: tuple[ZoneTruth, ...] = ()
    plaques: tuple[Plaque, ...] = ()
    l3_z_mm: float | None = None  # middle of the third lumbar vertebra

    @property
    def lungs_ml(self) -> float:
        """Both lungs."""
        return self.right_lung_ml + self.left_lung_ml

    @property
    def calcium_mm3(self) -> float:
        """Of the coronary plaques."""
        return sum(plaque.volume_mm3 for plaque in self.plaques if plaque.coronary)

    @property
    def agatston(self) -> float:
        """Of the coronary plaques, from their true shapes."""
        return sum(plaque.agatston for plaque in self.plaques if plaque.coronary)


def truth_of(
    labels: NDArray[np.uint8], spacing_mm: tuple[float, float, float], counted: Sequence[SliceTruth]
) -> PhantomTruth:
    """The truth of a drawn phantom; in `labels` 1 is the right lung, 2 the left one."""
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    pixels = np.stack([(labels == side).sum(axis=(1, 2)) for side in (1, 2)])
    voxels = np.array([each.voxels for each in counted]).T
    destroyed = np.array([each.destroyed for each in counted]).T
    right, left = (pixels.sum(axis=1) * voxel_ml).tolist()
    return PhantomTruth(
        right_lung_ml=right,
        left_lung_ml=left,
        emphysema_percent=float(100 * destroyed.sum() / voxels.sum()),
        mean_parenchyma_hu=sum(each.hu_sum for each in counted) / int(voxels.sum()),
        zones=tuple(
            _zone((side, zone), pixels[side] * voxel_ml, spacing_mm[0], voxels[side], destroyed[side])
            for side in range(len(SIDES))
            for zone in range(len(ZONES))
        ),
    )


def _zone(
    which: tuple[int, int],
    millilitres: NDArray[np.float64],
    slice_mm: float,
    voxels: NDArray[np.int64],
    destroyed: NDArray[np.int64],
) -> ZoneTruth:
    """`which` side and zone; the other arguments are of that side, per slice."""
    side, zone = which
    occupied = np.flatnonzero(millilitres * 1000 / slice_mm >= LEAST_AREA_MM2)
    bounds = np.rint(np.linspace(occupied[0], occupied[-1] + 1, len(ZONES) + 1)).astype(int)
    bounds[0], bounds[-1] = 0, len(millilitres)
    at = slice(int(bounds[zone]), int(bounds[zone + 1]))
    share = 100 * destroyed[at].sum() / max(1, voxels[at].sum())
    return ZoneTruth(SIDES[side], ZONES[zone], float(millilitres[at].sum()), float(share))
