"""The source planes that frames of a Segmentation lie on: their geometry, and how the frames refer to them.

highdicom is given stand-ins for the source images. A frame of a multi-frame image is stood in for as if it
were an image of its own, since highdicom takes either single-frame images or one whole multi-frame image;
afterwards the references name the real image and the frame.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from ai_engine.encode.images import Source
from ai_engine.encode.source import ACQUIRED_BY, blank_context, copy_readable, frame_of_reference_uid
from server.kernel.uids import derived_uid


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Some planes of a source, by their slice indices."""

    source: Source
    indices: Sequence[int]

    def contexts(self) -> list[Dataset]:
        """Stand-ins for the planes with all that a Segmentation needs of them (PS3.3 C.7.6.2).

        Orientation and Frame of Reference are the first slice's: others may differ by rounding. Each position
        is the slice's own.
        """
        spacing = spacing_between_slices_mm(self.source.slices)
        return [self._context(at, spacing) for at in self.indices]

    def refer(self, made: Dataset) -> None:
        """Let the references of a Segmentation name the images that the stand-ins stand for."""
        if not any(self.source.frame_numbers):
            return
        real = {_stand_in(self.source, at): self.source.reference(at) for at in self.indices}
        for item in _source_images(made):
            if named := real.get(str(item.ReferencedSOPInstanceUID)):  # frames of one plane may share an item
                item.update(named)
        for series in made.ReferencedSeriesSequence:
            uids = [str(item.ReferencedSOPInstanceUID) for item in series.ReferencedInstanceSequence]
            series.ReferencedInstanceSequence = _distinct([real[uid] for uid in uids])

    def _context(self, at: int, spacing: float | None) -> Dataset:
        first, image = self.source.first, self.source.slices[at]
        context = blank_context(image)
        if self.source.frame_number(at) is not None:
            context.SOPClassUID, context.SOPInstanceUID = CTImageStorage, _stand_in(self.source, at)
        copy_readable(image, context, ACQUIRED_BY)
        context.Modality = str(image.get("Modality") or "OT")
        context.FrameOfReferenceUID = frame_of_reference_uid(first)
        context.PositionReferenceIndicator = str(first.get("PositionReferenceIndicator") or "")
        context.Rows, context.Columns = int(image.Rows), int(image.Columns)
        context.PixelSpacing = first.PixelSpacing
        context.ImageOrientationPatient = first.ImageOrientationPatient
        context.ImagePositionPatient = image.ImagePositionPatient
        context.SliceThickness = image.get("SliceThickness") or spacing  # unknown: the slices adjoin
        if spacing is not None:
            context.SpacingBetweenSlices = spacing
        return context


def spacing_between_slices_mm(slices: Sequence[Dataset]) -> float | None:
    """Distance between neighbouring planes along their normal; None for one slice."""
    if len(slices) < 2:
        return None
    orientation = np.array(slices[0].ImageOrientationPatient, dtype=np.float64)
    normal = np.cross(orientation[:3], orientation[3:])
    step = np.array(slices[-1].ImagePositionPatient, float) - np.array(slices[0].ImagePositionPatient, float)
    return float(f"{abs(float(step @ normal)) / (len(slices) - 1):.9g}")  # fits VR DS


def _stand_in(source: Source, at: int) -> str:
    """The UID by which highdicom knows a plane."""
    uid, frame = str(source.slices[at].SOPInstanceUID), source.frame_number(at)
    return uid if frame is None else derived_uid(uid, "frame", str(frame))


def _source_images(made: Dataset) -> Iterator[Dataset]:
    """The references to source images of all frames (PS3.3 C.7.6.16.2.6)."""
    groups = [*made.SharedFunctionalGroupsSequence, *made.PerFrameFunctionalGroupsSequence]
    for group in groups:
        for derivation in group.get("DerivationImageSequence", ()):
            yield from derivation.get("SourceImageSequence", ())


def _distinct(references: Sequence[Dataset]) -> list[Dataset]:
    """One reference to each image, whatever its frames."""
    distinct: dict[str, Dataset] = {}
    for each in references:
        whole = Dataset()
        whole.ReferencedSOPClassUID = each.ReferencedSOPClassUID
        whole.ReferencedSOPInstanceUID = each.ReferencedSOPInstanceUID
        distinct.setdefault(str(each.ReferencedSOPInstanceUID), whole)
    return list(distinct.values())
