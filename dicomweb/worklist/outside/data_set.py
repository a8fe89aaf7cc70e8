"""The data set in a payload of the worklist service, as DICOM JSON or XML (PS3.18 11.1.3, Annex F). Pure.

What a client sent is kept as sent: the data set is checked for its shape, never rewritten. There is no bulk
data in it (11.1.3).
"""

import re
from collections.abc import Iterator, Mapping

import msgspec

from dicomweb.attributes import items as items_of
from dicomweb.attributes import text
from dicomweb.wire.dictionary import key_of, keyword_of, vr_of
from dicomweb.wire.faults import UnreadableDataSet
from dicomweb.wire.media_types import parse_media_type
from dicomweb.wire.multipart_reader import MultipartRelatedReader, PartBegin, PartData
from dicomweb.wire.native_xml_reader import read_native_xml
from dicomweb.wire.values import GROUPS_OF_NAME
from dicomweb.wire.walk import MAX_DEPTH
from dicomweb.worklist.dicom_json import DicomJson, Json
from server.kernel.faults import Fault, FaultKind, TooLarge

MAX_BODY_BYTES = 4 << 20  # the input of a workitem may name 20 000 instances one by one
MAX_OBJECTS = 70_000  # attributes and items in it, so that these fit; each costs 20 µs until it is stored
MARKS_OF_AN_OBJECT = 4  # an attribute in XML has a beginning and an end, and so has its value

MEDIA_TYPES = ("application/dicom+json", "application/json")
XML, MULTIPART = "application/dicom+xml", "multipart/related"

_KEY = re.compile(r"[0-9A-F]{8}")
_VR = re.compile(r"[A-Z]{2}")
_PARTS = frozenset({"vr", "Value", "InlineBinary"})
_SEQUENCE, _UNKNOWN = "SQ", "UN"


class PayloadInvalid(Fault):
    """The payload is not one data set."""


class PayloadNotTaken(Fault):
    """The payload is of a media type that this transaction does not take here."""

    kind = FaultKind.UNSUPPORTED_MEDIA_TYPE


def read_data_set(body: bytes, content_type: str) -> DicomJson:
    """The one data set of a payload, its keys in upper case and in the order of their tags.

    Raises:
        PayloadNotTaken: another media type than JSON or XML of DICOM.
        PayloadInvalid: it cannot be read, or holds none or several.
        TooLarge: it has too many attributes and items.
    """
    media_type = parse_media_type(content_type)
    name = media_type.name if media_type else ""
    if max(body.count(b"{"), body.count(b"<") // MARKS_OF_AN_OBJECT) > MAX_OBJECTS:
        raise TooLarge(f"A payload of this transaction has at most {MAX_OBJECTS} attributes and items.")
    if name in MEDIA_TYPES:
        return _checked(_from_json(body), 0)
    if name == XML:
        return _checked(_from_xml(body), 0)
    if name == MULTIPART:
        return _checked(_from_xml(_only_part(body, content_type)), 0)
    raise PayloadNotTaken(f"The payload must be {MEDIA_TYPES[0]} or {XML}.")


def _from_xml(document: bytes) -> Json:
    try:
        return read_native_xml(document)
    except UnreadableDataSet as error:
        raise PayloadInvalid(f"The payload: {error}.") from error


def _from_json(body: bytes) -> Json:
    try:
        payload = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PayloadInvalid("The payload is not JSON, or nested without end.") from error
    data_sets = payload if isinstance(payload, list) else [payload]
    if len(data_sets) != 1:
        raise PayloadInvalid("The payload must hold one data set.")
    return data_sets[0]


def _only_part(body: bytes, content_type: str) -> bytes:
    """The one part of a multipart payload, which is XML."""
    reader = MultipartRelatedReader(content_type)
    events = reader.feed(body)
    reader.finish()
    begins = [event for event in events if isinstance(event, PartBegin)]
    if len(begins) != 1:
        raise PayloadInvalid("The payload must hold one data set.")
    part = parse_media_type(begins[0].headers.get("content-type", ""))
    if part is None or part.name != XML:
        raise PayloadNotTaken(f"The part of the payload must be {XML}.")
    return b"".join(event.data for event in events if isinstance(event, PartData))


def _checked(data_set: Json, depth: int) -> DicomJson:
    if not isinstance(data_set, dict):
        raise PayloadInvalid("A data set or an item is no JSON object.")
    if depth > MAX_DEPTH:
        raise PayloadInvalid(f"Sequences are nested more than {MAX_DEPTH} deep.")
    found = {key.upper(): attribute for key, attribute in data_set.items()}
    if len(found) != len(data_set):
        raise PayloadInvalid("An attribute stands in the data set twice.")
    return {key: _checked_attribute(key, found[key], depth) for key in sorted(found)}


def _checked_attribute(key: str, attribute: Json, depth: int) -> Json:
    if not _KEY.fullmatch(key) or not isinstance(attribute, dict):
        raise PayloadInvalid("An attribute is not named by its tag, or is no JSON object.")
    vr, found = attribute.get("vr"), attribute.get("Value", [])
    if not isinstance(vr, str) or not _VR.fullmatch(vr) or not _PARTS.issuperset(attribute):
        raise PayloadInvalid(f"{key}: an attribute has a vr, and Value or InlineBinary.")
    if not isinstance(found, list) or not isinstance(attribute.get("InlineBinary", ""), str):
        raise PayloadInvalid(f"{key}: Value is no list, or InlineBinary no text.")
    known = vr_of(int(key, 16))
    if vr != known and (known == _SEQUENCE or (vr == _SEQUENCE and known != _UNKNOWN)):
        raise PayloadInvalid(f"{key}: only a sequence has the vr SQ, and no other.")
    if vr == _SEQUENCE:
        return {**attribute, "Value": [_checked(item, depth + 1) for item in found]} if found else attribute
    if not all(map(_is_name if vr == "PN" else _is_simple, found)):
        raise PayloadInvalid(f"{key}: a value is not of the type that its vr has.")
    return attribute


def _is_simple(value: Json) -> bool:
    if isinstance(value, int):
        return -(2**63) <= value < 2**64  # what our JSON can hold, and any VR
    return not isinstance(value, list | dict)


def _is_name(value: Json) -> bool:
    """A PN, with nothing but component groups of text (PS3.18 F.2.2)."""
    if value is None:
        return True
    named = isinstance(value, dict) and value.keys() <= frozenset(GROUPS_OF_NAME)
    return named and all(isinstance(group, str | None) for group in value.values())


def items(data_set: Mapping[str, Json], keyword: str) -> list[DicomJson]:
    """The items of a sequence; empty when it is absent, empty or none."""
    return items_of(data_set, key_of(keyword))


def text_of(data_set: Mapping[str, Json], keyword: str) -> str:
    """The first value of an attribute as stripped text; "" when there is none."""
    return text(data_set, key_of(keyword))


def has_value(data_set: Mapping[str, Json], keyword: str) -> bool:
    """Whether an attribute is there and not empty."""
    attribute = data_set.get(key_of(keyword), {})
    found = attribute.get("Value") or []
    return "InlineBinary" in attribute or any(value not in (None, "", {}) for value in found)


def sequences(data_set: Mapping[str, Json]) -> Iterator[tuple[str, DicomJson]]:
    """Every item of every sequence that the dictionary knows, at any depth, with the sequence's keyword."""
    for key, attribute in data_set.items():
        keyword = keyword_of(int(key, 16))
        if attribute.get("vr") == _SEQUENCE and keyword:
            for item in attribute.get("Value") or []:
                yield keyword, item
                yield from sequences(item)
