"""The entry of the bundle: one chest CT in, pulmonary nodules out; the same input gives the same output.

Order: box around the lungs on a grid of 1 mm; a network marks, a classifier judges what is marked, a stricter
network looks again; what is likely enough is drawn and measured at the images' resolution.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidate, cubes, find_candidates
from .grid import GRID_MM, Box, lung_box
from .measure import Drawn, draw
from .network import PATCH, SIDE, Networks, logit, sigmoid
from .orientation import Orientation, orientation_of

NAME = "nodule"
EVIDENCE = ("judged", "marked", "seen_again")
FLIPS = ((2,), (3,), (4,))  # of cubes (n, channel, z, y, x)
MOST_LOOKED_AT = 24  # candidates
NEAR_MIDLINE_MM = 15.0  # where no side is stated
WIDEST_SLICES_MM = 2.5  # apart; the networks have seen no wider ones
EDGE_SHARE = 0.02  # of the first or last slice that is searched region, above which lungs are cut off


@dataclass(frozen=True, slots=True)
class Settings:
    """The manifest's `parameters`."""

    weights: tuple[float, float, float]  # of a candidate's evidence, in the order of `Looked.evidence`
    intercept: float
    least_probability: float  # below it nothing is returned
    mirrored: bool

    @classmethod
    def of(cls, parameters: Mapping[str, float | str]) -> "Settings":
        """Raises KeyError or ValueError on what is missing or no number."""
        if parameters["tta"] not in {"none", "flips"}:
            raise ValueError('tta is neither "none" nor "flips"')
        judged, marked, seen_again = (float(parameters[f"weight_{name}"]) for name in EVIDENCE)
        return cls(
            (judged, marked, seen_again),
            float(parameters["intercept"]),
            float(parameters["least_probability"]),
            parameters["tta"] == "flips",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A candidate with what speaks for it: float64 (views, 3), all logits; the first view is not mirrored.

    Along axis 1: the classifier's, the highest of the marking network, the highest of the strict one.
    """

    candidate: Candidate
    evidence: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A candidate with its calibrated probability, and the deviation of that over its mirrored forms."""

    candidate: Candidate
    probability: float
    uncertainty: float | None


def run(
    voxels: NDArray[np.generic], affine: NDArray[np.float64], parameters: Mapping[str, float | str]
) -> dict[str, Any]:
    """Detect nodules in one volume.

    Args:
        voxels: int16 or float HU with axes (slice, row, column); only read.
        affine: (slice, row, column, 1) to (x, y, z, 1) in LPS mm.
        parameters: of the manifest; see `Settings`.

    Returns:
        "labels": uint8 of the same shape, n at the voxels of detection n; "detections"; "quality";
        "not_measured": the reason when there is nothing to look at.
    """
    return detect(voxels, affine, Settings.of(parameters), _networks())


def detect(
    voxels: NDArray[np.generic], affine: NDArray[np.float64], settings: Settings, networks: Networks
) -> dict[str, Any]:
    """The same with these networks."""
    orientation = orientation_of(affine)
    if orientation is None:
        return _nothing("the slices are not axial")
    canonical = orientation.to_canonical(voxels)
    box = lung_box(canonical, orientation)
    if box is None:
        return _nothing("no lung was found in the images")
    drawn = [
        (each, draw(each.candidate, box, canonical, orientation)) for each in judge(box, settings, networks)
    ]
    labels = np.zeros(voxels.shape, np.uint8)
    detections = _number(drawn, orientation.to_canonical(labels), box, orientation)
    return {
        "labels": labels,
        "values": [],
        "not_measured": {},
        "detections": detections,
        "quality": dict(_quality(box, orientation)),
    }


def judge(box: Box, settings: Settings, networks: Networks) -> list[Judged]:
    """The candidates that are likely enough, the likeliest first."""
    judged = []
    for each in look(box, networks, mirrored=settings.mirrored):
        sums = each.evidence @ settings.weights + settings.intercept
        probability = float(sigmoid(sums.mean()))
        if probability >= settings.least_probability:
            spread = float(sigmoid(sums).std()) if settings.mirrored else None
            judged.append(Judged(each.candidate, probability, spread))
    return sorted(judged, key=lambda each: -each.probability)


def look(box: Box, networks: Networks, *, mirrored: bool) -> list[Looked]:
    """The most promising candidates, each with what speaks for it."""
    probability = sigmoid(networks.logits(box.image)).astype(np.float32)
    found = find_candidates(probability, box.region)
    centres = np.array([each.centre for each in found]).reshape(-1, 3)
    patches = cubes((box.image, probability), centres, PATCH)
    marked = logit(np.array([each.highest for each in found]))
    judged = networks.judge(patches)
    chosen = np.argsort(-(judged + marked / 2), kind="stable")[:MOST_LOOKED_AT]
    seen_again = networks.second_look(cubes((box.image,), centres[chosen], SIDE)[:, 0])
    views = [judged[chosen]]
    if mirrored:
        views += [networks.judge(np.ascontiguousarray(np.flip(patches[chosen], axes))) for axes in FLIPS]
    return [
        Looked(found[number], np.array([[view[at], marked[number], seen_again[at]] for view in views]))
        for at, number in enumerate(chosen)
    ]


@lru_cache(1)
def _networks() -> Networks:
    """Loaded once a process."""
    return Networks()


def _number(
    drawn: list[tuple[Judged, Drawn]], labels: NDArray[np.uint8], box: Box, orientation: Orientation
) -> list[dict[str, Any]]:
    """Paint each nodule with its number (the likelier wins) and say what it is."""
    said: list[dict[str, Any]] = []
    for judged, nodule in drawn:
        part = labels[nodule.box]
        free = nodule.mask & (part == 0)
        if not free.any():
            continue
        part[free] = len(said) + 1
        said.append(_detection(judged, nodule, len(said) + 1, orientation, labels.shape))
        said[-1]["side"] = _side(judged.candidate.centre[2], box.midline)
    return said


def _side(column: float, midline: float | None) -> str | None:
    """The patient's side; None near the middle, where a lung may reach across it."""
    if midline is None or abs(column - midline) * GRID_MM < NEAR_MIDLINE_MM:
        return None
    return "left" if column > midline else "right"


def _detection(
    judged: Judged, nodule: Drawn, number: int, orientation: Orientation, shape: tuple[int, ...]
) -> dict[str, Any]:
    corners = [[each.start for each in nodule.box], [each.stop - 1 for each in nodule.box]]
    in_source = [orientation.source_index(np.array(corner, float), shape) for corner in corners]
    values = {
        "long_axis": nodule.long_axis_mm,
        "volume": nodule.volume_ml * 1000,
        "mean_density": nodule.mean_hu,
    }
    return {
        "name": NAME,
        "probability": judged.probability,
        "uncertainty": judged.uncertainty,
        "label": number,
        "center": orientation.source_index(nodule.centre, shape),
        "long_axis": tuple(orientation.source_index(end, shape) for end in nodule.long_axis),
        "box": (
            tuple(min(pair) for pair in zip(*in_source, strict=True)),
            tuple(max(pair) for pair in zip(*in_source, strict=True)),
        ),
        "values": [{"name": name, "value": value} for name, value in values.items()],
    }


def _quality(box: Box, orientation: Orientation) -> list[tuple[str, str]]:
    flags = []
    if orientation.spacing_mm[0] > WIDEST_SLICES_MM:
        text = f"slices are {orientation.spacing_mm[0]:.1f} mm apart; small nodules may be missed"
        flags.append(("slice_spacing", text))
    ends = [float(box.region[at].mean()) for at in (0, -1)]
    if max(ends) > EDGE_SHARE and not _margin_is_inside(box):
        flags.append(("lung_coverage", "the lungs are not whole in the field of view"))
    return flags


def _margin_is_inside(box: Box) -> bool:
    """Whether the box ends before the volume does, above and below: then no lung was cut off."""
    return not (box.region[0].any() or box.region[-1].any())


def _nothing(reason: str) -> dict[str, Any]:
    return {"labels": None, "values": [], "not_measured": {NAME: reason}, "detections": [], "quality": {}}
