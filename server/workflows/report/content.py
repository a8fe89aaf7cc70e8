"""The content tree of an SR document as plain items (PS3.3 C.17.3), read without trusting it.

Rule: what is missing, empty or malformed reads as None and is skipped by whoever asks; others' documents are
as they are. Concepts of the retired SNOMED-RT schemes read as the SNOMED CT concepts that replaced them.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cached_property

from dicomweb.attributes import DicomJson
from dicomweb.wire import dicom_json

RETIRED_SNOMED = frozenset({"SRT", "SNM3", "99SDM"})  # PS3.16 Table 8-1
MAX_TEXT_CHARACTERS = 1024 * 1024  # FHIR R4 datatypes.html#string

_UID = re.compile(r"[0-9.]{1,64}")

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


@dataclass(frozen=True, eq=False)
class ContentItem:
    """One content item; `concept` is its name."""

    data_set: DicomJson
    relationship: str
    value_type: str
    concept: Concept | None

    @property
    def key(self) -> Key | None:
        """The key of its name."""
        return None if self.concept is None else self.concept.key

    @cached_property
    def children(self) -> tuple["ContentItem", ...]:
        """The items below, in order; the reader bounds their depth (`dicomweb.wire.walk.MAX_DEPTH`)."""
        return tuple(_item(child) for child in items_of(self.data_set, "ContentSequence"))

    def child(self, key: Key) -> "ContentItem | None":
        """The first item below with this name."""
        return next((child for child in self.children if child.key == key), None)

    def text(self) -> str | None:
        """The value of a TEXT item; some writers give names and UIDs as TEXT too."""
        for keyword in ("TextValue", "UID", "PersonName"):
            if value := text_of(self.data_set, keyword):
                return value
        return None

    def uid(self) -> str | None:
        """The value of a UIDREF item."""
        return uid_of(self.data_set, "UID")

    def code(self) -> Concept | None:
        """The value of a CODE item."""
        return first_concept(self.data_set, "ConceptCodeSequence")

    def number(self) -> "Number | None":
        """The value of a NUM item, or why there is none."""
        measured = next(iter(items_of(self.data_set, "MeasuredValueSequence")), None)
        qualifier = first_concept(self.data_set, "NumericValueQualifierCodeSequence")
        value = None if measured is None else _decimal_of(measured)
        unit = None if measured is None else first_concept(measured, "MeasurementUnitsCodeSequence")
        return None if value is None and qualifier is None else Number(value, unit, qualifier)

    def instance_uid(self) -> str | None:
        """The SOP Instance UID of an IMAGE or COMPOSITE item."""
        referenced = next(iter(items_of(self.data_set, "ReferencedSOPSequence")), None)
        return None if referenced is None else uid_of(referenced, "ReferencedSOPInstanceUID")


@dataclass(frozen=True, slots=True)
class Number:
    """A measured value: `value` as the document writes it; None, and the qualifier says why."""

    value: Decimal | None
    unit: Concept | None
    qualifier: Concept | None


def root_of(document: DicomJson) -> ContentItem:
    """The root container of an SR document, read by `dicomweb.wire.exact.read_exactly`."""
    return _item(document)


def items_of(data_set: DicomJson, keyword: str) -> Sequence[DicomJson]:
    """The items of a sequence; none when it is absent or no sequence."""
    return dicom_json.items_of(data_set, keyword)


def text_of(data_set: DicomJson, keyword: str) -> str | None:
    """A text attribute without padding; None: absent or blank. Of several values, the first."""
    text = dicom_json.text_of(data_set, keyword).strip(" \x00\t\r\n")[:MAX_TEXT_CHARACTERS]
    return text.replace("\x00", "") or None


def uid_of(data_set: DicomJson, keyword: str) -> str | None:
    """A UID attribute; None: absent or no UID."""
    value = text_of(data_set, keyword)
    return value if value is not None and _UID.fullmatch(value) else None


def concepts_of(data_set: DicomJson, keyword: str) -> list[Concept]:
    """The concepts of a code sequence."""
    return [c for c in map(concept_of, items_of(data_set, keyword)) if c is not None]


def first_concept(data_set: DicomJson, keyword: str) -> Concept | None:
    """The first concept of a code sequence."""
    return next(iter(concepts_of(data_set, keyword)), None)


def _item(data_set: DicomJson) -> ContentItem:
    return ContentItem(
        data_set,
        text_of(data_set, "RelationshipType") or "",
        text_of(data_set, "ValueType") or "",
        first_concept(data_set, "ConceptNameCodeSequence"),
    )


def concept_of(item: DicomJson) -> Concept | None:
    """The concept that an item of a code sequence is; None: it is none (PS3.3 8.8)."""
    keywords = ("CodeValue", "LongCodeValue", "URNCodeValue")
    value = next((v for v in (text_of(item, keyword) for keyword in keywords) if v), None)
    scheme = text_of(item, "CodingSchemeDesignator") or ""
    meaning = text_of(item, "CodeMeaning") or value
    if value is None or meaning is None:
        return None
    if scheme in RETIRED_SNOMED:
        scheme, value = _snomed_ct(scheme, value)
    equivalents = tuple(concepts_of(item, "EquivalentCodeSequence"))
    return Concept(value, scheme, meaning, uid_of(item, "CodingSchemeUID"), equivalents)


def _snomed_ct(scheme: str, value: str) -> Key:
    """Scheme and value of the concept that replaced a retired one; unknown ones stay."""
    from terminology.definitions.retired_snomed import SCT_OF_SRT  # 8000 lines that few documents need

    replacement = SCT_OF_SRT.get(value)
    return (scheme, value) if replacement is None else ("SCT", replacement)


def _decimal_of(measured: DicomJson) -> Decimal | None:
    """Numeric Value (0040,A30A) with the digits it is written with."""
    text = text_of(measured, "NumericValue")
    try:
        value = None if text is None else Decimal(text)
    except InvalidOperation:
        return None
    return value if value is not None and value.is_finite() else None
