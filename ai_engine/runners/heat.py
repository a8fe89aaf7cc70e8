"""Heat maps to detections: connected places of at least a probability, each with its centre, box and label.

Found on the network's grid; points are brought to the volume, the labels by nearest voxel. Where two lie at
one place the likelier has the voxels; one that is left with none, as between two slices, has no label.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.grids import Grid, index_in_volume, indices_in_volume, lies_in_volume
from ai_engine.runners.tilted import fallen_nearest

Json = Any
MOST_DETECTIONS = 200  # what a reply may hold (`reply.MAX_DETECTIONS`); the likeliest stay


def found_in(likely: NDArray[np.float32], grid: Grid, network: Mapping[str, Json]) -> Mapping[str, Json]:
    """Detections, and the label map of those that have a label of their own; channels stand for `names`."""
    found = [
        (detection, mask)
        for channel, name in enumerate(network["names"])
        if name
        for detection, mask in _found_in_channel(likely[channel], grid, name, network["threshold"])
    ]
    found.sort(key=lambda each: -each[0]["probability"])
    detections = [detection for detection, _ in found[:MOST_DETECTIONS]]
    if not detections:
        return {"detections": [], "labels": None}
    numbered = list(zip(range(network["first_label"], 256), found[:MOST_DETECTIONS], strict=False))
    instances = np.zeros(grid.shape, np.uint8)
    for label, (_, (box, inside)) in reversed(numbered):  # the likeliest last
        instances[box][inside] = label
    labels = _brought_back(instances, grid)
    there = set(np.unique(labels).tolist())
    for label, (detection, _) in numbered:
        if label in there:
            detection["label"] = label
    return {"detections": detections, "labels": labels}


def _found_in_channel(
    heat: NDArray[np.float32], grid: Grid, name: str, threshold: float
) -> Iterator[tuple[dict[str, Json], tuple[Any, NDArray[np.bool_]]]]:
    from scipy import ndimage

    places, _ = ndimage.label(heat >= threshold)
    for number, box in enumerate(ndimage.find_objects(places), 1):
        inside = places[box] == number
        weights = heat[box] * inside
        middle = [float((weights * at).sum() / weights.sum()) for at in np.indices(inside.shape, np.float32)]
        center = [at + part.start for at, part in zip(middle, box, strict=True)]
        if not lies_in_volume(grid, center):
            continue
        edge = inside & ~ndimage.binary_erosion(inside)
        ends = indices_in_volume(grid, np.argwhere(edge) + [float(part.start) for part in box])
        yield (
            {
                "name": name,
                "probability": float(weights.max()),
                "center": index_in_volume(grid, center),
                "box": [ends.min(axis=0).tolist(), ends.max(axis=0).tolist()],
            },
            (box, inside),
        )


def _brought_back(instances: NDArray[np.uint8], grid: Grid) -> NDArray[np.uint8]:
    """Each voxel of the volume with the label of the grid's nearest voxel."""
    for axis in range(3):
        size = grid.volume_shape[grid.order[axis]]
        at = np.arange(size)[::-1] if grid.flips[axis] else np.arange(size)
        nearest = np.clip(np.rint(at / grid.steps[axis]).astype(int), 0, grid.shape[axis] - 1)
        instances = np.take(instances, nearest, axis)
    instances = np.transpose(instances, [grid.order.index(axis) for axis in range(3)])
    return np.ascontiguousarray(instances if grid.tilt is None else fallen_nearest(instances, grid.tilt))
