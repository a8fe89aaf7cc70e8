"""Reading a Store response: which instances were refused, and why, in words (PS3.18 §10.5.3, Annex I.2)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydicom.datadict import keyword_for_tag

DicomJson = Mapping[str, Any]

REFERENCED_SOP_SEQUENCE = "00081199"
FAILED_SOP_SEQUENCE = "00081198"
OTHER_FAILURES_SEQUENCE = "0008119A"
REFERENCED_SOP_INSTANCE_UID = "00081155"
FAILURE_REASON = "00081197"
FAILED_ATTRIBUTES_SEQUENCE = "00741048"
SELECTOR_ATTRIBUTE = "00720026"
ERROR_COMMENT = "00000902"

MEANINGS: Mapping[int, str] = {  # PS3.18 Table I.2-2 and PS3.7 Annex C
    0x0110: "processing failure",
    0x0111: "another instance is stored under this SOP Instance UID",
    0x0112: "no such instance",
    0x0117: "invalid SOP Instance UID",
    0x0122: "the SOP Class is not supported",
    0x0124: "not authorized",
    0xC122: "the transfer syntax is not supported",
}
MEANINGS_BY_FAMILY: Mapping[int, str] = {  # by the leading hex digits, the low ones are the server's
    0xA7: "out of resources",
    0xA9: "the data set does not match its SOP Class",
    0xC: "the data set cannot be understood",
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One instance that was not stored."""

    sop_instance_uid: str  # "": the server could not tell
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the instances of one request."""

    stored: frozenset[str]  # SOP Instance UIDs
    refused: tuple[Refusal, ...]


def read_outcome(data_set: DicomJson) -> Outcome:
    """Read the data set of a Store response."""
    stored = frozenset(_uid(item) for item in _items(data_set, REFERENCED_SOP_SEQUENCE))
    failed = [
        Refusal(_uid(item), describe(item))
        for sequence in (FAILED_SOP_SEQUENCE, OTHER_FAILURES_SEQUENCE)
        for item in _items(data_set, sequence)
    ]
    return Outcome(stored, tuple(failed))


def describe(item: DicomJson) -> str:
    """The reason of a failed instance, with each attribute that is at fault."""
    reason = int(_first(item, FAILURE_REASON) or 0)
    attributes = [_attribute(each) for each in _items(item, FAILED_ATTRIBUTES_SEQUENCE)]
    return f"{meaning(reason)} ({reason:04X}H)" + (f": {'; '.join(attributes)}" if attributes else "")


def meaning(reason: int) -> str:
    """What a Failure Reason means."""
    family = MEANINGS_BY_FAMILY.get(reason >> 8) or MEANINGS_BY_FAMILY.get(reason >> 12)
    return MEANINGS.get(reason) or family or "refused"


def _attribute(item: DicomJson) -> str:
    tag = str(_first(item, SELECTOR_ATTRIBUTE) or "")
    name = f"{keyword_for_tag(int(tag, 16)) or ''} ({tag[:4]},{tag[4:]})".strip() if _is_tag(tag) else ""
    comment = str(_first(item, ERROR_COMMENT) or "")
    return " ".join(part for part in (name, comment) if part)


def _is_tag(text: str) -> bool:
    return len(text) == 8 and all(c in "0123456789ABCDEFabcdef" for c in text)


def _uid(item: DicomJson) -> str:
    return str(_first(item, REFERENCED_SOP_INSTANCE_UID) or "")


def _items(data_set: DicomJson, key: str) -> Iterator[DicomJson]:
    values = data_set.get(key, {}).get("Value", ())
    return (value for value in values if isinstance(value, dict))


def _first(item: DicomJson, key: str) -> Any:
    values = item.get(key, {}).get("Value") or (None,)
    return values[0]
