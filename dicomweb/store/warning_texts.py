"""What the reader's warnings (`code` or `code path`) mean, for the Store response. Pure."""

from collections.abc import Mapping

from dicomweb.store.instances import FailedAttribute
from dicomweb.wire.dictionary import key_of

TEXTS: Mapping[str, str] = {
    "undecodable-text": "Text is not in its character set; shown with replacements",
    "unknown-character-set": "Unknown character set; text may be shown wrongly",
    "attributes-out-of-order": "Attributes are not in ascending order",
    "zeros-after-data-set": "Zero bytes follow the data set",
    "unknown-vr": "The VR is not one of the standard",
    "nul-in-text": "Text holds a NUL character",
    "text-outside-repertoire": "Text holds characters outside its VR's repertoire",
    "number-kept-as-text": "The value is no number of its VR",
    "value-length": "The length does not fit the VR",
    "number-not-finite": "The value is not a finite number",
    "patient-id-absent": "No Patient ID; the study is not assigned to a patient",
    "frames-unknown": "Pixel data and its description differ; frames are not served",
}
ATTRIBUTES: Mapping[str, str] = {
    "patient-id-absent": key_of("PatientID"),
    "frames-unknown": key_of("PixelData"),
    "zeros-after-data-set": "",
}


def warned_attribute(warning: str) -> FailedAttribute:
    """The attribute that a warning is about, the outermost when it lies in a sequence, and what is wrong."""
    code, _, path = warning.partition(" ")
    return FailedAttribute(ATTRIBUTES.get(code, path.partition("/")[0]), TEXTS.get(code, code))
