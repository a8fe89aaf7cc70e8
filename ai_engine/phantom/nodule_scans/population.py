"""The distributions that scans are drawn from: anatomy, scanner and nodules."""

from dataclasses import dataclass, field

import numpy as np

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Scanner:
    """Ranges of what a scanner does; each scan draws its own, evenly."""

    pixel_mm: Range = (0.7, 0.9)
    slice_spacing_mm: Range = (1.0, 2.5)
    thickness: Range = (1.0, 1.25)  # in slice spacings
    blur_mm: Range = (0.35, 0.65)  # sigma within the slice
    sharpening: Range = (0.0, 0.35)  # share of an unsharp mask, as sharp kernels have
    noise_hu: Range = (8.0, 30.0)
    grain_px: Range = (0.5, 0.9)  # sigma of the noise's correlation


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Ranges of the chest's build."""

    scale: Range = (0.80, 1.0)
    depth: Range = (0.92, 1.08)  # front to back, in scales
    fat_mm: Range = (6.0, 18.0)
    dome_mm: Range = (30.0, 52.0)
    base_z_mm: Range = (-112.0, -88.0)
    top_z_mm: Range = (108.0, 128.0)
    heart: Range = (0.88, 1.12)
    vessel_mm: Range = (3.2, 4.6)  # radius of a lobe's vessel at the hilum
    parenchyma_hu: Range = (-885.0, -835.0)
    texture_hu: Range = (10.0, 35.0)
    branchings: int = 8
    twigs: tuple[int, int] = (60, 140)  # small vessels of their own
    scars: int = 2  # at most: flat bands
    plaques: int = 3  # at most: flat thickenings of the pleura


@dataclass(frozen=True, slots=True)
class NoduleMix:
    """How many nodules of which kinds and sizes."""

    positive_share: float = 0.5
    count: tuple[int, int] = (1, 4)
    diameter_mm: Range = (4.0, 30.0)  # the logarithm is even
    kinds: tuple[tuple[str, float], ...] = (("solid", 0.5), ("part-solid", 0.2), ("ground-glass", 0.3))
    juxtapleural_share: float = 0.3
    juxtavascular_share: float = 0.15
    lobulation: Range = (0.0, 0.16)
    elongation: Range = (1.0, 1.45)
    spiculated_share: float = 0.3  # of solid and part-solid ones of at least 8 mm
    solid_hu: Range = (20.0, 60.0)
    ground_glass_hu: Range = (-650.0, -450.0)


@dataclass(frozen=True, slots=True)
class Population:
    """Where a scan comes from."""

    name: str
    scanner: Scanner = field(default_factory=Scanner)
    anatomy: Anatomy = field(default_factory=Anatomy)
    nodules: NoduleMix = field(default_factory=NoduleMix)


STANDARD = Population("standard")
CROWDED = Population("crowded", nodules=NoduleMix(positive_share=0.85, count=(6, 12)))  # to learn from
SHIFTED = Population(
    "shifted",
    Scanner(
        pixel_mm=(0.6, 1.0),
        slice_spacing_mm=(0.8, 3.0),
        thickness=(1.0, 1.6),
        blur_mm=(0.3, 0.9),
        sharpening=(0.3, 0.8),
        noise_hu=(25.0, 45.0),
        grain_px=(0.4, 1.3),
    ),
    Anatomy(
        scale=(0.74, 1.06),
        depth=(0.82, 1.16),
        dome_mm=(20.0, 60.0),
        vessel_mm=(2.8, 5.4),
        parenchyma_hu=(-915.0, -790.0),
        texture_hu=(25.0, 60.0),
        scars=5,
        plaques=6,
    ),
    NoduleMix(
        lobulation=(0.1, 0.25), elongation=(1.0, 1.9), solid_hu=(0.0, 120.0), ground_glass_hu=(-720.0, -420.0)
    ),
)
POPULATIONS = {population.name: population for population in (STANDARD, CROWDED, SHIFTED)}


def draw(rng: np.random.Generator, between: Range) -> float:
    """An even draw from a range."""
    return float(rng.uniform(*between))
