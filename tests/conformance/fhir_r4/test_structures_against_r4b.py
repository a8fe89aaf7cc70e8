"""FHIR R4 resource definitions: a second reading of them, HL7's R4B models, must agree with ours.

For every type a resource with all its elements is generated from our structures. Our walker and the R4B
model must both accept it, and both must refuse it once an element is unknown, missing or of the wrong shape.
R4B is a lenient judge (no code lists, targets, invariants), and differs from R4 in types that are not in this
list.
"""

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from fhir.model.validation import IssueType, validate
from fhir.model.validation.definitions import (
    PRIMITIVE,
    Element,
    TypeReference,
    codes_by_system,
    structure_of,
)

TYPES = (
    *(
        "Account",
        "AllergyIntolerance",
        "Appointment",
        "AuditEvent",
        "Basic",
        "Binary",
        "CarePlan",
        "CareTeam",
    ),
    *("Communication", "Condition", "Consent", "Coverage", "Device", "DiagnosticReport", "DocumentReference"),
    *(
        "Encounter",
        "Endpoint",
        "EpisodeOfCare",
        "FamilyMemberHistory",
        "Flag",
        "Goal",
        "Group",
        "ImagingStudy",
    ),
    *(
        "Immunization",
        "Location",
        "Media",
        "MedicationRequest",
        "Observation",
        "Organization",
        "Patient",
        "Person",
    ),
    *(
        "Practitioner",
        "PractitionerRole",
        "Procedure",
        "Provenance",
        "RelatedPerson",
        "ServiceRequest",
        "Specimen",
    ),
    "Task",
)
MAX_DEPTH = 3  # elements within elements that are filled in
SAMPLES: dict[str, Any] = {
    "base64Binary": "aGk=",
    "boolean": True,
    "canonical": "http://example.org/c",
    "code": "x",
    "date": "2020-01-02",
    "dateTime": "2020-01-02T03:04:05Z",
    "decimal": Decimal("1.50"),
    "id": "a1",
    "instant": "2020-01-02T03:04:05.678Z",
    "integer": -1,
    "markdown": "*x*",
    "oid": "urn:oid:1.2.3",
    "positiveInt": 1,
    "string": "x",
    "time": "03:04:05",
    "unsignedInt": 0,
    "uri": "http://example.org/u",
    "url": "http://example.org/u",
    "uuid": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520",
    "xhtml": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>',
}

OF_FORM = {"mimetypes": "text/plain", "all-languages": "de", "currencies": "EUR"}


def generate(type_name: str, below: str = "", depth: int = 0) -> dict[str, Any]:
    """An object with every element of a type, or with the required ones once it is deep enough."""
    made: dict[str, Any] = {}
    for element in structure_of(type_name).elements.get(below, ()):
        if element.name in ("extension", "modifierExtension", "contained") or (
            depth >= MAX_DEPTH and not element.min
        ):
            continue
        if element.same_as is not None:
            continue
        type_ = element.types[0]
        name = f"{element.name}{type_.code[0].upper()}{type_.code[1:]}" if element.choice else element.name
        value = sample(type_name, below, element, type_, depth)
        made[name] = [value] if element.many else value
    return made or {"extension": [{"url": "http://example.org/x", "valueCode": "x"}]}


def sample(type_name: str, below: str, element: Element, type_: TypeReference, depth: int) -> Any:
    path = f"{below}.{element.name}".lstrip(".")
    codes = [(s, c) for s, cs in (codes_by_system(element.value_set or "") or {}).items() for c in cs]
    if path in structure_of(type_name).elements:
        return generate(type_name, path, depth + 1)
    if structure_of(type_.structure).kind == PRIMITIVE:
        of_form = OF_FORM.get((element.value_set or "").rpartition("/")[2].partition("|")[0])
        return codes[0][1] if codes else of_form or SAMPLES[type_.code]
    if type_.code == "Reference":
        return {"reference": f"{type_.targets[0] if type_.targets else 'Patient'}/1"}
    if type_.code == "CodeableConcept" and codes:
        return {"coding": [{"system": codes[0][0], "code": codes[0][1]}]}
    return generate(type_.structure, "", depth + 1)


def resource_of(type_name: str) -> dict[str, Any]:
    return {"resourceType": type_name, **generate(type_name)}


def spoilt(type_name: str) -> Iterator[dict[str, Any]]:
    yield {**resource_of(type_name), "unheardOf": "x"}
    elements = structure_of(type_name).elements[""]
    for element in elements:
        if element.choice or element.name == "contained":
            continue
        whole = resource_of(type_name)
        if element.min and element.types[0].code != "code":  # R4B lets some required codes be absent
            yield {k: v for k, v in whole.items() if k != element.name}
        if element.name in whole and element.many:
            yield {**whole, element.name: whole[element.name][0]}


@pytest.mark.parametrize("type_name", TYPES)
def test_both_accept_a_resource_with_every_element(type_name: str, as_r4b: Callable[[Any], Any]) -> None:
    resource = resource_of(type_name)
    assert [issue for issue in validate(resource) if issue.code is not IssueType.INVARIANT] == []
    as_r4b(resource)


@pytest.mark.parametrize("type_name", ["Patient", "Observation", "ImagingStudy", "DiagnosticReport", "Task"])
def test_both_refuse_what_is_spoilt(type_name: str, as_r4b: Callable[[Any], Any]) -> None:
    for resource in spoilt(type_name):
        assert validate(resource) != []
        with pytest.raises(ValidationError):
            as_r4b(resource)
