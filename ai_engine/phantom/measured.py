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


def truth_of(labels: NDArray[np.uint8], voxel_ml: float, counted: Sequence[SliceTruth]) -> PhantomTruth:
    """The truth of a drawn phantom; in `labels` 1 is the right lung, 2 the left one."""
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
            _zone(side, zone, pixels[side] * voxel_ml, voxels[side], destroyed[side])
            for side in range(len(SIDES))
            for zone in range(len(ZONES))
        ),
    )


def _zone(
    side: int,
    zone: int,
    millilitres: NDArray[np.float64],
    voxels: NDArray[np.int64],
    destroyed: NDArray[np.int64],
) -> ZoneTruth:
    occupied = np.flatnonzero(millilitres)
    low, high = int(occupied[0]), int(occupied[-1]) + 1
    bounds = np.rint(np.linspace(low, high, len(ZONES) + 1)).astype(int)
    at = slice(int(bounds[zone]), int(bounds[zone + 1]))
    share = 100 * destroyed[at].sum() / max(1, voxels[at].sum())
    return ZoneTruth(SIDES[side], ZONES[zone], float(millilitres[at].sum()), float(share))
