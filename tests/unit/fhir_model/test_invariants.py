"""The invariants of R4: each is met, broken and placed; what is written out agrees with its FHIRPath."""

from decimal import Decimal
from typing import Any

import pytest

from fhir.fhirpath import Item, compile_expression
from fhir.fhirpath.kinds import kind_of
from fhir.fhirpath.shortcuts import shortcut
from fhir.model.validation import IssueType, Severity, validate
from fhir.model.validation.definitions import _file as definitions_file
from fhir.model.validation.definitions import constraint_of, resource_types, structure_of
from fhir.model.validation.invariants import CORRECTED, EMPTY_IS_FINE, LEFT_OUT, WRITTEN_OUT, invariants_at
from fhir.model.validation.report import Report
from tests.fhir_examples import BUNDLES, EXAMPLES, example

NAMED = {"txt-1": "well-formed XHTML"}
UCUM = "http://unitsofmeasure.org"


def of(type_name: str, **elements: Any) -> dict[str, Any]:
    return {"resourceType": type_name, **elements}


def observation(**elements: Any) -> dict[str, Any]:
    return of("Observation", status="final", code={"coding": [{"system": "s", "code": "c"}]}, **elements)


def item(**elements: Any) -> dict[str, Any]:
    return of("Questionnaire", status="draft", item=[{"linkId": "1", **elements}])


