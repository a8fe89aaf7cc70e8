"""A single-frame series as one multi-frame instance, for tests of what reads those (PS3.3 A.36, A.38).

What every frame has alike is shared, what differs is the frame's own, as scanners write it.
"""

import copy
from collections.abc import Sequence

from pydicom import Dataset, FileDataset
from pydicom.uid import UID, EnhancedCTImageStorage, EnhancedMRImageStorage, MRImageStorage

from server.kernel.uids import derived_uid

MACROS = {  # of a functional group → its attributes, by the names a single-frame image has for them
    "PixelMeasuresSequence": ("PixelSpacing", "SliceThickness"),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelValueTransformationSequence": ("RescaleIntercept", "RescaleSlope", "RescaleType"),
    "FrameVOILUTSequence": ("WindowCenter", "WindowWidth"),
    "PlanePositionSequence": ("ImagePositionPatient",),
}
PER_FRAME = ("PlanePositionSequence", "PixelValueTransformationSequence")


def enhanced(slices: Sequence[FileDataset], order: Sequence[int] | None = None) -> FileDataset:
    """The slices as one Enhanced CT or MR image; `order` names the slice (from 0) of each frame."""
    frames = [slices[index] for index in (range(len(slices)) if order is None else order)]
    made = copy.deepcopy(slices[0])
    is_mr = made.SOPClassUID == MRImageStorage
    made.SOPClassUID = EnhancedMRImageStorage if is_mr else EnhancedCTImageStorage
    made.SOPInstanceUID = UID(derived_uid(str(made.SOPInstanceUID), "enhanced", str(len(frames))))
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    for keyword in (*sum(MACROS.values(), ()), "SliceLocation"):
        if keyword in made:
            delattr(made, keyword)
    made.NumberOfFrames = len(frames)
    made.SharedFunctionalGroupsSequence = [_group(frames[0], set(MACROS) - set(PER_FRAME))]
    made.PerFrameFunctionalGroupsSequence = [_of_frame(each, is_mr=is_mr) for each in frames]
    made.PixelData = b"".join(each.PixelData for each in frames)
    return made


def _group(image: Dataset, macros: set[str]) -> Dataset:
    group = Dataset()
    for macro in sorted(macros):
        item = Dataset()
        for keyword in MACROS[macro]:
            if keyword in image:
                item[keyword] = image[keyword]
        setattr(group, macro, [item])
    return group


def _of_frame(image: Dataset, *, is_mr: bool) -> Dataset:
    group = _group(image, set(PER_FRAME))
    kind, content = Dataset(), Dataset()
    kind.FrameType = image.ImageType
    setattr(group, "MRImageFrameTypeSequence" if is_mr else "CTImageFrameTypeSequence", [kind])
    content.FrameAcquisitionNumber = image.get("AcquisitionNumber") or 1
    if "TemporalPositionIdentifier" in image:
        content.TemporalPositionIndex = int(image.TemporalPositionIdentifier)
    group.FrameContentSequence = [content]
    if "EchoTime" in image:
        echo = Dataset()
        echo.EffectiveEchoTime = float(image.EchoTime)
        group.MREchoSequence = [echo]
    return group
