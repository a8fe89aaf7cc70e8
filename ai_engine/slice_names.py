"""How a slice is called in words to people: by the number that viewers show, not by its place in our order.

Slices are ordered along their normal, from the feet when they are axial, while most scanners number from the
head. What `image` is followed by in a conclusion, on a picture and in a report is therefore the Instance
Number (0020,0013), with the frame of a multi-frame image. Where numbers are missing, or are not unique, the
place is counted, and the words say from where.
"""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

FIRST_SIDES = (
    ("right", "left"),
    ("front", "back"),
    ("feet", "head"),
)  # of axes of LPS: if rising, if falling


def slice_names(slices: Sequence[Dataset], frame_numbers: Sequence[int | None] = ()) -> tuple[str, ...]:
    """What to call each slice, in their order; `frame_numbers` as those of a Source."""
    frames = frame_numbers or [None] * len(slices)
    named = [_name(image, frame) for image, frame in zip(slices, frames, strict=True)]
    known = [name for name in named if name is not None]
    if len(set(known)) == len(slices):
        return tuple(known)
    return counted_names(len(slices), _step(slices))


def counted_names(count: int, step_lps: NDArray[np.float64] | None) -> tuple[str, ...]:
    """Names by place; `step_lps` leads from a slice to the next, None: they have no place in the patient."""
    start = ""
    if step_lps is not None and step_lps.any():
        axis = int(np.abs(step_lps).argmax())
        start = f" counted from the {FIRST_SIDES[axis][int(step_lps[axis] < 0)]}"
    return tuple(f"{number} of {count}{start}" for number in range(1, count + 1))


def name_at(names: Sequence[str], index: int) -> str:
    """The name of a slice; for a place beside the stack, that of the nearest."""
    return names[min(max(index, 0), len(names) - 1)]


def _name(image: Dataset, frame: int | None) -> str | None:
    number = str(image.get("InstanceNumber", "")).strip()
    if not re.fullmatch(r"[+-]?[0-9]{1,11}", number):  # VR IS
        return None
    return str(int(number)) if frame is None else f"{int(number)}, frame {frame}"


def _step(slices: Sequence[Dataset]) -> NDArray[np.float64] | None:
    ends = [image.get("ImagePositionPatient") for image in (slices[0], slices[-1])]
    return None if None in ends else np.subtract(ends[1], ends[0], dtype=np.float64)
