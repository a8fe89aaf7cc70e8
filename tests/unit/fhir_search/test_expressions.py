"""Compiled paths say what FHIRPath says: `fhirpathpy` with the R4 model is the oracle."""

from datetime import UTC
from decimal import Decimal
from typing import Any

import fhirpathpy
import pytest
from fhirpathpy.models import models

from fhir.search.definitions import SearchParameter, SearchType, parameters_of, resource_types
from fhir.search.expression import NotAPath, alternatives, compile_expression
from fhir.search.extract import extractor
from fhir.search.kinds import KINDS
from fhir.search.path import compile_path, parse_path, type_of_reference
from fhir.search.value import Surroundings

AROUND = Surroundings(UTC, "http://fhir.test/fhir", 0)

REFERENCES = [
    {"reference": "Patient/p1"},
    {"reference": "http://other.test/fhir/Practitioner/q1/_history/2"},
    {"reference": "urn:uuid:5c1b5f0e-9d47-4c0e-8f6d-0d9b6a3a1111"},
    {"reference": "#contained"},
    {"type": "Patient", "identifier": {"system": "urn:s", "value": "1"}},
]
CONCEPT = {"coding": [{"system": "urn:c", "code": "a"}, {"code": "b"}], "text": "t"}
QUANTITY = {"value": Decimal("1.50"), "unit": "mm"}
PERIOD = {"start": "2024-01-01", "end": "2024-02"}

RESOURCES: list[dict[str, Any]] = [
    {
        "resourceType": "Observation",
        "id": "o",
        "meta": {"tag": [{"code": "t"}], "profile": ["http://p.test"], "lastUpdated": "2024-01-01T00:00:00Z"},
        "status": "final",
        "category": [CONCEPT, CONCEPT],
        "code": CONCEPT,
        "subject": REFERENCES[0],
        "focus": REFERENCES,
        "performer": REFERENCES,
        "effectivePeriod": PERIOD,
        "valueQuantity": QUANTITY,
        "component": [
            {"code": CONCEPT, "valueCodeableConcept": CONCEPT},
            {"code": CONCEPT, "valueQuantity": QUANTITY},
            {"code": CONCEPT, "valueString": "s"},
        ],
    },
    {
        "resourceType": "Observation",
        "id": "o2",
        "status": "final",
        "code": CONCEPT,
        "valueCodeableConcept": CONCEPT,
    },
    {"resourceType": "Observation", "id": "o3", "valueString": "s", "effectiveDateTime": "2024"},
    {
        "resourceType": "Patient",
        "id": "p",
        "identifier": [{"system": "urn:s", "value": "1"}, {"value": "2"}],
        "name": [{"family": "F", "given": ["G", "H"]}],
        "telecom": [{"system": "email", "value": "e"}, {"system": "phone", "value": "p"}, {"value": "x"}],
        "deceasedDateTime": "2024-01-01",
        "address": [{"city": "C", "country": "X", "postalCode": "1"}],
        "link": [{"other": REFERENCES[0], "type": "seealso"}],
        "multipleBirthInteger": 2,
    },
    {"resourceType": "Patient", "id": "p2", "deceasedBoolean": False},
    {"resourceType": "Patient", "id": "p3", "deceasedBoolean": True},
    {
        "resourceType": "DiagnosticReport",
        "id": "d",
        "imagingStudy": REFERENCES,
        "subject": REFERENCES[0],
        "result": REFERENCES,
        "effectiveDateTime": "2024-01",
        "issued": "2024-01-01T00:00:00.123Z",
    },
    {
        "resourceType": "ImagingStudy",
        "id": "i",
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2"}],
        "subject": REFERENCES[0],
        "basedOn": REFERENCES,
        "series": [
            {
                "uid": "1.2.3",
                "modality": {"code": "CT"},
                "instance": [{"uid": "1.2.3.4", "sopClass": {"code": "c"}}],
            },
            {"uid": "1.2.4", "performer": [{"actor": r} for r in REFERENCES], "bodySite": {"code": "b"}},
        ],
    },
    {
        "resourceType": "Task",
        "id": "t",
        "for": REFERENCES[0],
        "focus": REFERENCES[1],
        "executionPeriod": PERIOD,
        "input": [{"valueReference": REFERENCES[0]}],
    },
    {
        "resourceType": "Provenance",
        "id": "v",
        "target": REFERENCES,
        "occurredDateTime": "2024",
        "agent": [{"who": r} for r in REFERENCES],
    },
    {
        "resourceType": "MedicationRequest",
        "id": "m",
        "medicationCodeableConcept": CONCEPT,
        "subject": REFERENCES[0],
        "dosageInstruction": [{"timing": {"event": ["2024-01-01", "2024-02-01"]}}],
    },
    {"resourceType": "MedicationRequest", "id": "m2", "medicationReference": {"reference": "Medication/1"}},
    {
        "resourceType": "ActivityDefinition",
        "id": "a",
        "relatedArtifact": [
            {"type": "depends-on", "resource": "http://x.test/1|2"},
            {"type": "composed-of", "resource": "http://x.test/2"},
        ],
        "useContext": [
            {"code": {"code": "focus"}, "valueQuantity": QUANTITY},
            {"valueCodeableConcept": CONCEPT},
        ],
    },
    {
        "resourceType": "Bundle",
        "id": "b",
        "type": "document",
        "entry": [
            {"resource": {"resourceType": "Composition", "id": "c"}},
            {"resource": {"resourceType": "Patient", "id": "p"}},
        ],
    },
    {
        "resourceType": "Condition",
        "id": "c",
        "onsetAge": {"value": 3},
        "abatementString": "x",
        "subject": REFERENCES[0],
    },
    {"resourceType": "InsurancePlan", "id": "n", "name": "N", "alias": ["A", "B"]},
]


