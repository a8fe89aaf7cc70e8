"""The walker finds every broken rule, says where, and lets valid resources pass."""

from decimal import Decimal
from typing import Any

import pytest

from fhir.model.validation import InvalidResource, IssueType, require_valid, validate
from fhir.model.validation.report import MAX_ISSUES

STRUCTURE, REQUIRED, VALUE, CODE = (
    IssueType.STRUCTURE,
    IssueType.REQUIRED,
    IssueType.VALUE,
    IssueType.CODE_INVALID,
)


def patient(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", **elements}


def observation(**elements: Any) -> dict[str, Any]:
    return {"resourceType": "Observation", "status": "final", "code": {"text": "weight"}, **elements}


def bundle(resource: dict[str, Any]) -> dict[str, Any]:
    entry = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
    return {"resourceType": "Bundle", "type": "batch", "entry": [entry]}


EXTENSION = [{"url": "http://example.org/why", "valueCode": "unknown"}]

VALID = [
    pytest.param(patient(), id="nothing required"),
    pytest.param(patient(birthDate="1970"), id="year"),
    pytest.param(patient(birthDate="2000-02-29"), id="leap day"),
    pytest.param(patient(deceasedBoolean=False), id="one choice"),
    pytest.param(patient(_birthDate={"extension": EXTENSION}), id="extension instead of a primitive"),
    pytest.param(
        patient(name=[{"given": ["A", None], "_given": [None, {"extension": EXTENSION}]}]),
        id="null beside an extension",
    ),
    pytest.param(patient(name=[{"_given": [{"extension": EXTENSION}]}]), id="extension without the array"),
    pytest.param(
        patient(
            contained=[{"resourceType": "Organization", "id": "o", "name": "x"}],
            managingOrganization={"reference": "#o"},
        ),
        id="contained",
    ),
    pytest.param(patient(managingOrganization={"reference": "Organization/1"}), id="relative reference"),
    pytest.param(
        patient(managingOrganization={"reference": "Organization/1/_history/2"}), id="versioned reference"
    ),
    pytest.param(
        patient(managingOrganization={"reference": "https://e.org/fhir/Patient/1"}), id="absolute reference"
    ),
    pytest.param(patient(managingOrganization={"reference": "urn:uuid:0f2b"}), id="urn reference"),
    pytest.param(
        patient(managingOrganization={"reference": "Organization?name=x"}), id="conditional reference"
    ),
    pytest.param(patient(managingOrganization={"display": "x"}), id="logical reference"),
    pytest.param(observation(_status={"extension": EXTENSION}), id="primitive and its extension"),
    pytest.param(observation(valueQuantity={"value": Decimal("1.00"), "unit": "mm"}), id="decimal"),
    pytest.param(observation(valueQuantity={"value": 1}), id="integer as decimal"),
    pytest.param(observation(effectiveDateTime="2020-01-01T10:00:00+01:00"), id="dateTime"),
    pytest.param(
        observation(component=[{"code": {"text": "x"}, "referenceRange": [{"text": "y"}]}]),
        id="content reference",
    ),
    pytest.param(bundle(patient()), id="bundle"),
    pytest.param(
        {"resourceType": "Binary", "contentType": "text/plain", "data": "aGkg\naGk="},
        id="base64 with line breaks",
    ),
]

INVALID = [
    pytest.param({"resourceType": "Nonsense"}, STRUCTURE, None, id="unknown type"),
    pytest.param({"resourceType": "DomainResource"}, STRUCTURE, None, id="abstract type"),
    pytest.param({}, STRUCTURE, None, id="no type"),
    pytest.param({"resourceType": ["Patient"]}, STRUCTURE, None, id="type is no text"),
    pytest.param(patient(colour="red"), STRUCTURE, "Patient.colour", id="unknown element"),
    pytest.param(patient(**{"x'); DROP": 1}), STRUCTURE, "Patient", id="name that is no name"),
    pytest.param(patient(_name=[{}]), STRUCTURE, "Patient._name", id="underscore on an object"),
    pytest.param(patient(name={"family": "A"}), STRUCTURE, "Patient.name", id="object instead of array"),
    pytest.param(patient(name=[]), STRUCTURE, "Patient.name", id="empty array"),
    pytest.param(patient(name=[{}]), STRUCTURE, "Patient.name[0]", id="empty object"),
    pytest.param(patient(name=[None]), STRUCTURE, "Patient.name[0]", id="null object"),
    pytest.param(patient(birthDate=["1970"]), VALUE, "Patient.birthDate", id="array instead of primitive"),
    pytest.param(patient(birthDate=None), VALUE, "Patient.birthDate", id="null primitive"),
    pytest.param(patient(birthDate=""), VALUE, "Patient.birthDate", id="empty string"),
    pytest.param(patient(birthDate="1970-13"), VALUE, "Patient.birthDate", id="month 13"),
    pytest.param(patient(birthDate="2001-02-29"), VALUE, "Patient.birthDate", id="no leap year"),
    pytest.param(patient(birthDate="1970-01-01\n"), VALUE, "Patient.birthDate", id="line break after a date"),
    pytest.param(patient(birthDate="١٩٧٠"), VALUE, "Patient.birthDate", id="other digits"),
    pytest.param(patient(active="true"), VALUE, "Patient.active", id="text for a boolean"),
    pytest.param(patient(active=1), VALUE, "Patient.active", id="number for a boolean"),
    pytest.param(patient(gender="blue"), CODE, "Patient.gender", id="code not in the list"),
    pytest.param(patient(gender=["male"]), CODE, "Patient.gender", id="array for a code"),
    pytest.param(patient(id="a b"), VALUE, "Patient.id", id="id with a blank"),
    pytest.param(patient(id="a" * 65), VALUE, "Patient.id", id="id too long"),
    pytest.param(patient(implicitRules="a b"), VALUE, "Patient.implicitRules", id="uri with a blank"),
    pytest.param(
        patient(multipleBirthInteger=True), VALUE, "Patient.multipleBirth", id="boolean for integer"
    ),
    pytest.param(
        patient(multipleBirthInteger=Decimal("1.0")),
        VALUE,
        "Patient.multipleBirth",
        id="decimal for integer",
    ),
    pytest.param(
        patient(multipleBirthInteger=2**31),
        VALUE,
        "Patient.multipleBirth",
        id="integer beyond 32 bits",
    ),
    pytest.param(
        patient(deceasedBoolean=True, deceasedDateTime="2020"),
        STRUCTURE,
        "Patient.deceased",
        id="two of a choice",
    ),
    pytest.param(
        patient(deceasedBoolean=True, _deceasedDateTime={"extension": EXTENSION}),
        STRUCTURE,
        "Patient.deceased",
        id="two of a choice, one as extension",
    ),
    pytest.param(
        patient(name=[{"given": ["A", None]}]), STRUCTURE, "Patient.name[0].given[1]", id="null alone"
    ),
    pytest.param(
        patient(name=[{"given": ["A"], "_given": [None, {"id": "x"}]}]),
        STRUCTURE,
        "Patient.name[0]._given",
        id="arrays of different length",
    ),
    pytest.param(patient(name=[{"_given": [None]}]), STRUCTURE, "Patient.name[0]._given", id="only null"),
    pytest.param(
        patient(_birthDate={"value": "1970"}), STRUCTURE, "Patient.birthDate.value", id="value in _element"
    ),
    pytest.param(
        patient(extension=[{"url": "u"}]), IssueType.INVARIANT, "Patient.extension[0]", id="empty extension"
    ),
    pytest.param(
        patient(extension=[{"url": "u", "valueCode": "a", "extension": EXTENSION}]),
        IssueType.INVARIANT,
        "Patient.extension[0]",
        id="extension with both",
    ),
    pytest.param(
        patient(extension=[{"valueCode": "a"}]), REQUIRED, "Patient.extension[0].url", id="extension, no url"
    ),
    pytest.param(
        patient(managingOrganization={"reference": "Patient/1"}),
        VALUE,
        "Patient.managingOrganization.reference",
        id="reference to another type",
    ),
    pytest.param(
        patient(managingOrganization={"reference": "Nonsense/1"}),
        VALUE,
        "Patient.managingOrganization.reference",
        id="reference to no type",
    ),
    pytest.param(
        patient(managingOrganization={"reference": "17"}),
        VALUE,
        "Patient.managingOrganization.reference",
        id="reference of no form",
    ),
    pytest.param(
        patient(
            contained=[
                {
                    "resourceType": "Organization",
                    "id": "o",
                    "contained": [{"resourceType": "Organization", "id": "p", "name": "x"}],
                    "partOf": {"reference": "#o"},
                    "name": "x",
                    "alias": ["#p"],
                }
            ],
            managingOrganization={"reference": "#o"},
        ),
        STRUCTURE,
        "Patient.contained[0]",
        id="contained in contained",
    ),
    pytest.param(
        patient(contained=[{"id": "o"}], managingOrganization={"reference": "#o"}),
        STRUCTURE,
        "Patient.contained[0]",
        id="contained without type",
    ),
    pytest.param(
        {"resourceType": "Observation", "code": {"text": "x"}}, REQUIRED, "Observation.status", id="missing"
    ),
    pytest.param(
        bundle(patient(gender="blue")),
        CODE,
        "Bundle.entry[0].resource.gender",
        id="inside a bundle",
    ),
    pytest.param(
        observation(valueQuantity={"value": "1"}), VALUE, "Observation.value.value", id="text for a decimal"
    ),
    pytest.param(
        observation(valueQuantity={"value": Decimal("NaN")}),
        VALUE,
        "Observation.value.value",
        id="NaN for a decimal",
    ),
    pytest.param(
        observation(effectiveDateTime="2020-01-01T10:00:00"),
        VALUE,
        "Observation.effective",
        id="no zone",
    ),
    pytest.param(
        {"resourceType": "Binary", "contentType": "text/plain", "data": "a"},
        VALUE,
        "Binary.data",
        id="no base64",
    ),
    pytest.param(
        {
            "resourceType": "Condition",
            "subject": {"reference": "Patient/1"},
            "clinicalStatus": {"coding": [{"system": "http://example.org", "code": "active"}]},
        },
        CODE,
        "Condition.clinicalStatus",
        id="required CodeableConcept of another system",
    ),
    pytest.param(
        {
            "resourceType": "Claim",
            "status": "active",
            "type": {"text": "x"},
            "use": "claim",
            "patient": {"reference": "Patient/1"},
            "created": "2020",
            "provider": {"reference": "Practitioner/1"},
            "priority": {"text": "x"},
            "insurance": [{"sequence": 1, "focal": True, "coverage": {"reference": "Coverage/1"}}],
            "item": [{"sequence": 1, "productOrService": {"text": "x"}, "quantity": {"comparator": "<"}}],
        },
        STRUCTURE,
        "Claim.item[0].quantity.comparator",
        id="comparator in a SimpleQuantity",
    ),
]


@pytest.mark.parametrize("resource", VALID)
def test_a_valid_resource_passes(resource: dict[str, Any]) -> None:
    assert validate(resource) == []


@pytest.mark.parametrize(("resource", "code", "expression"), INVALID)
def test_a_broken_rule_is_found_and_placed(
    resource: dict[str, Any], code: IssueType, expression: str | None
) -> None:
    assert [(i.code, i.expression) for i in validate(resource)] == [(code, expression)]


def test_one_walk_finds_every_mistake() -> None:
    issues = validate(patient(gender="blue", active="yes", colour="red"))
    assert [i.expression for i in issues] == ["Patient.gender", "Patient.active", "Patient.colour"]


def test_no_value_of_the_resource_is_in_an_issue() -> None:
    issues = validate(patient(gender="Ada", birthDate="Lovelace", name=[{"family": 1815}]))
    assert len(issues) == 3
    assert not any(word in i.text for i in issues for word in ("Ada", "Lovelace", "1815"))


def test_a_report_has_an_end() -> None:
    issues = validate(patient(name=[{}] * (MAX_ISSUES * 3)))
    assert len(issues) == MAX_ISSUES + 1
    assert issues[-1].code is IssueType.INCOMPLETE


def test_deep_nesting_is_refused_without_exhausting_the_stack() -> None:
    nested: dict[str, Any] = {"url": "u", "valueCode": "a"}
    for _ in range(500):
        nested = {"url": "u", "extension": [nested]}
    assert [i.code for i in validate(patient(extension=[nested]))] == [IssueType.TOO_COSTLY]


def test_require_valid_raises_with_the_issues() -> None:
    require_valid(patient())
    with pytest.raises(InvalidResource) as refusal:
        require_valid(patient(gender="blue"))
    assert [i.expression for i in refusal.value.issues] == ["Patient.gender"]
