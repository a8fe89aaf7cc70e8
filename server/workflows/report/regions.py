"""What an item was found in: images, segmentations and regions of them (PS3.3 C.18.6, C.18.9; TID 1410).

R4 has no ImagingSelection: an Observation refers to the instances, and a note names the region. Its
coordinates stand in the SR only.
"""

from collections.abc import Iterator
from typing import Any

from dicomweb.wire.dicom_json import items_of, text_of, values_of
from fhir.model.builders.datatypes import instance_reference
from server.workflows.report import concepts
from server.workflows.report.content import ContentItem

Json = Any

SEGMENTATION = "Segmentation"  # the display of a reference to one
REFERENCES = frozenset({"IMAGE", "COMPOSITE", "WAVEFORM"})  # value types, PS3.3 Table C.17.3-7
NUMBERS_OF_POINT = {"SCOORD": 2, "SCOORD3D": 3}
SEGMENTS = frozenset({concepts.REFERENCED_SEGMENT, concepts.REFERENCED_SEGMENTATION_FRAME})
MAX_NOTES = 20  # regions that an Observation names


def basis_of(item: ContentItem) -> list[dict[str, Json]]:
    """References to the instances that an item was found in, each once."""
    found: dict[str, dict[str, Json]] = {}
    for child in _within(item):
        if child.value_type in REFERENCES and (uid := child.instance_uid()):
            found.setdefault(uid, instance_reference(uid, _display(child)))
    return list(found.values())


def notes_of(item: ContentItem) -> list[str]:
    """A sentence for each region that an item was found in."""
    regions = [child for child in item.children if child.value_type in NUMBERS_OF_POINT]
    return [_sentence(region) for region in regions[:MAX_NOTES]]


def _within(item: ContentItem) -> Iterator[ContentItem]:
    """The items below, and those that regions among them were selected from."""
    for child in item.children:
        yield child
        if child.value_type in NUMBERS_OF_POINT:
            yield from child.children


def _display(item: ContentItem) -> str:
    if item.key in SEGMENTS:
        return SEGMENTATION
    if item.value_type == "IMAGE" or item.concept is None:
        return "Image" if item.value_type == "IMAGE" else "Instance"
    return item.concept.meaning


def _sentence(region: ContentItem) -> str:
    name = "Region" if region.concept is None else region.concept.meaning
    form = text_of(region.data_set, "GraphicType") or "region"
    count = len(values_of(region.data_set, "GraphicData")) // NUMBERS_OF_POINT[region.value_type]
    points = "1 point" if count == 1 else f"{count} points"
    where = "".join(f" in {place}" for child in region.children if (place := _place(child)))
    return f"{name}: {form}, {points}{where}. The coordinates stand in the DICOM SR."


def _place(item: ContentItem) -> str:
    uid = item.instance_uid()
    if uid is None:
        return ""
    referenced = items_of(item.data_set, "ReferencedSOPSequence")[0]
    frames = ", ".join(str(frame) for frame in values_of(referenced, "ReferencedFrameNumber")[:24])
    return f"image {uid}, frame {frames}" if frames else f"image {uid}"