BROKEN: list[tuple[str, dict[str, Any], str]] = [
    ("pat-1", of("Patient", contact=[{"gender": "male"}]), "Patient.contact[0]"),
    ("ele-1", of("Patient", name=[{"id": "x"}]), "Patient.name[0]"),
    ("ele-1", of("Patient", _birthDate={"id": "x"}), "Patient.birthDate"),
    ("obs-3", observation(referenceRange=[{"type": {"text": "x"}}]), "Observation.referenceRange[0]"),
    (
        "obs-3",
        observation(component=[{"code": {"text": "x"}, "referenceRange": [{"type": {"text": "x"}}]}]),
        "Observation.component[0].referenceRange[0]",
    ),
    ("obs-6", observation(valueString="x", dataAbsentReason={"text": "y"}), "Observation"),
    (
        "obs-7",
        observation(
            valueString="x",
            component=[{"code": {"coding": [{"system": "s", "code": "c"}]}, "valueString": "x"}],
        ),
        "Observation",
    ),
    ("qty-3", observation(valueQuantity={"value": 1, "code": "mg"}), "Observation.value"),
    ("per-1", observation(effectivePeriod={"start": "2020-02", "end": "2020-01"}), "Observation.effective"),
    (
        "per-1",
        observation(
            effectivePeriod={"start": "2020-01-01T10:00:00+01:00", "end": "2020-01-01T08:59:59.9Z"}
        ),
        "Observation.effective",
    ),
    (
        "rng-2",
        observation(
            valueRange={
                "low": {"value": 2, "code": "g", "system": UCUM},
                "high": {"value": 3, "code": "mg", "system": UCUM},
            }
        ),
        "Observation.value",
    ),
    ("rat-1", observation(valueRatio={"numerator": {"value": 1}}), "Observation.value"),
    ("ref-1", observation(subject={"reference": "#p"}), "Observation.subject"),
    ("ref-1", observation(subject={"reference": "#"}), "Observation.subject"),
    ("dom-3", of("Patient", contained=[of("Organization", id="o", name="x")]), "Patient"),
    (
        "dom-4",
        of(
            "Patient",
            contained=[of("Organization", id="o", name="x", meta={"versionId": "1"})],
            managingOrganization={"reference": "#o"},
        ),
        "Patient",
    ),
    ("txt-1", of("Patient", text={"status": "empty", "div": "x"}), "Patient.text.div"),
    ("org-1", of("Organization", active=True), "Organization"),
    (
        "org-2",
        of("Organization", name="x", address=[{"use": "home", "city": "x"}]),
        "Organization.address[0]",
    ),
    ("cpt-2", of("Patient", telecom=[{"value": "1"}]), "Patient.telecom[0]"),
    ("att-1", of("Patient", photo=[{"data": "aGk="}]), "Patient.photo[0]"),
    ("que-1", item(type="group"), "Questionnaire.item[0]"),
    (
        "que-2",
        of(
            "Questionnaire",
            status="draft",
            item=[{"linkId": "1", "type": "string"}, {"linkId": "1", "type": "string"}],
        ),
        "Questionnaire",
    ),
    (
        "que-7",
        item(type="string", enableWhen=[{"question": "1", "operator": "exists", "answerInteger": 1}]),
        "Questionnaire.item[0].enableWhen[0]",
    ),
    (
        "que-12",
        item(type="string", enableWhen=[{"question": "1", "operator": "=", "answerInteger": 1}] * 2),
        "Questionnaire.item[0]",
    ),
    ("bdl-3", of("Bundle", type="batch", entry=[{"resource": of("Patient")}]), "Bundle"),
    ("bdl-5", of("Bundle", type="collection", entry=[{"fullUrl": "http://e.org/1"}]), "Bundle.entry[0]"),
    (
        "ras-2",
        of(
            "RiskAssessment",
            status="final",
            subject={"reference": "Patient/1"},
            prediction=[{"probabilityDecimal": Decimal(101)}],
        ),
        "RiskAssessment.prediction[0]",
    ),
    (
        "vsd-1",
        of("ValueSet", status="draft", compose={"include": [{"version": "1"}]}),
        "ValueSet.compose.include[0]",
    ),
    (
        "tim-9",
        of("Task", status="draft", intent="order", restriction={"period": {"start": "2020"}}, input=[
            {"type": {"text": "x"}, "valueTiming": {"repeat": {"offset": 1, "when": ["CM"]}}}]),
        "Task.input[0].value.repeat",
    ),
    (
        "inv-1",
        of("Task", status="draft", intent="order", authoredOn="2020-01-02", lastModified="2020-01-01"),
        "Task",
    ),
    ("inv-1", of("Parameters", parameter=[{"name": "x"}]), "Parameters.parameter[0]"),
    (
        "eld-3",
        of(
            "StructureDefinition",
            url="http://e.org/x",
            name="X",
            status="draft",
            kind="resource",
            abstract=False,
            type="Patient",
            baseDefinition="http://hl7.org/fhir/StructureDefinition/Patient",
            derivation="constraint",
            differential={"element": [{"id": "Patient", "path": "Patient", "max": "many"}]},
        ),
        "StructureDefinition.differential.element[0].max",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("key", "resource", "expression"), BROKEN)
def test_a_broken_invariant_is_named_and_placed(key: str, resource: dict[str, Any], expression: str) -> None:
    assert [i.expression for i in validate(resource) if NAMED.get(key, f"({key})") in i.text] == [expression]


def test_the_code_says_that_it_is_an_invariant() -> None:
    (issue,) = validate(of("Organization", active=True))
    assert (issue.code, issue.severity) == (IssueType.INVARIANT, Severity.ERROR)
    assert "identifier" in issue.text


HELD = [
    observation(effectivePeriod={"start": "2020", "end": "2020-01"}),  # nobody can say
    observation(valueRange={"low": {"value": 2, "unit": "a"}, "high": {"value": 1, "unit": "b"}}),
    of(
        "Patient",
        contained=[of("Organization", id="o", name="x")],
        managingOrganization={"reference": "#o"},
    ),
    of(
        "Patient",
        contained=[of("Provenance", target=[{"reference": "#"}], recorded="2020-01-01T00:00:00Z",
                      agent=[{"who": {"display": "x"}}])],
    ),  # it refers to what it is in (dom-3)
    of("Patient", gender="male", _gender={"id": "x"}),
]  # fmt: skip


@pytest.mark.parametrize("resource", HELD)
def test_what_holds_is_not_refused(resource: dict[str, Any]) -> None:
    assert validate(resource) == []


def test_advice_is_given_only_when_asked_for() -> None:
    patient = of("Patient", active=True)
    assert validate(patient) == []
    (issue,) = validate(patient, with_warnings=True)
    assert issue.severity is Severity.WARNING
    assert "(dom-6)" in issue.text


def test_every_invariant_of_r4_compiles_where_it_stands() -> None:
    seen = set()
    for type_name in definitions_file().types:
        structure = structure_of(type_name)
        seen |= {i.key for i in invariants_at((type_name, ""), structure.constraints)}
        for elements in structure.elements.values():
            for element in elements:
                seen |= {i.key for i in invariants_at((type_name, ""), element.constraints)}
    known = {key.rpartition("#")[2] for key in definitions_file().constraints}
    assert seen == known - set(LEFT_OUT)


def test_what_is_treated_apart_exists() -> None:
    known = set(definitions_file().constraints)
    assert {*LEFT_OUT, *CORRECTED, *WRITTEN_OUT, *EMPTY_IS_FINE} <= known


@pytest.mark.parametrize("key", ["org-1", "ipn-1"])
@pytest.mark.parametrize("present", [{}, {"name": "x"}, {"identifier": [{"value": "1"}]}])
def test_what_is_said_shorter_says_the_same(key: str, present: dict[str, Any]) -> None:
    resource = of("Organization" if key == "org-1" else "InsurancePlan", **present)
    published = constraint_of(key, resource["resourceType"]).expression or ""
    assert compile_expression(CORRECTED[key]).holds(resource) is compile_expression(published).holds(resource)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_shortcut_never_contradicts_the_evaluation(name: str) -> None:
    resource = example(name)
    kind = kind_of(resource["resourceType"])
    for key in structure_of(resource["resourceType"]).constraints:
        expression = compile_expression(constraint_of(key, resource["resourceType"]).expression or "true")
        for subset in (resource, {}, {"resourceType": resource["resourceType"]}, *halves(resource)):
            told = shortcut(expression.tree, kind)(subset)
            assert told is None or told == expression.holds(with_kind(subset, resource))


def entries(kind: str, *entry: dict[str, Any]) -> dict[str, Any]:
    return of("Bundle", type=kind, entry=list(entry))


WITH_VERSION = {"fullUrl": "urn:a", "resource": of("Patient", meta={"versionId": "1"})}
HOLDING_OR_NOT = [
    *(entries(kind, {"request": {}}, {"request": {}}) for kind in ("batch", "history", "searchset")),
    *(entries(kind, {"request": {}}, {"fullUrl": "urn:a"}) for kind in ("transaction", "collection")),
    *(entries(kind, {"response": {}}) for kind in ("batch-response", "batch", "history")),
    entries("collection", {"fullUrl": "urn:a"}, {"fullUrl": "urn:a"}),
    entries("history", {"fullUrl": "urn:a"}, {"fullUrl": "urn:a"}),
    entries("collection", {"fullUrl": "urn:a"}, {"fullUrl": "urn:b"}, {}),
    entries("collection", {"fullUrl": "urn:a"}, WITH_VERSION),
    entries("collection", WITH_VERSION, WITH_VERSION),
    *(
        of(
            "Patient",
            contained=[of("Organization", id="o", meta=meta)],
            managingOrganization={"reference": "#o"},
        )
        for meta in (
            {"versionId": "1"},
            {"lastUpdated": "2020-01-01T00:00:00Z"},
            {"security": [{"code": "x"}]},
            {},
        )
    ),
    of("Patient", contained=[of("Organization", id="o")]),
    of("Patient", contained=[of("Basic", id="o", subject={"reference": "#"})]),
    of("Patient", managingOrganization={"reference": "#o"}),
    of("Patient", managingOrganization={"reference": "Organization/o"}),
    of("CodeSystem", concept=[{"code": "a", "concept": [{"code": "b"}]}, {"code": "c"}]),
    of("CodeSystem", concept=[{"code": "a", "concept": [{"code": "b"}]}, {"code": "b"}]),
    of("CodeSystem", concept=[{"code": "a"}, {"code": "A"}, {"display": "without"}, {"display": "code"}]),
    of("CodeSystem", concept=[{"code": "a", "concept": [{"code": "b", "concept": [{"code": "a"}]}]}]),
]


@pytest.mark.parametrize("resource", HOLDING_OR_NOT)
def test_what_is_written_out_says_what_its_expression_says(resource: dict[str, Any]) -> None:
    type_name = resource["resourceType"]
    for invariant in invariants_at((type_name, ""), structure_of(type_name).constraints):
        if invariant.key in WRITTEN_OUT:
            expression = compile_expression(constraint_of(invariant.key, type_name).expression or "")
            assert invariant.holds(resource, Report()) is expression.holds(resource), invariant.key


PERIODS = [
    {"start": "2020", "end": "2020"},
    {"start": "2020-01-01", "end": "2020-01-02"},
    {"start": "2020-01-02", "end": "2020-01-01"},
    {"start": "2020-01-01T00:00:00.5Z", "end": "2020-01-01T00:00:00.4Z"},
    {"start": "2020-01-01T10:00:00+01:00", "end": "2020-01-01T08:00:00-01:00"},
    {"start": "2020-01-01T10:00:00-01:00", "end": "2020-01-01T10:00:00+01:00"},
    {"end": "2020"},
]


@pytest.mark.parametrize("period", PERIODS)
def test_periods_are_compared_as_fhirpath_does(period: dict[str, Any]) -> None:
    expression = compile_expression(constraint_of("per-1", "Period").expression or "")
    told = expression.holds(Item(period, kind_of("Period")))
    assert WRITTEN_OUT["per-1"][1](period, Report()) is told


def with_kind(subset: dict[str, Any], resource: dict[str, Any]) -> dict[str, Any]:
    return {**subset, "resourceType": resource["resourceType"]}


def halves(resource: dict[str, Any]) -> list[dict[str, Any]]:
    names = list(resource)
    return [{n: resource[n] for n in names[::2]}, {n: resource[n] for n in names[1::2]}]


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_examples_are_valid(name: str) -> None:
    assert [i.text for i in validate(example(name))] == WRONG_EXAMPLES.get(name, [])


@pytest.mark.parametrize("name", BUNDLES)
def test_synthea_is_valid(name: str) -> None:
    assert validate(example(name)) == []


NO_TARGET = "This type of resource does not exist or is not allowed here."
# HL7's examples of R4 that break R4, as the test cases carry them.
WRONG_EXAMPLES = {
    "bundle-questionnaire.json": ["This element is required."] * 50,  # items without linkId
    "codesystem-example.json": ["Within a code system definition, all the codes SHALL be unique (csd-1)."],
    "devicemetric-example.json": [NO_TARGET],
    "deviceusestatement-example.json": [NO_TARGET],
    "medicationrequest0301.json": [NO_TARGET],
}


def test_every_resource_type_has_its_invariants() -> None:
    for name in resource_types() - {"Bundle", "Binary", "Parameters"}:
        assert {"dom-3", "dom-6"} <= {
            i.key for i in invariants_at((name, ""), structure_of(name).constraints)
        }


def test_thousands_of_components_are_told_apart_at_once() -> None:
    """By obs-7 as published each code of a component is looked for among all of the Observation's own."""
    codings = [{"system": "http://x.test/", "code": f"own-{n}"} for n in range(2_000)]
    components = [
        {"code": {"coding": [{"system": "http://x.test/", "code": f"other-{n}"}]}, "valueString": "x"}
        for n in range(2_000)
    ]
    crowded = observation(valueString="x", component=components) | {"code": {"coding": codings}}
    assert validate(crowded) == []
    components[-1]["code"]["coding"] = codings[-1:]
    assert [issue.text[-8:] for issue in validate(crowded)] == ["(obs-7)."]


def test_a_code_system_may_have_any_number_of_codes() -> None:
    """csd-1 as published takes steps for each code; a code system is not wrong for having used them up."""
    concepts = [{"code": f"c{n}", "property": [{"code": "p", "valueInteger": n}]} for n in range(120_000)]
    system = of("CodeSystem", concept=concepts)
    (csd_1,) = (
        each
        for each in invariants_at(("CodeSystem", ""), structure_of("CodeSystem").constraints)
        if each.key == "csd-1"
    )
    assert csd_1.holds(system, Report())
    concepts.append({"code": "c7"})
    assert not csd_1.holds(system, Report())
