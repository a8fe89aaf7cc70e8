"""The images that were analysed, as the objects made of them refer to them (PS3.3 Table 10-3)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from ai_engine.encode.source import blank_context
from server.kernel.faults import Fault, FaultKind


class NoPlaceInPatient(Fault):
    """Something is to be placed in the patient, and the images do not say where they lie (projections)."""

    kind = FaultKind.INVALID


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """The images that were analysed, in the order of the findings' slice indices.

    `slices` are headers, one a plane; of a multi-frame image one a frame, with the plane's own geometry, and
    `frame_numbers` (from 1) says which frame each is. `voxels`, with axes (slice, row, column), are what
    pictures are drawn of; a smaller image than others is filled up behind its rows and columns.
    `is_presented`: they are grays already, from 0, black, to 1, white.
    """

    slices: Sequence[Dataset]
    frame_numbers: Sequence[int | None] = ()  # none at all: every slice is an image of its own
    voxels: NDArray[np.generic] | None = None
    is_presented: bool = False

    @property
    def first(self) -> Dataset:
        """The header that says of what patient, study and series they are."""
        return self.slices[0]

    @property
    def is_placed(self) -> bool:
        """Whether the images say where in the patient they lie."""
        return all(
            each.get("ImagePositionPatient") and each.get("ImageOrientationPatient") for each in self.slices
        )

    def frame_number(self, at: int) -> int | None:
        """Which frame of its image a slice is; None: the image has one."""
        return self.frame_numbers[at] if self.frame_numbers else None

    def burned_in(self, at: int) -> bool | None:
        """Whether the pixels of a slice identify the patient; None: its image does not say (C.7.6.1)."""
        return {"YES": True, "NO": False}.get(str(self.slices[at].get("BurnedInAnnotation")))

    def reference(self, at: int) -> Dataset:
        """One item of a sequence that refers to the image of a slice, with its frame (PS3.3 Table 10-3)."""
        return image_reference(self.slices[at], self.frame_number(at))

    def evidence(self) -> list[Dataset]:
        """Stand-ins for the images, each once, in their order."""
        distinct = {str(each.SOPInstanceUID): each for each in self.slices}
        return [blank_context(each) for each in distinct.values()]


def image_reference(image: Dataset, frame_number: int | None = None) -> Dataset:
    """An item that refers to an image, or to one frame of it."""
    item = Dataset()
    item.ReferencedSOPClassUID = str(image.SOPClassUID)
    item.ReferencedSOPInstanceUID = str(image.SOPInstanceUID)
    if frame_number is not None:
        item.ReferencedFrameNumber = frame_number
    return item
