"""Coded terms of workitems, taken from the DICOM dictionary that pydicom installs."""

from typing import NamedTuple

from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code as DictionaryCode

LOCAL_SCHEME = "99ISTHMUS"


class Code(NamedTuple):
    """A coded term: Coding Scheme Designator, Code Value, Code Meaning (PS3.3 §8.8)."""

    scheme: str
    value: str
    meaning: str


def _of(code: DictionaryCode) -> Code:
    return Code(code.scheme_designator, code.value, code.meaning)


# Procedure Step Discontinuation Reason, CID 9300
UNSPECIFIED_REASON = _of(codes.cid9300.DiscontinuedForUnspecifiedReason)
RESCHEDULED = _of(codes.cid9300.DiscontinuedProcedureStepRescheduled)
EQUIPMENT_FAILURE = _of(codes.cid9300.EquipmentFailure)
RESOURCE_INADEQUATE = _of(codes.cid9300.ResourceInadequate)
OBJECT_SET_INCOMPLETE = _of(codes.cid9300.ObjectSetIncomplete)
OBJECT_TYPES_NOT_SUPPORTED = _of(codes.cid9300.ObjectTypesNotSupported)
OBJECTS_INCORRECTLY_FORMATTED = _of(codes.cid9300.ObjectsIncorrectlyFormatted)

# Workitem Definition, CID 9231
IMAGE_PROCESSING = _of(codes.cid9231.ImageProcessing)
