"""Profiles: each kind of rule is met and broken (FHIR R4 profiling.html, elementdefinition.html)."""

from typing import Any

import pytest

from fhir.model.profiles import Library, check, check_profiles
from fhir.model.profiles.codes import Question
from fhir.model.profiles.rule import Rule
from fhir.model.validation import IssueType, Severity, validate
from tests.unit.fhir_profiles.definitions import (
    BASE,
    CHILD,
    CLINIC,
    COLOUR,
    GUIDE,
    OBSERVATION,
    PATIENT,
    SNAPSHOT,
    good_observation,
    good_patient,
    structure,
)

OFFICE = {"organization": {"display": "x"}, "telecom": [{"system": "phone", "value": "1"}]}
PHONE, EMAIL = {"system": "phone", "value": "1"}, {"system": "email", "value": "a@b"}


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(GUIDE)


def colour(code: Any) -> dict[str, Any]:
    return {"url": COLOUR["url"], **code}


def coded(code: str) -> dict[str, Any]:
    return {"coding": [{"system": f"{BASE}/CodeSystem/colours", "code": code}]}


def errors(
    resource: dict[str, Any], profile: dict[str, Any], library: Library
) -> list[tuple[str, str | None]]:
    found = check_profiles(resource, [profile["url"]], library)
    return [(i.text, i.expression) for i in found if i.severity is Severity.ERROR]


