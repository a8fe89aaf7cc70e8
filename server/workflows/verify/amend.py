"""A document changed as a person says: its conclusion, values, and what does not hold (PS3.3 C.17.3). Pure.

Changes happen in the data set that is given. What the document cannot say in the same form is refused, not
bent: a measurement keeps its unit, a code comes from a scheme that DICOM names.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from dicomweb.attributes import DicomJson
from dicomweb.wire.dicom_json import element, items_of, sequence
from dicomweb.wire.dictionary import key_of
from fhir.model import systems
from fhir.model.json_codec import Json
from server.kernel.faults import Fault, FaultKind
from server.workflows.report.content import ContentItem, first_concept
from server.workflows.verify.request import Amendment

MAX_DECIMAL_CHARACTERS = 16  # of a DS (PS3.5 6.2)
SCHEME_OF: Mapping[str, str] = {system: scheme for scheme, system in systems.OF_SCHEME.items()}
CONCLUSION = {
    **element("RelationshipType", "CONTAINS"),
    **element("ValueType", "TEXT"),
    **sequence(
        "ConceptNameCodeSequence",
        [
            element("CodeValue", "121077")
            | element("CodingSchemeDesignator", "DCM")
            | element("CodeMeaning", "Conclusion")
        ],
    ),
}
_CONTENT = key_of("ContentSequence")
_OTHER_NUMBERS = tuple(
    map(key_of, ("FloatingPointValue", "RationalNumeratorValue", "RationalDenominatorValue"))
)


class NotAmendable(Fault):
    """The document does not allow the change."""

    kind = FaultKind.UNPROCESSABLE


def amend(
    document: DicomJson,
    sources: Mapping[str, ContentItem],
    also: Mapping[str, Sequence[ContentItem]],
    conclusions: list[ContentItem],
    amendment: Amendment,
) -> None:
    """Change a document; `sources` are the items of its Observations, `conclusions` those that conclude.

    `also`: further items that tell of an Observation; they go with it.

    Raises:
        NotAmendable: an Observation is not of this document, or the document cannot say so.
    """
    for observation_id in (*amendment.rejected, *amendment.values):
        if observation_id not in sources:
            raise NotAmendable("An Observation is not one of this version of the report.")
    for observation_id, (name, value) in amendment.values.items():
        item = sources[observation_id]
        setter = _SETTERS.get((item.value_type, name))
        if setter is None:
            raise NotAmendable(f"An Observation takes no {name}.")
        setter(item.data_set, value)
    removed = [item.data_set for each in amendment.rejected for item in (sources[each], *also.get(each, ()))]
    if amendment.conclusion is not None:
        removed += _conclude(document, conclusions, amendment.conclusion)
    _remove(document, removed)


def _conclude(document: DicomJson, conclusions: list[ContentItem], text: str) -> list[DicomJson]:
    """Say this as the only conclusion; returns the items that are to go for it."""
    if not conclusions:
        content = document.setdefault(_CONTENT, {"vr": "SQ", "Value": []})
        content.setdefault("Value", []).append(
            dict(sorted((CONCLUSION | element("TextValue", text)).items()))
        )
        return []
    conclusions[0].data_set.update(element("TextValue", text))
    return [each.data_set for each in conclusions[1:]]


def _set_number(item: DicomJson, value: Json) -> None:
    number = value.get("value") if isinstance(value, dict) else value
    text = format(number, "f") if isinstance(number, Decimal) else str(number)
    measured = items_of(item, "MeasuredValueSequence")
    if number is None or len(text) > MAX_DECIMAL_CHARACTERS or len(measured) != 1:
        raise NotAmendable("A measurement takes a number of at most 16 characters.")
    unit = first_concept(measured[0], "MeasurementUnitsCodeSequence")
    stated = value.get("code") if isinstance(value, dict) else None
    if stated is not None and (unit is None or stated != unit.value):
        raise NotAmendable("A measurement keeps its unit.")
    for key in _OTHER_NUMBERS:
        measured[0].pop(key, None)
    measured[0].update(element("NumericValue", text))


def _set_text(item: DicomJson, value: Json) -> None:
    item.update(element("TextValue", value))


def _set_code(item: DicomJson, value: Json) -> None:
    codings = value.get("coding", ())
    known = (each for each in codings if each.get("code") and each.get("system") in SCHEME_OF)
    found: dict[str, Any] | None = next(known, None)
    if found is None:
        raise NotAmendable("A code needs a coding of SNOMED CT, LOINC, DCM or UCUM.")
    code = (
        element("CodeValue", found["code"])
        | element("CodingSchemeDesignator", SCHEME_OF[found["system"]])
        | element("CodeMeaning", (found.get("display") or value.get("text") or found["code"])[:64])
    )
    item.update(sequence("ConceptCodeSequence", [code]))


_SETTERS: Mapping[tuple[str, str], Callable[[DicomJson, Json], None]] = {
    ("NUM", "valueQuantity"): _set_number,
    ("NUM", "valueDecimal"): _set_number,
    ("TEXT", "valueString"): _set_text,
    ("CODE", "valueCodeableConcept"): _set_code,
}


def _remove(document: DicomJson, removed: list[DicomJson]) -> None:
    """Take items out of the content tree, with all below them."""
    if not removed:
        return
    if _refers_by_position(document):
        raise NotAmendable("The document refers to its items by position, so none can be taken out.")
    gone = {id(each) for each in removed}
    waiting = [document]
    while waiting:
        holder = waiting.pop()
        kept = [item for item in items_of(holder, "ContentSequence") if id(item) not in gone]
        if kept:
            holder[_CONTENT] = {"vr": "SQ", "Value": kept}
        else:
            holder.pop(_CONTENT, None)
        waiting += kept


def _refers_by_position(document: DicomJson) -> bool:
    """Whether an item stands for another one (by-reference relationships, PS3.3 C.17.3.2.5)."""
    waiting = [document]
    while waiting:
        item = waiting.pop()
        if key_of("ReferencedContentItemIdentifier") in item:
            return True
        waiting += items_of(item, "ContentSequence")
    return False
