"""Values between voxels; numpy.

Rule: no import but numpy and the standard library; it also runs in the child, which sees nothing else of
ours.
"""

import numpy as np
from numpy.typing import NDArray


def resample(values: NDArray[np.generic], axis: int, positions: NDArray[np.floating]) -> NDArray[np.float32]:
    """Values at these places along an axis, linear between voxels; beyond the ends, what stands there."""
    last = values.shape[axis] - 1
    places = np.clip(positions, 0, last)
    low = np.minimum(places.astype(int), max(last - 1, 0))
    weight = (places - low).astype(np.float32)
    below: NDArray[np.float32] = np.take(values, low, axis).astype(np.float32, copy=False)
    if last == 0 or not weight.any():
        return below
    above: NDArray[np.float32] = np.take(values, low + 1, axis).astype(np.float32, copy=False)
    above -= below
    above *= weight.reshape([-1 if each == axis else 1 for each in range(values.ndim)])
    above += below
    return above
