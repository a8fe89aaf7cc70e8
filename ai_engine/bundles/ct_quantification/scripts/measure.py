"""Lung volumes and densities, where the field of view allows them, and the reasons where it does not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .orientation import Orientation
from .refine import HIGHEST_HU, LOWEST_HU, Refined

SIDES = ("right", "left", "total")
LUNG_NAMES = tuple(
    f"{what}_{side}" for what in ("lung_volume", "lung_density", "laa950", "perc15") for side in SIDES
)
COMPOSITION_NAMES = (
    "l3_muscle_area",
    "l3_subcutaneous_fat_area",
    "l3_visceral_fat_area",
    "l3_muscle_density",
)
CALCIUM_NAMES = ("calcium_volume", "calcium_score")
TISSUE_NAMES = ("fat_area", "muscle_area", "trunk_area")
PARENCHYMA_HU = -500  # denser voxels inside a lung are vessels, walls and edges, and no part of its density
EMPHYSEMA_HU = -950
PERCENTILE = 0.15

OUTSIDE = "part of the lung lies outside the field of view"
MISSING_SIDE = "no aerated lung was found on this side"


@dataclass(frozen=True)
class Limits:
    """The manifest's parameters."""

    minimum_lung_ml: float
    cut_area_mm2: float  # lung on the first or last slice, above which it is cut off
    density_slice_spacing_mm: float  # the largest for LAA-950 and Perc15, which noise and blur shift
    calcium_blood_hu: float  # brighter blood holds contrast medium
    calcium_noise_hu: float  # of the slabs on which calcium is counted, at most
    draw_body: bool

    @classmethod
    def of(cls, parameters: Mapping[str, float | str]) -> "Limits":
        """The limits in a manifest's parameters."""
        return cls(
            minimum_lung_ml=float(parameters["minimum_lung_ml"]),
            cut_area_mm2=float(parameters["cut_area_mm2"]),
            density_slice_spacing_mm=float(parameters["density_slice_spacing_mm"]),
            calcium_blood_hu=float(parameters["calcium_blood_hu"]),
            calcium_noise_hu=float(parameters["calcium_noise_hu"]),
            draw_body=bool(float(parameters["draw_body"])),
        )


@dataclass
class Report:
    """What is said at the end."""

    values: list[dict[str, Any]] = field(default_factory=list)
    not_measured: dict[str, str] = field(default_factory=dict)

    def measured(self, name: str, value: float, slice_index: int | None = None) -> None:
        """Add a value."""
        entry: dict[str, Any] = {"name": name, "value": float(value)}
        self.values.append(entry if slice_index is None else {**entry, "slice_index": slice_index})

    def nothing(self, reason: str) -> None:
        """Nothing at all could be measured."""
        self.not_measured.update(dict.fromkeys((*LUNG_NAMES, *CALCIUM_NAMES, *COMPOSITION_NAMES), reason))

    def result(self, labels: NDArray[np.uint8] | None) -> dict[str, Any]:
        """What the runner takes back."""
        drawn = labels is not None and labels.any()
        return {"labels": labels if drawn else None, "values": self.values, "not_measured": self.not_measured}


@dataclass(frozen=True)
class LungField:
    """What of the lungs is in the field of view; slices are canonical."""

    seen: bool  # enough lung to speak of
    whole: bool  # both lungs, from apex to base
    lowest: int = 0
    highest: int = 0
    measured: tuple[bool, bool] = (False, False)  # right, left


def measure_lungs(
    refined: Refined, orientation: Orientation, limits: Limits, report: Report, *, cut_at_side: bool
) -> LungField:
    """Report every lung measure or why there is none."""
    volumes = refined.pixels.sum(axis=1) * orientation.voxel_mm3 / 1000
    total = float(volumes.sum())
    if total < limits.minimum_lung_ml:
        reason = f"less than {limits.minimum_lung_ml:g} ml of aerated lung lies in the field of view"
        report.not_measured.update(dict.fromkeys(LUNG_NAMES, reason))
        return LungField(seen=False, whole=False)
    reasons: list[str | None] = [
        OUTSIDE if cut_at_side else _why_not(side, refined, orientation, limits) for side in (0, 1)
    ]
    both = next((reason for reason in (OUTSIDE, MISSING_SIDE) if reason in reasons), None)
    for side, name, why_not in zip(([0], [1], [0, 1]), SIDES, (*reasons, both), strict=True):
        if why_not:
            report.not_measured.update({each: why_not for each in LUNG_NAMES if each.endswith(f"_{name}")})
            continue
        report.measured(f"lung_volume_{name}", float(volumes[side].sum()))
        _measure_density(refined.histograms[side].sum(axis=(0, 1)), name, orientation, limits, report)
    if both == OUTSIDE:
        report.measured("partial_lung_volume", total)
        report.measured("partial_lung_density", mean_hu(refined.histograms.sum(axis=(0, 1))))
    occupied = np.flatnonzero(refined.pixels.sum(axis=0))
    return LungField(
        seen=True,
        whole=both is None,
        lowest=int(occupied[0]),
        highest=int(occupied[-1]),
        measured=(reasons[0] is None, reasons[1] is None),
    )


def parenchyma_voxels(histogram: NDArray[np.int64]) -> int:
    """How many voxels of a histogram are parenchyma."""
    return int(_parenchyma(histogram).sum())


def mean_hu(histogram: NDArray[np.int64]) -> float:
    """Mean HU of the parenchyma."""
    counts = _parenchyma(histogram)
    return float(counts @ np.arange(LOWEST_HU, PARENCHYMA_HU + 1) / counts.sum())


def laa_percent(histogram: NDArray[np.int64]) -> float:
    """Share of the parenchyma below EMPHYSEMA_HU, in percent."""
    counts = _parenchyma(histogram)
    return float(100 * counts[: EMPHYSEMA_HU - LOWEST_HU].sum() / counts.sum())


def percentile_hu(histogram: NDArray[np.int64], share: float = PERCENTILE) -> float:
    """The HU below or at which `share` of the parenchyma lies."""
    cumulated = np.cumsum(_parenchyma(histogram))
    return float(LOWEST_HU + np.searchsorted(cumulated, share * cumulated[-1]))


def _parenchyma(histogram: NDArray[np.int64]) -> NDArray[np.int64]:
    if len(histogram) != HIGHEST_HU - LOWEST_HU + 1:
        raise ValueError("not a histogram of LOWEST_HU to HIGHEST_HU")
    return histogram[: PARENCHYMA_HU - LOWEST_HU + 1]


def _measure_density(
    histogram: NDArray[np.int64], name: str, orientation: Orientation, limits: Limits, report: Report
) -> None:
    report.measured(f"lung_density_{name}", mean_hu(histogram))
    if orientation.spacing_mm[0] > limits.density_slice_spacing_mm:
        reason = f"slices lie more than {limits.density_slice_spacing_mm:g} mm apart"
        report.not_measured.update({f"laa950_{name}": reason, f"perc15_{name}": reason})
        return
    report.measured(f"laa950_{name}", laa_percent(histogram))
    report.measured(f"perc15_{name}", percentile_hu(histogram))


def _why_not(side: int, refined: Refined, orientation: Orientation, limits: Limits) -> str | None:
    """Why a side's volume would be wrong, or None."""
    pixels = refined.pixels[side]
    if pixels.sum() * orientation.voxel_mm3 / 1000 < limits.minimum_lung_ml:
        return MISSING_SIDE
    allowed = limits.cut_area_mm2 / (orientation.spacing_mm[1] * orientation.spacing_mm[2])
    return OUTSIDE if max(pixels[0], pixels[-1]) > allowed else None
