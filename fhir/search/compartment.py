"""Whose record a resource belongs to: the patient compartment (FHIR R4 compartmentdefinition-patient.html).

Stricter than R4 at three spots, so that a patient-confined token never sees another patient's data: a
Patient is in its own compartment only (R4 adds those it links to; merged patients come with the token), a
Group of several patients is in none, and a type outside R4's compartment definition (Device, Binary, Bundle
…) is in that of every patient it refers to anywhere. A confined token sees a resource of such a type only
through that membership, or if the type is in `SHARED_TYPES` and the resource refers to no patient at all.
"""

from collections.abc import Iterator
from functools import cache

from fhir.search.definitions import compartment_codes, parameters_of
from fhir.search.extract import Extract, extractor
from fhir.search.path import Json
from fhir.search.reference import Target, targets_of_reference
from fhir.search.value import Surroundings

PATIENT = "Patient"

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
    """The ids of the patients in whose compartment the resource is."""
    resource_type = resource["resourceType"]
    if resource_type == PATIENT:
        return frozenset({resource_id})
    extracts = _membership(resource_type)
    if not extracts:
        return patients_mentioned(resource, around)
    targets = [target for extract in extracts for target in extract(resource, resource, around)]
    found = frozenset(t.id for t in targets if isinstance(t, Target) and t.type == PATIENT and t.id)
    return frozenset() if resource_type == "Group" and len(found) > 1 else found


def patients_mentioned(resource: Json, around: Surroundings) -> frozenset[str]:
    """The ids of all patients that any reference in the resource names."""
    return frozenset(
        target.id
        for node in _references(resource)
        for target in targets_of_reference(node, around)
        if target.type == PATIENT and target.id
    )


@cache
def _membership(resource_type: str) -> tuple[Extract, ...]:
    codes = compartment_codes(resource_type)
    parameters = parameters_of(resource_type)
    return tuple(extractor(parameters[code]) for code in codes if code in parameters)


def _references(node: Json) -> Iterator[Json]:
    waiting = [node]
    while waiting:
        current = waiting.pop()
        if isinstance(current, dict):
            if isinstance(current.get("reference"), str):
                yield current
            waiting += current.values()
        elif isinstance(current, list):
            waiting += current
