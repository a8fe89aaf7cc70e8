"""Images of an instance: itself, or each frame of a multi-frame one (PS3.3 A.36, A.38, A.70, C.7.6.16).

Each frame gets a header in the words of a single-frame image: the attributes of the instance, those of the
shared functional groups, those of the frame's own, the nearest last. What follows need not know which it was.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydicom import DataElement, Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag, Tag

from ai_engine.preprocess.encoded import IMAGE_PIXEL, UNREADABLE, EncodedFrames
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused

# Functional group macros whose attributes a single-frame image has at its root (PS3.3 C.7.6.16.2, C.8.13.5,
# C.8.15.3, C.7.6.16.2.23.1, C.7.6.16.2.24.1). Of a sequence with several items the first one stands.
MACROS = (
    *("UnassignedSharedConvertedAttributesSequence", "UnassignedPerFrameConvertedAttributesSequence"),
    *("FrameContentSequence", "TemporalPositionSequence", "CardiacSynchronizationSequence"),
    *("CTImageFrameTypeSequence", "MRImageFrameTypeSequence", "PETFrameTypeSequence"),
    *("CTReconstructionSequence", "CTAcquisitionTypeSequence", "ContrastBolusUsageSequence"),
    *("MREchoSequence", "MRTimingAndRelatedParametersSequence", "MRModifierSequence"),
    *("MRDiffusionSequence", "MRImagingModifierSequence", "DiffusionGradientDirectionSequence"),
    *("FrameVOILUTSequence", "PixelValueTransformationSequence", "RealWorldValueMappingSequence"),
    *("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence"),
)
WHOLE = ("RealWorldValueMappingSequence",)  # a sequence at the root of a single-frame image, too
SAME_MEANING: Mapping[str, str] = {  # of a frame → of a single-frame image
    "FrameType": "ImageType",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "EffectiveEchoTime": "EchoTime",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
}
OF_THE_INSTANCE = frozenset(  # left out of a frame's header: about all frames, or bulk
    {
        *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "NumberOfFrames"),
        *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
        *("DimensionOrganizationSequence", "DimensionIndexSequence", "DimensionOrganizationType"),
        *("ExtendedOffsetTable", "ExtendedOffsetTableLengths", "IconImageSequence"),
    }
)
OF_ALL_FRAMES = frozenset(  # that no functional group may change: what the instance is, how it is decoded
    {
        *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
        *("Modality", "PixelPaddingValue", "PixelPaddingRangeLimit", *IMAGE_PIXEL),
    }
)

_Elements = dict[BaseTag, DataElement | RawDataElement]


@dataclass(frozen=True, slots=True, eq=False)
class SourceImage:
    """One two-dimensional image: a single-frame instance, or a frame.

    `header` holds its attributes as a single-frame image states them. `frame_number` counts from 1; None:
    the image is a single-frame instance, which `header` is, with its Pixel Data.
    """

    header: Dataset
    frame_number: int | None = None
    frames: EncodedFrames | None = None

    def encoded(self) -> Dataset:
        """What decoding needs: Image Pixel attributes, transfer syntax, Pixel Data of this image alone."""
        if self.frames is None or self.frame_number is None:
            return self.header
        return self.frames.image(self.frame_number)


def is_multi_frame(instance: Dataset) -> bool:
    """Whether the instance has frames, be it one."""
    return str(instance.get("NumberOfFrames") or 1) != "1" or "PerFrameFunctionalGroupsSequence" in instance


def images_of(instance: Dataset) -> Iterator[SourceImage]:
    """The images of an instance, in the order of its frames.

    Raises:
        SeriesRefused: it has frames and does not describe each.
    """
    if not is_multi_frame(instance):
        yield SourceImage(instance)
        return
    of_frames = _groups_of_frames(instance)
    shared = [_root(instance)]
    shared.extend(map(_flattened, instance.get("SharedFunctionalGroupsSequence") or ()))
    common: _Elements = {tag: element for elements in shared for tag, element in elements.items()}
    frames = EncodedFrames(instance)
    for number, group in enumerate(of_frames, 1):
        yield SourceImage(_header(common, _flattened(group)), number, frames)


def _groups_of_frames(instance: Dataset) -> list[Dataset]:
    groups = list(instance.get("PerFrameFunctionalGroupsSequence") or ())
    if not groups:
        raise SeriesRefused(
            RefusalReason.MULTI_FRAME,
            "NumberOfFrames: a multi-frame image without PerFrameFunctionalGroupsSequence does not say where "
            "its frames lie",
        )
    if str(instance.get("NumberOfFrames") or 1) != str(len(groups)):
        raise SeriesRefused(
            RefusalReason.INVALID_ATTRIBUTE,
            "NumberOfFrames is not the number of items in PerFrameFunctionalGroupsSequence",
        )
    return groups


def _root(instance: Dataset) -> _Elements:
    """The attributes of the instance that hold for each frame; private ones and unreadable ones are not."""
    elements: _Elements = {}
    for tag in instance.keys():  # noqa: SIM118 - iterating a Dataset decodes, and may raise for all
        try:
            element = instance[tag]
        except UNREADABLE:
            continue
        if not tag.is_private and element.keyword not in OF_THE_INSTANCE:
            elements[tag] = element
    return elements


def _flattened(group: Dataset) -> _Elements:
    """The attributes in the macros of a functional group."""
    elements: _Elements = {}
    for keyword in MACROS:
        if items := group.get(keyword):
            if keyword in WHOLE:
                elements[group[keyword].tag] = group[keyword]
            else:
                _flatten_item(items[0], elements)
    return elements


def _flatten_item(item: Dataset, elements: _Elements) -> None:
    elements.update(
        (element.tag, element)
        for element in item
        if element.keyword not in OF_ALL_FRAMES and not element.tag.is_private
    )
    if "DiffusionGradientDirectionSequence" in item:
        elements.update(_flattened(item))


def _header(common: _Elements, own: _Elements) -> Dataset:
    header = Dataset(common | own)
    for of_frame, of_image in SAME_MEANING.items():
        if of_frame in header:
            tag = Tag(of_image)  # not by setattr, which would change the element that the frames share
            header[tag] = DataElement(tag, dictionary_VR(tag), header[of_frame].value)
    return header
