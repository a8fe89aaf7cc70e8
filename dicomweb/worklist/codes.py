"""Coded terms of workitems (PS3.16), written out: importing their dictionary would take half a second."""

from typing import NamedTuple

LOCAL_SCHEME = "99ISTHMUS"


class Code(NamedTuple):
    """A coded term: Coding Scheme Designator, Code Value, Code Meaning (PS3.3 §8.8)."""

    scheme: str
    value: str
    meaning: str


# Procedure Step Discontinuation Reason, CID 9300
UNSPECIFIED_REASON = Code("DCM", "110513", "Discontinued for unspecified reason")
RESCHEDULED = Code("DCM", "110528", "Discontinued Procedure Step rescheduled")
EQUIPMENT_FAILURE = Code("DCM", "110501", "Equipment failure")
RESOURCE_INADEQUATE = Code("DCM", "110527", "Resource inadequate")
OBJECT_SET_INCOMPLETE = Code("DCM", "110523", "Object Set incomplete")
OBJECT_TYPES_NOT_SUPPORTED = Code("DCM", "110522", "Object Types not supported")
OBJECTS_INCORRECTLY_FORMATTED = Code("DCM", "110521", "Objects incorrectly formatted")

# Workitem Definition, CID 9231
IMAGE_PROCESSING = Code("DCM", "110001", "Image Processing")
