"""The image library of an SR: the slices that its findings touch (PS3.16 TID 1600, 1601).

Rule: never the whole series. A reader finds all that was analysed in the evidence; a library of some hundred
images would make the document ten times as long and as slow.
"""

from collections.abc import Sequence

from highdicom.sr import (
    CodeContentItem,
    ContainerContentItem,
    ContentItem,
    ContentSequence,
    ImageContentItem,
    RelationshipTypeValues,
)
from pydicom import Dataset
from pydicom.sr.codedict import codes

from ai_engine.encode import codes as ours
from ai_engine.encode.codes import code_of, coded
from ai_engine.encode.images import Source
from ai_engine.findings import Code

CONTAINS = RelationshipTypeValues.CONTAINS
_MODALITIES = {getattr(codes.cid29, name).value: getattr(codes.cid29, name) for name in codes.cid29.dir()}


def image_library(source: Source, touched: Sequence[int]) -> ContainerContentItem:
    """One group with these slices, which share their modality."""
    library = _container(ours.IMAGE_LIBRARY)
    group = _container(ours.IMAGE_LIBRARY_GROUP)
    modality = _MODALITIES.get(str(source.first.get("Modality") or ""))
    if modality is not None:
        group.ContentSequence.append(
            CodeContentItem(
                coded(ours.MODALITY), coded(code_of(modality)), RelationshipTypeValues.HAS_ACQ_CONTEXT
            )
        )
    group.ContentSequence.extend(_entry(source.reference(at)) for at in touched)
    library.ContentSequence.append(group)
    return library


def _container(name: Code) -> ContainerContentItem:
    container = ContainerContentItem(name=coded(name), relationship_type=CONTAINS)
    container.ContentSequence = ContentSequence()
    return container


def _entry(reference: Dataset) -> ContentItem:
    """TID 1601 wants no name; some readers want one, and this is highdicom's."""
    return ImageContentItem(
        coded(ours.SOURCE),
        reference.ReferencedSOPClassUID,
        reference.ReferencedSOPInstanceUID,
        reference.get("ReferencedFrameNumber"),
        relationship_type=CONTAINS,
    )
