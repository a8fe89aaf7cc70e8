"""The content tree of an SR document as plain items (PS3.3 C.17.3), read without trusting it.

Rule: what is missing, empty or malformed reads as None and is skipped by whoever asks; others' documents are
as they are. Concepts of the retired SNOMED-RT schemes read as the SNOMED CT concepts that replaced them.
"""

import re
import struct
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import Any

from pydicom import Dataset
from pydicom.sr._snomed_dict import mapping as snomed_mapping
from pydicom.sr.coding import Code

RETIRED_SNOMED = frozenset({"SRT", "SNM3", "99SDM"})  # PS3.16 Table 8-1
MAX_TEXT_CHARACTERS = 1024 * 1024  # FHIR R4 datatypes.html#string

# What pydicom raises when bytes are not what their value representation says.
UNREADABLE = (NotImplementedError, OSError, EOFError, ValueError, TypeError, LookupError, struct.error)

_UID = re.compile(r"[0-9.]{1,64}")
_SCT_OF_SRT = snomed_mapping["SRT"]

Key = tuple[str, str]  # (code value, coding scheme designator)


@dataclass(frozen=True, slots=True)
class Concept:
    """A coded concept: one item of a code sequence."""

    value: str
    scheme: str
    meaning: str
    scheme_uid: str | None = None
    equivalents: tuple["Concept", ...] = ()

    @property
    def key(self) -> Key:
        """What identifies it; the meaning is for people."""
        return self.value, self.scheme


def key_of(code: Code) -> Key:
    """The key of a code of pydicom's dictionary."""
    return code.value, code.scheme_designator


@dataclass(frozen=True, eq=False)
class ContentItem:
    """One content item; `concept` is its name."""

    dataset: Dataset
    relationship: str
    value_type: str
    concept: Concept | None

    @property
    def key(self) -> Key | None:
        """The key of its name."""
        return None if self.concept is None else self.concept.key

    @cached_property
    def children(self) -> tuple["ContentItem", ...]:
        """The items below, in order."""
        return tuple(_item(child) for child in items_of(self.dataset, "ContentSequence"))

    def child(self, key: Key) -> "ContentItem | None":
        """The first item below with this name."""
        return next((child for child in self.children if child.key == key), None)

    def text(self) -> str | None:
        """The value of a TEXT item; some writers give names and UIDs as TEXT too."""
        for keyword in ("TextValue", "UID", "PersonName"):
            if value := text_of(self.dataset, keyword):
                return value
        return None

    def uid(self) -> str | None:
        """The value of a UIDREF item."""
        return uid_of(self.dataset, "UID")

    def code(self) -> Concept | None:
        """The value of a CODE item."""
        return first_concept(self.dataset, "ConceptCodeSequence")

    def number(self) -> "Number | None":
        """The value of a NUM item, or why there is none."""
        measured = next(iter(items_of(self.dataset, "MeasuredValueSequence")), None)
        qualifier = first_concept(self.dataset, "NumericValueQualifierCodeSequence")
        value = None if measured is None else _decimal_of(measured)
        unit = None if measured is None else first_concept(measured, "MeasurementUnitsCodeSequence")
        return None if value is None and qualifier is None else Number(value, unit, qualifier)

    def instance_uid(self) -> str | None:
        """The SOP Instance UID of an IMAGE or COMPOSITE item."""
        referenced = next(iter(items_of(self.dataset, "ReferencedSOPSequence")), None)
        return None if referenced is None else uid_of(referenced, "ReferencedSOPInstanceUID")


@dataclass(frozen=True, slots=True)
class Number:
    """A measured value: `value` as the document writes it; None, and the qualifier says why."""

    value: Decimal | None
    unit: Concept | None
    qualifier: Concept | None


def root_of(document: Dataset) -> ContentItem:
    """The root container of an SR document."""
    return _item(document)


def items_of(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """The items of a sequence; none when it is absent or no sequence."""
    value = _value(dataset, keyword)
    if not isinstance(value, MutableSequence | tuple):
        return []
    return [item for item in value if isinstance(item, Dataset)]


def text_of(dataset: Dataset, keyword: str) -> str | None:
    """A text attribute without padding; None: absent or blank. Of several values, the first."""
    value = _value(dataset, keyword)
    if isinstance(value, MutableSequence | tuple):
        value = next(iter(value), None)
    text = "" if value is None else str(value).strip(" \x00\t\r\n")[:MAX_TEXT_CHARACTERS]
    return text.replace("\x00", "") or None


def uid_of(dataset: Dataset, keyword: str) -> str | None:
    """A UID attribute; None: absent or no UID."""
    value = text_of(dataset, keyword)
    return value if value is not None and _UID.fullmatch(value) else None


def first_concept(dataset: Dataset, keyword: str) -> Concept | None:
    """The first concept of a code sequence."""
    return next((c for c in map(_concept, items_of(dataset, keyword)) if c is not None), None)


def _value(dataset: Dataset, keyword: str) -> Any:
    """The value of an element; pydicom converts when asked, and one that it cannot convert has none."""
    try:
        return dataset.get(keyword)
    except UNREADABLE:
        return None


def _item(dataset: Dataset) -> ContentItem:
    return ContentItem(
        dataset,
        text_of(dataset, "RelationshipType") or "",
        text_of(dataset, "ValueType") or "",
        first_concept(dataset, "ConceptNameCodeSequence"),
    )


def _concept(item: Dataset) -> Concept | None:
    keywords = ("CodeValue", "LongCodeValue", "URNCodeValue")
    value = next((v for v in (text_of(item, keyword) for keyword in keywords) if v), None)
    scheme = text_of(item, "CodingSchemeDesignator") or ""
    meaning = text_of(item, "CodeMeaning") or value
    if value is None or meaning is None:
        return None
    if scheme in RETIRED_SNOMED and value in _SCT_OF_SRT:
        scheme, value = "SCT", _SCT_OF_SRT[value]
    equivalents = tuple(c for c in map(_concept, items_of(item, "EquivalentCodeSequence")) if c is not None)
    return Concept(value, scheme, meaning, uid_of(item, "CodingSchemeUID"), equivalents)


def _decimal_of(measured: Dataset) -> Decimal | None:
    """Numeric Value (0040,A30A) with the digits it is written with."""
    element = measured.get_item("NumericValue")
    raw: Any = None if element is None else element.value
    if isinstance(raw, bytes):  # not converted yet: the text itself
        raw = raw.decode("ascii", "replace").split("\\")[0]
    elif isinstance(raw, MutableSequence | tuple):
        raw = next(iter(raw), None)
    try:
        value = None if raw is None else Decimal(str(raw).strip(" \x00"))
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None
