"""How exact CT quantification is, on generated phantoms whose truth is known.

    python -m tests.benchmarks.ct_quantification [--seeds 10] [--only NAME]

Prints the tables of docs/models/ct-quantification.md: one for each way of scanning, over all seeds. The seeds
are those of no test, and nothing was tuned on them.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ai_engine.bundle import SHIPPED_BUNDLES
from ai_engine.bundles.ct_quantification.scripts.calcium import CALCIUM
from ai_engine.bundles.ct_quantification.scripts.lungs import LEFT, RIGHT
from ai_engine.bundles.ct_quantification.scripts.measure import EMPHYSEMA_HU, PARENCHYMA_HU
from ai_engine.bundles.ct_quantification.scripts.quantify import run
from ai_engine.bundles.ct_quantification.scripts.refine import AIRWAYS
from ai_engine.phantom import lumbar
from ai_engine.phantom.chest import Phantom, PhantomSpec, make_phantom

FIRST_SEED = 5001
WHOLE = PhantomSpec(below_mm=150.0, bronchus_generations=5, emphysema_rise=1.5)
SCANS = {  # slices apart, pixels, noise asked for
    "3 mm, 1 mm, 16 HU": replace(WHOLE, slices=150, rows=384, columns=384),
    "5 mm, 0.75 mm, 10 HU": replace(WHOLE, slices=90, noise_hu=10.0),
    "2.5 mm, 0.75 mm, 35 HU": replace(WHOLE, slices=180, noise_hu=35.0),
    "1.5 mm, 0.75 mm, 16 HU": replace(WHOLE, slices=300),
}
L3_TISSUES = {
    "l3_muscle_area": lumbar.MUSCLE,
    "l3_subcutaneous_fat_area": lumbar.SUBCUTANEOUS_FAT,
    "l3_visceral_fat_area": lumbar.VISCERAL_FAT,
}


@dataclass(frozen=True)
class Measured:
    """One phantom: errors by name; what was not measured is missing."""

    errors: Mapping[str, float]
    seconds: float


def specification(seed: int, scan: PhantomSpec) -> PhantomSpec:
    """Of each seed another share of emphysema and number of plaques, the same for every scan."""
    rng = np.random.default_rng([seed, 9])
    return replace(
        scan, seed=seed, emphysema_share=float(rng.uniform(0, 0.3)), plaque_count=int(rng.integers(0, 12))
    )


def measure(phantom: Phantom, parameters: Mapping[str, float | str]) -> Measured:
    """Run the model on a phantom and compare."""
    began = time.process_time()
    result = run(phantom.voxels, phantom.geometry.affine, parameters)
    seconds = time.process_time() - began
    values = {each["name"]: each for each in result["values"]}
    errors = {**of_lungs(phantom, result["labels"], values), **of_zones(phantom, values)}
    errors.update(of_calcium(phantom, result["labels"], values))
    errors.update(of_l3(phantom, values))
    return Measured(errors, seconds)


def of_lungs(phantom: Phantom, labels: np.ndarray, values: Mapping[str, Any]) -> dict[str, float]:
    """Dice, volumes in percent, LAA-950 in points, and what of the airways was found and wrongly so."""
    truth = phantom.truth_labels
    found, real = labels == AIRWAYS, truth == AIRWAYS
    aerated = phantom.voxels[((truth == RIGHT) | (truth == LEFT)) & (phantom.voxels <= PARENCHYMA_HU)]
    within = 100 * float((aerated < EMPHYSEMA_HU).mean())
    return {
        "Dice right": dice(labels == RIGHT, truth == RIGHT),
        "Dice left": dice(labels == LEFT, truth == LEFT),
        "volume right": percent(values, "lung_volume_right", phantom.truth.right_lung_ml),
        "volume left": percent(values, "lung_volume_left", phantom.truth.left_lung_ml),
        "LAA-950": values["laa950_total"]["value"] - phantom.truth.emphysema_percent,
        "LAA-950, within the true lungs": values["laa950_total"]["value"] - within,
        "airways found": 100 * float((found & real).sum() / real.sum()),
        "airways wrong": 100 * float((found & ~real).sum() / max(1, found.sum())),
    }


def of_zones(phantom: Phantom, values: Mapping[str, Any]) -> dict[str, float]:
    """The zone whose volume (percent) or LAA-950 (points) is furthest off."""
    names = [(f"{zone.side}_{zone.zone}", zone) for zone in phantom.truth.zones]
    volumes = [percent(values, f"zone_volume_{name}", zone.volume_ml) for name, zone in names]
    shares = [values[f"zone_laa950_{name}"]["value"] - zone.emphysema_percent for name, zone in names]
    return {"zone volume": max(volumes, key=abs), "zone LAA-950": max(shares, key=abs)}


def of_calcium(phantom: Phantom, labels: np.ndarray, values: Mapping[str, Any]) -> dict[str, float]:
    """Volume and score in percent; without plaques the score itself, which should be 0."""
    if "calcium_score" not in values:
        return {}
    if not phantom.truth.calcium_mm3:
        return {"score without plaques": values["calcium_score"]["value"]}
    return {
        "calcium volume": percent(values, "calcium_volume", phantom.truth.calcium_mm3),
        "calcium score": percent(values, "calcium_score", phantom.truth.agatston),
        "calcium in lung": float(((labels == CALCIUM) & (phantom.truth_labels > 0)).sum()),
    }


def of_l3(phantom: Phantom, values: Mapping[str, Any]) -> dict[str, float]:
    """Level in mm, areas in percent of the truth on the slice that was measured."""
    if "l3_position" not in values or phantom.truth.l3_z_mm is None or phantom.truth_tissue is None:
        return {}
    tissue = phantom.truth_tissue[values["l3_position"]["slice_index"]]
    pixel_cm2 = phantom.spec.spacing_mm[1] * phantom.spec.spacing_mm[2] / 100
    areas = {
        name: percent(values, name, float((tissue == kind).sum() * pixel_cm2))
        for name, kind in L3_TISSUES.items()
    }
    return {"L3 level": values["l3_position"]["value"] - phantom.truth.l3_z_mm, **areas}


def percent(values: Mapping[str, Any], name: str, truth: float) -> float:
    """By how much a value is off, in percent of the truth."""
    return float(100 * (values[name]["value"] - truth) / truth)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Overlap of two masks."""
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


def rows(measured: Sequence[Measured]) -> Iterator[str]:
    """Lines of figures: median, and from lowest to highest."""
    for name in dict.fromkeys(name for each in measured for name in each.errors):
        found = np.array([each.errors[name] for each in measured if name in each.errors])
        digits = 3 if name.startswith("Dice") else 1
        figures = " | ".join(f"{value:.{digits}f}" for value in (np.median(found), found.min(), found.max()))
        yield f"| {name} | {figures} | {len(found)} |"
    yield f"| CPU s | {np.median([each.seconds for each in measured]):.1f} | | | {len(measured)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--only", default="", help="part of a scan's name")
    options = parser.parse_args()
    manifest = json.loads((SHIPPED_BUNDLES / "ct_quantification" / "isthmus.json").read_text())
    for name, scan in SCANS.items():
        if options.only not in name:
            continue
        measured = []
        for seed in range(FIRST_SEED, FIRST_SEED + options.seeds):
            phantom = make_phantom(specification(seed, scan), "1.2", threads=1)
            measured.append(measure(phantom, manifest["parameters"]))
        print(f"\n{name}\n\n| | median | lowest | highest | of |\n|---|---|---|---|---|")
        print("\n".join(rows(measured)), flush=True)


if __name__ == "__main__":
    main()