GOOD = [
    pytest.param(good_patient(), PATIENT, id="least"),
    pytest.param(good_patient(extension=[colour({"valueCode": "crimson"})]), PATIENT, id="extension"),
    pytest.param(
        good_patient(extension=[{"url": "urn:other", "valueCode": "x"}]), PATIENT, id="other extension"
    ),
    pytest.param(
        good_patient(identifier=[{"system": "urn:mrn", "value": "12345"}, {"system": "urn:x"}]),
        PATIENT,
        id="in no slice, at the end",
    ),
    pytest.param(good_patient(telecom=[PHONE, EMAIL, EMAIL]), PATIENT, id="closed slices in order"),
    pytest.param(
        good_patient(contact=[OFFICE, {"gender": "male", "name": {"text": "x"}}]), PATIENT, id="exists"
    ),
    pytest.param(good_patient(maritalStatus={"text": "x"}), PATIENT, id="text where a code may be extended"),
    pytest.param(
        good_patient(managingOrganization={"reference": "Organization/1"}), PATIENT, id="target type"
    ),
    pytest.param(
        good_patient(
            contained=[{"resourceType": "Organization", "id": "o", "name": "x"}],
            managingOrganization={"reference": "#o"},
        ),
        PATIENT,
        id="contained target that conforms",
    ),
    pytest.param(good_patient(contact=[OFFICE]), CHILD, id="profile upon a profile"),
    pytest.param(good_observation(valueQuantity={"value": 1, "unit": "mm"}), OBSERVATION, id="type slice"),
    pytest.param(good_observation(valueString="x"), OBSERVATION, id="other type"),
    pytest.param({"resourceType": "Patient", "gender": "male"}, SNAPSHOT, id="snapshot"),
]
BAD: list[Any] = [
    pytest.param({"resourceType": "Group"}, PATIENT, "Group", id="another type"),
    pytest.param(good_patient(birthDate=None), PATIENT, "Patient.birthDate", id="too few"),
    pytest.param(good_patient(name=[{"family": "A"}] * 3), PATIENT, "Patient.name", id="too many"),
    pytest.param(good_patient(photo=[{"url": "http://e.org"}]), PATIENT, "Patient.photo", id="none allowed"),
    pytest.param(good_patient(name=[{"given": ["x"]}]), PATIENT, "Patient.name[0]", id="constraint"),
    pytest.param(good_patient(birthDate="1899-12-31"), PATIENT, "Patient.birthDate", id="below"),
    pytest.param(good_patient(birthDate="2100-01-02"), PATIENT, "Patient.birthDate", id="above"),
    pytest.param(
        good_patient(deceasedDateTime="2000"), PATIENT, "Patient.deceased", id="another of the choice"
    ),
    pytest.param(
        good_patient(identifier=[{"system": "urn:x"}]), PATIENT, "Patient.identifier", id="slice missing"
    ),
    pytest.param(
        good_patient(identifier=[{"system": "urn:mrn"}]),
        PATIENT,
        "Patient.identifier[0].value",
        id="within a slice",
    ),
    pytest.param(
        good_patient(identifier=[{"system": "urn:mrn", "value": "123456"}]),
        PATIENT,
        "Patient.identifier[0].value",
        id="too long",
    ),
    pytest.param(
        good_patient(identifier=[{"system": "urn:x"}, {"system": "urn:mrn", "value": "1"}]),
        PATIENT,
        "Patient.identifier",
        id="in no slice, not at the end",
    ),
    pytest.param(
        good_patient(identifier=[{"system": "urn:mrn", "value": "1"}] * 2),
        PATIENT,
        "Patient.identifier",
        id="slice too often",
    ),
    pytest.param(
        good_patient(telecom=[{"system": "fax", "value": "1"}]), PATIENT, "Patient.telecom[0]", id="closed"
    ),
    pytest.param(good_patient(telecom=[EMAIL, PHONE]), PATIENT, "Patient.telecom", id="order of slices"),
    pytest.param(
        good_patient(contact=[{"organization": {"display": "x"}}]),
        PATIENT,
        "Patient.contact[0].telecom",
        id="exists: its slice",
    ),
    pytest.param(
        good_patient(extension=[colour({"valueCode": "grey"})]),
        PATIENT,
        "Patient.extension[0].value",
        id="required binding of an extension",
    ),
    pytest.param(
        good_patient(extension=[colour({"valueString": "red"})]),
        PATIENT,
        "Patient.extension[0].value",
        id="type of an extension's value",
    ),
    pytest.param(
        good_patient(extension=[colour({"valueCode": "red"})] * 2),
        PATIENT,
        "Patient.extension",
        id="extension twice",
    ),
    pytest.param(
        good_patient(managingOrganization={"reference": "Patient/1"}),
        PATIENT,
        "Patient.managingOrganization.reference",
        id="target of another type",
    ),
    pytest.param(
        good_patient(
            contained=[{"resourceType": "Organization", "id": "o", "active": True}],
            managingOrganization={"reference": "#o"},
        ),
        PATIENT,
        "Patient.managingOrganization",
        id="contained target that does not conform",
    ),
    pytest.param(good_patient(), CHILD, "Patient.contact", id="profile upon a profile"),
    pytest.param(
        good_patient(name=None, contact=[OFFICE]), CHILD, "Patient.name", id="rule of the base profile"
    ),
    pytest.param(
        good_observation(valueQuantity={"value": 1}), OBSERVATION, "Observation.value.unit", id="type slice"
    ),
    pytest.param(
        good_observation(valueBoolean=True), OBSERVATION, "Observation.value", id="type of a choice"
    ),
    pytest.param(
        good_observation(category=[{"coding": [{"code": "x"}]}]),
        OBSERVATION,
        "Observation.category",
        id="value deep",
    ),
    pytest.param(
        good_observation(component=[{"code": {"coding": [{"system": "s", "code": "b"}]}}]),
        OBSERVATION,
        "Observation.component",
        id="pattern in an element",
    ),
    pytest.param(
        good_observation(
            contained=[good_observation(id="a"), good_observation(id="b")],
            hasMember=[{"reference": "#a"}, {"reference": "#b"}],
        ),
        OBSERVATION,
        "Observation.hasMember",
        id="discriminator profile",
    ),
    pytest.param({"resourceType": "Patient", "active": True}, SNAPSHOT, "Patient.gender", id="snapshot"),
]


def without_none(resource: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in resource.items() if value is not None}


@pytest.mark.parametrize(("resource", "profile"), GOOD)
def test_what_obeys_a_profile_has_no_error(
    resource: dict[str, Any], profile: dict[str, Any], library: Library
) -> None:
    assert validate(resource) == []
    assert errors(resource, profile, library) == []


@pytest.mark.parametrize(("resource", "profile", "place"), BAD)
def test_what_breaks_a_profile_is_placed(
    resource: dict[str, Any], profile: dict[str, Any], place: str, library: Library
) -> None:
    found = errors(without_none(resource), profile, library)
    assert place in [expression for _, expression in found], found


def test_an_extensible_binding_warns(library: Library) -> None:
    found = check_profiles(good_patient(maritalStatus=coded("grey")), [PATIENT["url"]], library)
    assert [(i.severity, i.code) for i in found if i.expression == "Patient.maritalStatus"] == [
        (Severity.WARNING, IssueType.CODE_INVALID)
    ]


