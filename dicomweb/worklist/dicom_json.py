"""Writing DICOM JSON attributes by keyword (PS3.18 Annex F.2)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dicomweb.wire.dictionary import key_of, tag_of, vr_of
from dicomweb.worklist.codes import Code
from server.kernel.clock import SECOND_US

Json = Any
DicomJson = dict[str, Json]  # a DICOM JSON Model Object

LIMIT_OF: Mapping[str, int] = {
    "SH": 16,
    "CS": 16,
    "LO": 64,
    "ST": 1024,
    "LT": 10240,
}  # PS3.5 Table 6.2-1, characters


def attribute(keyword: str, *values: Json) -> DicomJson:
    """One attribute; without values, or with None, present and empty (Type 2). Long text is cut to its VR."""
    vr = vr_of(tag_of(keyword) or 0)
    kept = [_fitting(vr, value) for value in values if value not in (None, "")]
    return {key_of(keyword): {"vr": vr, "Value": kept} if kept else {"vr": vr}}


def item(*attributes: DicomJson) -> DicomJson:
    """A data set or an item of a sequence: its attributes in the order of their tags."""
    merged = {key: value for part in attributes for key, value in part.items()}
    return dict(sorted(merged.items()))


def coded(code: Code) -> DicomJson:
    """An item of a code sequence (PS3.3 §8.8); a value too long for SH goes to Long Code Value."""
    value = "CodeValue" if len(code.value) <= LIMIT_OF["SH"] else "LongCodeValue"
    return item(
        attribute(value, code.value),
        attribute("CodingSchemeDesignator", code.scheme),
        attribute("CodeMeaning", code.meaning),
    )


def date_time(instant_us: int | None) -> str | None:
    """A DT value in UTC with its offset (PS3.5 §6.2)."""
    if instant_us is None:
        return None
    return datetime.fromtimestamp(instant_us / SECOND_US, UTC).strftime("%Y%m%d%H%M%S.%f+0000")


def _fitting(vr: str, value: Json) -> Json:
    limit = LIMIT_OF.get(vr)
    return value[:limit] if limit and isinstance(value, str) else value
