"""Whose record a resource belongs to: the patient compartment (FHIR R4 compartmentdefinition-patient.html).

Stricter than R4 at three spots, so that a patient-confined token never sees another patient's data. A
Patient is in its own compartment only (R4 adds those it links to; merged patients come with the token). A
type outside R4's compartment definition (Device, Binary, Bundle …) is in that of every patient it names
anywhere. And a resource in one patient's compartment that names others, wherever, counts as theirs too: a
confined token sees it only when all of them are its own (`fhir.search.sql.within_reach`). One that has no id
of ours (another server's URL, an identifier, a contained Patient) is `SOMEBODY`: no token reaches that.

A resource in nobody's compartment is out of reach, unless its type is in `SHARED_TYPES`.
"""

import re
from collections.abc import Iterator
from functools import cache

from fhir.search.definitions import SearchType, compartment_codes, parameters_of
from fhir.search.extract import Extract, extractor
from fhir.search.path import Json, Select, compile_path, parse_path
from fhir.search.reference import Target, targets_of_reference
from fhir.search.value import Surroundings

PATIENT = "Patient"
MAX_PATIENTS = 100  # that one resource counts as part of; of more it is nobody's: no token has so many
SOMEBODY = "?"  # in place of an id, which it cannot be (FHIR R4 datatypes.html#id)
_URL_OF_PATIENT = re.compile(
    r"(?:.*[/:])?Patient(?:[/?#].*)?", re.DOTALL
)  # also conditional, or with a fragment

# What a hospital has rather than a patient: actors, places, devices, products, definitions. Each is open to a
# confined token that has the scope, unless the resource names a patient.
SHARED_TYPES = frozenset(
    {
        "ActivityDefinition", "CapabilityStatement", "CatalogEntry", "ChargeItemDefinition", "CodeSystem",
        "CompartmentDefinition", "ConceptMap", "Device", "DeviceDefinition", "DeviceMetric", "Endpoint",
        "EventDefinition", "GraphDefinition", "HealthcareService", "ImplementationGuide", "InsurancePlan",
        "Library", "Location", "Measure", "Medication", "MedicationKnowledge", "MessageDefinition",
        "NamingSystem", "ObservationDefinition", "OperationDefinition", "Organization",
        "OrganizationAffiliation", "PlanDefinition", "Practitioner", "PractitionerRole", "Questionnaire",
        "SearchParameter", "SpecimenDefinition", "StructureDefinition", "StructureMap", "Substance",
        "SubstanceSpecification", "TerminologyCapabilities", "ValueSet",
    }
)  # fmt: skip


def patients_of(resource: Json, resource_id: str, around: Surroundings) -> frozenset[str]:
    """The patients whose record the resource is part of; a confined token needs to reach all of them."""
    patients = _patients_of(resource, resource_id, around)
    return patients if len(patients) <= MAX_PATIENTS else frozenset({SOMEBODY})


def told_of(
    resource: Json, resource_id: str, patients: frozenset[str], around: Surroundings
) -> frozenset[str]:
    """The patients whose denials close it, where those whose record it is part of do not say so alone.

    That is, where it is part of nobody's, of several, or of more than are kept: all that it names.
    """
    is_of_one = len(patients) == 1 and SOMEBODY not in patients
    if is_of_one or not (patients or _membership(resource["resourceType"])):
        return frozenset()
    named = _patients_of(resource, resource_id, around) | patients_mentioned(resource, around)
    return (named | patients) - {SOMEBODY}


def resources_named(resource: Json, around: Surroundings) -> frozenset[tuple[str, str]]:
    """Type and id of all resources of ours that it refers to, but Patients."""
    nodes = (node for node in _objects(resource) if isinstance(node.get("reference"), str))
    targets = (target for node in nodes for target in targets_of_reference(node, around))
    return frozenset((t.type, t.id) for t in targets if t.type and t.id and t.type != PATIENT)


def _patients_of(resource: Json, resource_id: str, around: Surroundings) -> frozenset[str]:
    resource_type = resource["resourceType"]
    if resource_type == PATIENT:  # it is its own whomever it links to: a link names, it does not tell
        unlinked = {name: value for name, value in resource.items() if name != "link"}
        return patients_mentioned(unlinked, around) | {resource_id}
    extracts = _membership(resource_type)
    if not extracts:
        return patients_mentioned(resource, around)
    targets = [target for extract in extracts for target in extract(resource, resource, around)]
    found = frozenset(t.id for t in targets if isinstance(t, Target) and t.type == PATIENT and t.id)
    return found | patients_mentioned(resource, around) if found else found


def patients_mentioned(resource: Json, around: Surroundings) -> frozenset[str]:
    """The ids of all patients that the resource names or holds anywhere; `SOMEBODY`: one without."""
    contained = frozenset(id(one) for one in resource.get("contained", ()))
    found: set[str] = set()
    for node in _objects(resource):
        if "reference" in node or "type" in node:
            found.update(_referred_to(node, around))
        if "resourceType" in node:
            found.update(_held_by(node, resource, contained))
    return _unresolved(resource, around) | found


def _referred_to(node: Json, around: Surroundings) -> Iterator[str]:
    literal = node.get("reference")
    if not (isinstance(literal, str) and PATIENT in literal) and node.get("type") != PATIENT:
        return
    for target in targets_of_reference(node, around):
        if target.type == PATIENT or (target.url and _URL_OF_PATIENT.fullmatch(target.url)):
            yield target.id or SOMEBODY


def _held_by(node: Json, resource: Json, contained: frozenset[int]) -> Iterator[str]:
    """A Patient within: an entry of a Bundle by its id; a contained one has no identity of its own."""
    if node is not resource and node.get("resourceType") == PATIENT:
        yield SOMEBODY if id(node) in contained else node.get("id") or SOMEBODY


def _unresolved(resource: Json, around: Surroundings) -> frozenset[str]:
    """`SOMEBODY` when an element that refers to patients only has a value that is no patient of ours."""
    nodes = [
        node for select in _patient_elements(resource["resourceType"]) for node in select(resource, resource)
    ]
    resolved = (any(t.type == PATIENT and t.id for t in targets_of_reference(n, around)) for n in nodes)
    return frozenset() if all(resolved) else frozenset({SOMEBODY})


@cache
def _patient_elements(resource_type: str) -> tuple[Select, ...]:
    return tuple(
        compile_path(parse_path(path))
        for parameter in parameters_of(resource_type).values()
        if parameter.type is SearchType.REFERENCE and parameter.targets == (PATIENT,)
        for path in parameter.paths or ()
    )


@cache
def _membership(resource_type: str) -> tuple[Extract, ...]:
    codes = compartment_codes(resource_type)
    parameters = parameters_of(resource_type)
    return tuple(extractor(parameters[code]) for code in codes if code in parameters)


def _objects(node: Json) -> Iterator[Json]:
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if type(current) is dict:
            yield current
            waiting += [child for child in current.values() if type(child) is dict or type(child) is list]
        elif type(current) is list:
            waiting += current
