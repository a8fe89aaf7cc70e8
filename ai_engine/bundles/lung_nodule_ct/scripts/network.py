"""The networks of the bundle, run by ONNX Runtime on the CPU."""

from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .grid import MULTIPLE

Array = NDArray[np.float32]
MODELS = Path(__file__).resolve().parent.parent / "models"
MOST_VOXELS = 16_000_000  # at once: about a gigabyte within the network
SLAB, HALO = 96, 40  # slices of a larger box at once, and beside them what reaches into them; multiples of 8
PATCH = 24  # voxels of the classifier's cube
MOST_PATCHES = 32  # at once
SIDE = 64  # voxels of a region for the second look
NEAR = slice(24, 40)  # where in it the highest logit is taken


class Networks:
    """Mark nodules in a box, judge what is marked, and look at it a second time."""

    def __init__(self, folder: Path = MODELS) -> None:
        self._folder = folder

    @cached_property
    def _segment(self) -> onnxruntime.InferenceSession:
        return _session(self._folder / "model.onnx")

    @cached_property
    def _strict(self) -> onnxruntime.InferenceSession:
        return _session(self._folder / "strict.onnx")

    @cached_property
    def _classify(self) -> onnxruntime.InferenceSession:
        return _session(self._folder / "classifier.onnx")

    def logits(self, image: Array) -> Array:
        """Of each voxel (z, y, x) to belong to a nodule; sides must be multiples of 8."""
        if image.size <= MOST_VOXELS:
            return self._logits(image)
        result = np.empty_like(image)
        for start in range(0, len(image), SLAB):
            first, last = max(0, start - HALO), min(len(image), start + SLAB + HALO)
            whole = self._logits(image[first:last])
            stop = min(len(image), start + SLAB)
            result[start:stop] = whole[start - first : stop - first]
        return result

    def judge(self, patches: Array) -> NDArray[np.float64]:
        """One logit for each cube (n, 2, PATCH, PATCH, PATCH) of image and probability."""
        logits = [
            self._classify.run(None, {"patches": patches[at : at + MOST_PATCHES]})[0][:, 0]
            for at in range(0, len(patches), MOST_PATCHES)
        ]
        return np.concatenate(logits or [np.empty(0)]).astype(np.float64)

    def second_look(self, regions: Array) -> NDArray[np.float64]:
        """Of each region (n, SIDE, SIDE, SIDE) of the image the highest logit that is near its middle."""
        return np.array(
            [self._strict_logits(region)[NEAR, NEAR, NEAR].max() for region in regions], np.float64
        )

    def _strict_logits(self, image: Array) -> Array:
        logits: Array = self._strict.run(None, {"image": image[None, None]})[0][0, 0]
        return logits

    def _logits(self, image: Array) -> Array:
        assert all(side % MULTIPLE == 0 for side in image.shape)
        logits: Array = self._segment.run(None, {"image": image[None, None]})[0][0, 0]
        return logits


def _session(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False  # what one box needed is given back before the next
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file.read_bytes(), options, providers=["CPUExecutionProvider"])


def logit(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """log(p / (1 - p)), the ends kept finite."""
    inside = np.clip(probabilities.astype(np.float64), 1e-6, 1 - 1e-6)
    return np.asarray(np.log(inside / (1 - inside)))


def sigmoid(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """1 / (1 + exp(-logits)), in place of no other library."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -60, 60))))
