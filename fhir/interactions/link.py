"""Patient.link and Patient.active as a merge and its end write them (FHIR R4 patient.html#link). Pure.

The link says what was done; it does nothing itself. Whose data a token opens is decided by the kernel's table
of merges, so no write of a Patient can merge in disguise.
"""

from collections.abc import Mapping
from enum import Enum

import msgspec

from fhir.model.json_codec import Json, encode_json

_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
_ACTIVE = {b"true": True, b"false": False}

Elements = Mapping[str, bytes]  # of a Patient: the text of each element
Changed = Mapping[str, bytes | None]  # the same, None: the element is left out


class LinkType(Enum):
    """Patient.link.type (FHIR R4 valueset-link-type), the two of a merge."""

    REPLACED_BY = "replaced-by"
    REPLACES = "replaces"


def read_active(patient: Elements) -> bool | None:
    """Patient.active; None: the Patient says nothing."""
    return _ACTIVE.get(patient.get("active", b""))


def set_active(active: bool | None) -> Changed:
    """The element that says so; None: that the Patient says nothing."""
    return {"active": None if active is None else encode_json(active)}


def add_link(patient: Elements, type_: LinkType, other_id: str) -> Changed:
    """The links of the Patient with one to the other Patient, once."""
    return _links([*_others(patient, type_, other_id), encode_json(_link(type_, other_id))])


def drop_link(patient: Elements, type_: LinkType, other_id: str) -> Changed:
    """The links of the Patient without that one."""
    return _links(_others(patient, type_, other_id))


def _others(patient: Elements, type_: LinkType, other_id: str) -> list[bytes]:
    link = _link(type_, other_id)
    sent = [bytes(each) for each in _ITEMS.decode(patient.get("link", b"[]"))]
    return [each for each in sent if msgspec.json.decode(each) != link]


def _link(type_: LinkType, other_id: str) -> Json:
    return {"other": {"reference": f"Patient/{other_id}"}, "type": type_.value}


def _links(links: list[bytes]) -> Changed:
    return {"link": b"[" + b",".join(links) + b"]" if links else None}
