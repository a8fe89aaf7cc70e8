"""A segmentation read back into masks over its source slices (PS3.3 A.51)."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import NamedTuple

import highdicom as hd
import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

SEGMENTATION_CLASSES: frozenset[str] = frozenset(hd.seg.SOP_CLASS_UIDS)
HALF = 0.5  # from which a fraction counts as drawn; a binary segmentation says 0 and 1


class ReadMask(NamedTuple):
    """A segment by its Tracking ID; its mask has the axes (slice, row, column)."""

    tracking_id: str
    mask: NDArray[np.bool_]
    is_likely: bool  # the mask is where a probability reaches one half, not what was drawn


def masks_of_seg(part10: bytes, slices: Sequence[Dataset]) -> Iterator[ReadMask]:
    """Each segment with its mask over the slices, in the order of `slices`.

    A segment without Tracking ID is left out; slices without a frame, and those of another series, are empty.

    Raises:
        ValueError: the segmentation is not of single-frame images.
    """
    seg = hd.seg.segread(BytesIO(part10))
    is_likely = seg.get("SegmentationFractionalType") == "PROBABILITY"
    uids = [str(each.SOPInstanceUID) for each in slices]
    for segment in seg.SegmentSequence:
        if "TrackingID" in segment:
            drawn = seg.get_pixels_by_source_instance(
                uids,
                segment_numbers=[int(segment.SegmentNumber)],
                assert_missing_frames_are_empty=True,
                ignore_spatial_locations=True,
            )
            yield ReadMask(str(segment.TrackingID), np.asarray(drawn[..., 0] >= HALF), is_likely)