def cases() -> list[Any]:
    return [
        pytest.param(resource, parameter, id=f"{resource['id']}-{parameter.code}")
        for resource in RESOURCES
        for parameter in parameters_of(resource["resourceType"]).values()
        if parameter.type in KINDS and parameter.paths is not None
    ]


@pytest.mark.parametrize(("resource", "parameter"), cases())
def test_paths_select_what_fhirpath_selects(resource: dict[str, Any], parameter: SearchParameter) -> None:
    parsed = [parse_path(path) for path in parameter.paths or ()]
    selected = [node for path in parsed for node in compile_path(path)(resource, resource)]
    expected = oracle(resource, parameter.expression)
    assert sorted(map(repr, selected)) == sorted(map(repr, expected))


def oracle(resource: dict[str, Any], expression: str) -> list[Any]:
    """fhirpathpy cannot resolve: the type test on a reference is made here, from the reference's text."""
    found: list[Any] = []
    for part in alternatives(expression):
        plain, _, target = part.replace("Resource.", f"{resource['resourceType']}.").partition(
            ".where(resolve() is "
        )
        values = fhirpathpy.evaluate(resource, plain, None, models["r4"])
        if target:
            values = [v for v in values if type_of_reference(v) == target.rstrip(")")]
        found += values
    return found


def test_what_is_no_path_goes_to_fhirpath() -> None:
    parameter = parameters_of("Patient")["deceased"]
    assert parameter.paths is None
    deceased = [
        [token.code for token in extractor(parameter)(resource, resource, AROUND)]
        for resource in RESOURCES
        if resource["resourceType"] == "Patient"
    ]
    assert deceased == [["true"], ["false"], ["true"]]


def test_every_parameter_of_every_type_is_usable() -> None:
    for resource_type in resource_types():
        for parameter in parameters_of(resource_type).values():
            for one in parameter.components or (parameter,):
                known = KINDS[one.type].values_of
                ends = [parse_path(path).type for path in one.paths or ()]
                assert one.paths is None or any(end in known for end in ends), (resource_type, parameter.code)
                assert all(str(parse_path(path)) == path for path in one.paths or ())


def test_numbers_are_unique_per_type_and_parameter() -> None:
    numbers: dict[int, str] = {}
    for resource_type in resource_types():
        for parameter in parameters_of(resource_type).values():
            for one in (parameter, *parameter.components):
                owner = f"{parameter.url} of {resource_type} {one.expression}"
                if not parameter.code.startswith("_"):
                    assert numbers.setdefault(one.number, owner) == owner


# Numbers live in the index rows of every installation: these must never change.
@pytest.mark.parametrize(
    ("resource_type", "code", "number"),
    [
        ("Patient", "identifier", 1322),
        ("Observation", "subject", 1249),
        ("DiagnosticReport", "imaging-study", 510),
    ],
)
def test_numbers_are_pinned(resource_type: str, code: str, number: int) -> None:
    assert parameters_of(resource_type)[code].number == number


@pytest.mark.parametrize(
    "expression",
    ["Patient.name.first()", "Patient.nope", "Patient.name.where(use='a' or use='b')", "Patient + 1"],
)
def test_more_than_paths_is_said(expression: str) -> None:
    def children(holder: str, name: str) -> list[tuple[str, str]]:
        return [("name", "HumanName")] if (holder, name) == ("Patient", "name") else []

    with pytest.raises(NotAPath):
        compile_expression(expression, "Patient", children)


def test_composites_have_components() -> None:
    parameter = parameters_of("Observation")["code-value-quantity"]
    assert parameter.type is SearchType.COMPOSITE
    assert [c.type for c in parameter.components] == [SearchType.TOKEN, SearchType.QUANTITY]
