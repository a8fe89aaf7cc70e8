"""The payload of a cancellation request (PS3.18 11.8.1.4, PS3.4 Table CC.2.2-1). Pure."""

from typing import Any

import msgspec

from dicomweb.wire.dictionary import key_of
from dicomweb.worklist.codes import Code
from dicomweb.worklist.dicom_json import LIMIT_OF, Json
from dicomweb.worklist.outside.data_set import MEDIA_TYPES, read_data_set
from dicomweb.worklist.workitem import Reason
from server.kernel.faults import Fault

MAX_BODY_BYTES = 64 << 10  # a reason of 10240 characters fits several times
NO_REASON = Reason(None, None)


class CancelRequestInvalid(Fault):
    """The payload is not an Action Information data set."""


def parse_cancel_request(body: bytes, content_type: str) -> Reason:
    """The reason in a payload; an empty payload gives none.

    Contact Display Name and Contact URI are accepted and not kept.

    Raises:
        PayloadNotTaken: another media type than JSON or XML of DICOM.
        CancelRequestInvalid: no data set, or a reason that is none.
    """
    if not body.strip():
        return NO_REASON
    is_json = content_type.partition(";")[0].strip().lower() in MEDIA_TYPES
    data_set = _data_set(body) if is_json else read_data_set(body, content_type)
    text = _text(data_set, "ReasonForCancellation", LIMIT_OF["LT"])
    return Reason(_code(data_set), text)


def _data_set(body: bytes) -> dict[str, Json]:
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CancelRequestInvalid("The payload is not JSON, or nested without end.") from error
    data_sets = payload if isinstance(payload, list) else [payload]
    if not data_sets:
        return {}
    if len(data_sets) > 1 or not isinstance(data_sets[0], dict):
        raise CancelRequestInvalid("The payload must hold one data set.")
    return data_sets[0]


def _code(data_set: dict[str, Json]) -> Code | None:
    keyword = "ProcedureStepDiscontinuationReasonCodeSequence"
    item = _first(data_set, keyword)
    if item is None:
        return None
    if not isinstance(item, dict):
        raise CancelRequestInvalid(f"{keyword} holds no item.")
    scheme = _text(item, "CodingSchemeDesignator", LIMIT_OF["SH"])
    value = _text(item, "CodeValue", LIMIT_OF["SH"]) or _text(item, "LongCodeValue", LIMIT_OF["ST"])
    meaning = _text(item, "CodeMeaning", LIMIT_OF["LO"])
    if scheme is None or value is None or meaning is None:
        raise CancelRequestInvalid(f"{keyword} needs a code value, a scheme and a meaning.")
    return Code(scheme, value, meaning)


def _text(data_set: dict[str, Json], keyword: str, limit: int) -> str | None:
    value = _first(data_set, keyword)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > limit or "\x00" in value:
        raise CancelRequestInvalid(f"{keyword} is no text of at most {limit} characters, without NUL.")
    return value


def _first(data_set: dict[str, Json], keyword: str) -> Any:
    attribute = data_set.get(key_of(keyword))
    values = attribute.get("Value") if isinstance(attribute, dict) else None
    return values[0] if isinstance(values, list) and values else None
