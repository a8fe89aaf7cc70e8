"""What a MONAI bundle says, in the engine's words: label maps, scores, boxes.

MONAI counts (x, y, z) and its world is RAS or, for boxes, what the bundle's configuration says; ours is
(slice, row, column) and LPS. MONAI's boxes end where their contents end: in an image voxel n reaches from n
to n + 1 (`monai.data.box_utils`, TO_REMOVE), in the world they go by the affine, whose voxel n lies about n.
Ours begin and end with the middles of voxels that belong to them.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.child import BadResult
from ai_engine.runners.monai_bundle import BoxFrame, MonaiBundle
from ai_engine.runners.windowed import Source

Json = Any
MOST_DETECTIONS = 200  # what a reply may hold (`reply.MAX_DETECTIONS`); the likeliest stay
HALF = 0.5
SAME_PLACE_MM = 1e-3  # a bundle that inverts its preprocessing comes back by float32


def labels_of(bundle: MonaiBundle, said: Any, image: Any, shape: Sequence[int]) -> NDArray[np.uint8]:
    """The label map (slice, row, column): the numbers of `channel_def`, 0 for none.

    One channel holds the numbers themselves; of several, which are masks or probabilities, channel n is label
    n where channel 0 is the background, else n + 1; of two that hold, the later one.
    """
    grid = image[..., 0] if image.ndim > bundle.image_dimensions else image  # of one of three colours alike
    array = np.asarray(_onto(said[0], grid).detach().cpu())
    if array.ndim == 3:  # of a single image
        array = array[..., None]
    numbers = np.rint(array[0]) if len(array) == 1 else _number_of_channels(array, bundle)
    if numbers.min() < 0 or numbers.max() > 255:
        raise BadResult("the bundle's labels are not 0 to 255")
    labels = np.ascontiguousarray(np.transpose(numbers, (2, 1, 0))).astype(np.uint8)
    if labels.shape != tuple(shape):
        raise BadResult("the bundle's labels do not cover its input")
    return labels


def _number_of_channels(array: NDArray[np.generic], bundle: MonaiBundle) -> NDArray[np.uint8]:
    has_background = str(bundle.channels.get("0", "")).lower() == "background"
    numbers = np.zeros(array.shape[1:], np.uint8)
    for channel in range(1 if has_background else 0, len(array)):
        numbers[array[channel] >= HALF] = channel if has_background else channel + 1
    return numbers


def _onto(predicted: Any, image: Any) -> Any:
    """On the image's grid, for a bundle that does not invert its own preprocessing; nearest voxels.

    The shape alone does not tell: turned to RAS, an axial CT keeps it.
    """
    from monai.data import MetaTensor
    from monai.transforms import ResampleToMatch

    if not isinstance(predicted, MetaTensor):
        raise BadResult("the bundle's labels come without their place")
    same_shape = tuple(predicted.shape[1:]) == tuple(image.shape)
    if same_shape and np.allclose(predicted.affine, image.affine, atol=SAME_PLACE_MM):
        return predicted
    return ResampleToMatch(mode="nearest")(predicted, img_dst=image[None])


def scores_of(predicted: Any, names: Sequence[str]) -> list[Json]:
    """A score for each channel; channels stand for `names` in order, "" for none."""
    values = np.asarray(predicted.detach().cpu(), np.float64).ravel()
    if len(values) != len(names):
        raise BadResult(f"the bundle gives {len(values)} classes, the manifest names {len(names)}")
    return [
        {"name": name, "probability": float(value)} for name, value in zip(names, values, strict=True) if name
    ]


def detections_of(bundle: MonaiBundle, said: Json, image: Any, source: Source, options: Json) -> list[Json]:
    """A detection for each box of at least `least_probability`; classes stand for `names` in order."""
    boxes = np.asarray(said["box"].detach().cpu(), np.float64).reshape(-1, 6)
    classes = np.asarray(said["label"].detach().cpu()).astype(int)
    scores = np.asarray(said["label_scores"].detach().cpu(), np.float64)
    if len(boxes) and not 0 <= classes.min() <= classes.max() < len(options["names"]):
        raise BadResult("the bundle gives a class that the manifest does not name")
    to_index = np.linalg.inv(source.affine) @ _to_lps(bundle.boxes, image)
    found = []
    for number in np.argsort(-scores, kind="stable"):
        name = options["names"][classes[number]]
        if name and scores[number] >= options["least_probability"]:
            corners = _index_corners(boxes[number], bundle.boxes, to_index)
            found.append(_detection(name, float(scores[number]), corners, source.voxels.shape))
    return [each for each in found if each is not None][:MOST_DETECTIONS]


def _to_lps(frame: BoxFrame, image: Any) -> NDArray[np.float64]:
    if frame.frame == "LPS":
        return np.eye(4)
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0])
    if frame.frame == "RAS":
        return to_lps
    return to_lps @ np.asarray(image.affine, np.float64)


def _index_corners(
    box: NDArray[np.float64], frame: BoxFrame, to_index: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The eight corners of a box, (slice, row, column), where its contents end."""
    if frame.mode == "cccwhd":
        low, high = box[:3] - box[3:] / 2, box[:3] + box[3:] / 2
    elif frame.mode == "xyzxyz":
        low, high = box[:3], box[3:]
    else:
        raise BadResult("the bundle's boxes are of another mode than xyzxyz and cccwhd")
    if frame.frame == "image":
        low, high = low - HALF, high - HALF
    corners = np.array([(*corner, 1.0) for corner in itertools.product(*zip(low, high, strict=True))])
    inside: NDArray[np.float64] = (to_index @ corners.T)[:3].T
    return inside


def _detection(name: str, probability: float, corners: NDArray[np.float64], shape: Sequence[int]) -> Json:
    """The detection of these corners; None: it lies outside the input.

    What is thinner than a voxel begins and ends in its middle.
    """
    last = np.array(shape) - 1
    center = corners.mean(axis=0)
    if (center < -HALF).any() or (center > last + HALF).any():
        return None
    low = np.clip(np.minimum(corners.min(axis=0) + HALF, center), 0, last)
    high = np.clip(np.maximum(corners.max(axis=0) - HALF, center), 0, last)
    return {
        "name": name,
        "probability": probability,
        "center": np.clip(center, 0, last).tolist(),
        "box": [low.tolist(), high.tolist()],
    }