def test_what_the_guide_cannot_tell_is_asked_and_answered(library: Library) -> None:
    profile = {
        **PATIENT,
        "url": "http://example.org/asks",
        "snapshot": {
            "element": [
                {"id": "Patient", "path": "Patient", "min": 0, "max": "*"},
                {
                    "id": "Patient.maritalStatus",
                    "path": "Patient.maritalStatus",
                    "min": 0,
                    "max": "1",
                    "type": [{"code": "CodeableConcept"}],
                    "binding": {"strength": "required", "valueSet": "http://example.org/elsewhere"},
                },
            ]
        },
    }
    library.add(profile)
    resource = good_patient(maritalStatus=coded("grey"))

    def errors_with(answer: bool | None) -> tuple[list[str], set[Question]]:
        with library.codes.asking({} if answer is None else {question: answer}) as unanswered:
            issues = check_profiles(resource, [profile["url"]], library)
        return [i.expression or "" for i in issues if i.severity is Severity.ERROR], unanswered

    ((system, code),) = [(c["system"], c["code"]) for c in resource["maritalStatus"]["coding"]]
    question = Question("http://example.org/elsewhere", system, code)
    assert errors_with(None) == ([], {question})
    assert errors_with(True) == ([], set())
    assert errors_with(False) == (["Patient.maritalStatus"], set())


def test_must_support_is_information(library: Library) -> None:
    (issue,) = check_profiles(good_patient(), [PATIENT["url"]], library)
    assert issue.severity is Severity.INFORMATION
    assert "extension" in issue.text
    assert "name" not in issue.text.removeprefix("Must-support elements")


def test_an_unknown_profile_is_a_warning(library: Library) -> None:
    (issue,) = check_profiles(good_patient(), ["http://example.org/unknown"], library)
    assert (issue.severity, issue.expression) == (Severity.WARNING, "Patient.meta.profile")


def test_a_version_may_be_named() -> None:
    library = Library([{**CLINIC, "version": "1"}])
    assert isinstance(library.profile(f"{CLINIC['url']}|1"), Rule)
    assert library.profile(f"{CLINIC['url']}|2") is None


def test_no_value_of_the_resource_is_told(library: Library) -> None:
    resource = good_patient(
        name=[{"given": ["Secret"]}], identifier=[{"system": "urn:mrn", "value": "Secret-1"}]
    )
    assert not any("Secret" in issue.text for issue in check_profiles(resource, [PATIENT["url"]], library))


@pytest.mark.parametrize(
    "broken",
    [
        structure("circle", "Patient", baseDefinition=f"{BASE}/StructureDefinition/circle"),
        {**structure("empty", "Patient"), "differential": {}},
        {**structure("odd", "Patient"), "differential": {"element": [{"id": 7, "path": 7, "min": "x"}]}},
    ],
    ids=["its own base", "no elements", "no elements that are any"],
)
def test_what_is_no_profile_is_not_known(broken: dict[str, Any]) -> None:
    assert Library([broken]).profile(broken["url"]) is None


def test_a_constraint_that_cannot_be_evaluated_is_a_warning() -> None:
    constraint = {"key": "x-1", "severity": "error", "human": "x", "expression": "nonsense("}
    profile = structure("odd", "Patient")
    profile["differential"]["element"][0]["constraint"] = [constraint]
    (issue,) = check_profiles(good_patient(), [profile["url"]], Library([profile]))
    assert issue.severity is Severity.WARNING


@pytest.mark.parametrize("junk", [{"name": 7}, {"identifier": [7]}, {"extension": {}}, {"telecom": [None]}])
def test_malformed_resources_are_survived(junk: dict[str, Any], library: Library) -> None:
    check_profiles(good_patient(**junk), [PATIENT["url"]], library)


def constrained(name: str, expression: str) -> dict[str, Any]:
    """A profile of Patient with one constraint."""
    constraint = {"key": "c-1", "severity": "error", "human": "It holds.", "expression": expression}
    made = structure(name, "Patient")
    made["differential"]["element"][0]["constraint"] = [constraint]
    return made


@pytest.mark.parametrize(
    "expression",
    [
        f"(1 | 2).select(%resource.conformsTo('{BASE}/StructureDefinition/endless')).count() = 2",
        "name.select(%resource.name.select(%resource.name.family)).exists()",
    ],
    ids=["profiles that lead to themselves", "an expression"],
)
def test_a_check_ends_however_much_profiles_ask_for(expression: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "MAX_STEPS", 2_000)
    endless = constrained("endless", expression)
    patient = {"resourceType": "Patient", "name": [{"family": f"x{n}"} for n in range(20)]}
    issues = check_profiles(patient, [endless["url"]], Library([*GUIDE, endless]))
    assert (issues[0].severity, issues[0].code) == (Severity.ERROR, IssueType.TOO_COSTLY)
