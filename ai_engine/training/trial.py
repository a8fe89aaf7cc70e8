"""A model tried on generated scans the way it is run: what is there, and what it says.

Records are JSON, so that figures can be made from them again: per scan its seed and population, `nodules`
(kind, place, diameter_mm, centre_lps_mm; of the detection that overlaps it most dice and volume_error) and
`detections` (centre_lps_mm, probability, uncertainty, side), of which none means that nothing was likely
enough.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.bundles.lung_nodule_ct.scripts.detect import Settings, detect, look
from ai_engine.bundles.lung_nodule_ct.scripts.grid import lung_box
from ai_engine.bundles.lung_nodule_ct.scripts.network import Networks
from ai_engine.bundles.lung_nodule_ct.scripts.orientation import orientation_of
from ai_engine.evaluation.overlap import dice, relative_volume_error
from ai_engine.phantom.chest import LEFT, RIGHT, PhantomSpec, make_phantom
from ai_engine.phantom.nodule_scans.nodules import Nodule
from ai_engine.phantom.nodule_scans.population import POPULATIONS
from ai_engine.phantom.nodule_scans.scan import make_scan
from ai_engine.training.cases import workers

Json = Any
SPHERES = "spheres"


def tried(
    models: Path, settings: Settings | None, wanted: Sequence[tuple[str, int]], processes: int
) -> Iterator[Json]:
    """The record of each (population, seed), in their order.

    `settings` None: nothing is calibrated yet. Detections then have `evidence` in place of a probability.
    """
    with workers(processes) as executor:
        yield from executor.map(_try_one, *zip(*((models, settings, *one) for one in wanted), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """A scan with its truth: `numbers` is n at the voxels of nodule n - 1."""

    voxels: NDArray[np.int16]
    affine: NDArray[np.float64]
    numbers: NDArray[np.uint8]
    nodules: Sequence["Nodule | Sphere"]


@dataclass(frozen=True, slots=True)
class Sphere:
    """What is known of a nodule of `ai_engine.phantom.chest`."""

    diameter_mm: float
    kind: str = "solid"
    place: str = "anywhere"


def sample(population: str, seed: int) -> Sample:
    """A scan of a population; of "spheres" one of the other generator, every second with nodules."""
    if population == SPHERES:
        return _with_spheres(seed)
    scan = make_scan(POPULATIONS[population], seed)
    return Sample(scan.voxels, scan.geometry.affine, scan.nodule_numbers, scan.nodules)


def _with_spheres(seed: int) -> Sample:
    spec = PhantomSpec(seed=seed, slices=120, rows=400, columns=400, nodule_count=3 * (seed % 2))
    phantom = make_phantom(spec, "1.2", threads=1)
    numbers = np.zeros(phantom.voxels.shape, np.uint8)
    to_index = np.linalg.inv(phantom.geometry.affine)
    z, y, x = (np.arange(size) for size in (spec.slices, spec.rows, spec.columns))
    grid = z[:, None, None], y[None, :, None], x[None, None, :]
    lungs = np.isin(phantom.truth_labels, (RIGHT, LEFT))
    spheres: list[Sphere] = []
    for ball in phantom.truth.nodules:
        at = (to_index @ [*ball.centre_mm, 1.0])[:3]
        squares = [
            ((axis - middle) * spacing / ball.radius_mm) ** 2
            for axis, middle, spacing in zip(grid, at, spec.spacing_mm, strict=True)
        ]
        inside = (squares[0] + squares[1] + squares[2] <= 1) & lungs
        if inside.any():
            spheres.append(Sphere(2 * ball.radius_mm))
            numbers[inside] = len(spheres)
    return Sample(phantom.voxels, phantom.geometry.affine, numbers, spheres)


def _try_one(models: Path, settings: Settings | None, population: str, seed: int) -> Json:
    scan = sample(population, seed)
    networks = Networks(models)
    if settings is None:
        record = {"nodules": _nodules(scan, None), "detections": list(_evidence(scan, networks))}
    else:
        record = record_of(scan, detect(scan.voxels, scan.affine, settings, networks))
    return {"population": population, "seed": seed, **record}


def _evidence(scan: Sample, networks: Networks) -> Iterator[Json]:
    """The candidates of a scan with what speaks for them, the mean of their views."""
    orientation = orientation_of(scan.affine)
    assert orientation is not None
    box = lung_box(orientation.to_canonical(scan.voxels), orientation)
    for each in look(box, networks, mirrored=True) if box else ():
        canonical = [box.canonical(axis, at) for axis, at in enumerate(each.candidate.centre)] if box else []
        index = orientation.source_index(np.array(canonical), scan.voxels.shape)
        yield {
            "centre_lps_mm": _position(scan.affine, index),
            "evidence": [round(float(value), 4) for value in each.evidence.mean(axis=0)],
        }


def record_of(scan: Sample, said: Json) -> Json:
    """Truth and answer of one scan."""
    affine = scan.affine
    detections = [
        {
            "centre_lps_mm": _position(affine, each["center"]),
            "probability": round(each["probability"], 5),
            "uncertainty": None if each["uncertainty"] is None else round(each["uncertainty"], 4),
            "side": each["side"],
        }
        for each in said["detections"]
    ]
    return {"nodules": _nodules(scan, said["labels"]), "detections": detections}


def _nodules(scan: Sample, labels: NDArray[np.uint8] | None) -> list[Json]:
    return [_nodule(scan, labels, number) for number in range(1, len(scan.nodules) + 1)]


def _nodule(scan: Sample, labels: NDArray[np.uint8] | None, number: int) -> Json:
    nodule = scan.nodules[number - 1]
    there = scan.numbers == number
    record: Json = {
        "kind": nodule.kind,
        "place": nodule.place,
        "diameter_mm": round(nodule.diameter_mm, 2),
        "centre_lps_mm": _position(scan.affine, np.argwhere(there).mean(axis=0)),
    }
    hits = np.bincount(labels[there], minlength=1) if labels is not None else np.zeros(1, int)
    hits[0] = 0
    if labels is not None and hits.any():
        drawn = labels == hits.argmax()
        record["dice"] = round(dice(drawn, there) or 0.0, 4)
        record["volume_error"] = round(relative_volume_error(drawn, there) or 0.0, 4)
    return record


def _position(affine: NDArray[np.float64], index: Sequence[float] | NDArray[np.float64]) -> list[float]:
    return [round(float(value), 2) for value in (affine @ [*index, 1.0])[:3]]
