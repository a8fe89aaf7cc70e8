"""A small guide of our own: profiles with each kind of rule, as differentials and as a snapshot."""

from typing import Any

BASE = "http://example.org/fhir"
CORE = "http://hl7.org/fhir/StructureDefinition"


def structure(name: str, type_: str, *elements: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A StructureDefinition with a differential; ids are made from paths and slice names."""
    return {
        "resourceType": "StructureDefinition",
        "id": name,
        "url": f"{BASE}/StructureDefinition/{name}",
        "name": name.title().replace("-", ""),
        "status": "active",
        "kind": "complex-type" if type_ == "Extension" else "resource",
        "abstract": False,
        "type": type_,
        "baseDefinition": f"{CORE}/{type_}",
        "derivation": "constraint",
        **({"context": [{"type": "element", "expression": "Patient"}]} if type_ == "Extension" else {}),
        "differential": {"element": [{"id": type_, "path": type_}, *elements]},
        **more,
    }


def element(id_: str, **rules: Any) -> dict[str, Any]:
    path = ".".join(step.partition(":")[0] for step in id_.split("."))
    last = id_.rpartition(".")[2].partition(":")[2]
    return {"id": id_, "path": path, **({"sliceName": last} if last else {}), **rules}


def by(kind: str, path: str, rules: str = "open", *, ordered: bool = False) -> dict[str, Any]:
    return {"discriminator": [{"type": kind, "path": path}], "rules": rules, "ordered": ordered}


COLOURS = {
    "resourceType": "ValueSet",
    "id": "colours",
    "url": f"{BASE}/ValueSet/colours",
    "status": "active",
    "compose": {
        "include": [{"system": f"{BASE}/CodeSystem/colours"}],
        "exclude": [{"system": f"{BASE}/CodeSystem/colours", "concept": [{"code": "grey"}]}],
    },
}
COLOUR_CODES = {
    "resourceType": "CodeSystem",
    "id": "colours",
    "url": f"{BASE}/CodeSystem/colours",
    "status": "active",
    "content": "complete",
    "concept": [{"code": "red", "concept": [{"code": "crimson"}]}, {"code": "grey"}],
}
COLOUR = structure(
    "colour",
    "Extension",
    element("Extension.url", fixedUri=f"{BASE}/StructureDefinition/colour"),
    element("Extension.value[x]", min=1, type=[{"code": "code"}],
            binding={"strength": "required", "valueSet": f"{BASE}/ValueSet/colours"}),
)  # fmt: skip
CLINIC = structure("clinic", "Organization", element("Organization.name", min=1))
PATIENT = structure(
    "our-patient",
    "Patient",
    element("Patient.extension", slicing=by("value", "url")),
    element("Patient.extension:colour", max="1", mustSupport=True,
            type=[{"code": "Extension", "profile": [COLOUR["url"]]}]),
    element("Patient.identifier", min=1, slicing=by("pattern", "$this", "openAtEnd")),
    element("Patient.identifier:mrn", min=1, max="1", patternIdentifier={"system": "urn:mrn"}),
    element("Patient.identifier:mrn.value", min=1, maxLength=5),
    element("Patient.name", min=1, max="2", mustSupport=True,
            constraint=[{"key": "our-1", "severity": "error", "human": "A family or a text",
                         "expression": "family.exists() or text.exists()"}]),
    element("Patient.telecom", slicing=by("value", "system", "closed", ordered=True)),
    element("Patient.telecom:phone", max="1"),
    element("Patient.telecom:phone.system", fixedCode="phone"),
    element("Patient.telecom:email"),
    element("Patient.telecom:email.system", fixedCode="email"),
    element("Patient.birthDate", min=1, minValueDate="1900-01-01", maxValueDate="2100-01-01"),
    element("Patient.deceased[x]", type=[{"code": "boolean"}]),
    element("Patient.maritalStatus",
            binding={"strength": "extensible", "valueSet": f"{BASE}/ValueSet/colours"}),
    element("Patient.contact", slicing=by("exists", "organization")),
    element("Patient.contact:office", max="1"),
    element("Patient.contact:office.organization", min=1),
    element("Patient.contact:office.telecom", min=1),
    element("Patient.photo", max="0"),
    element("Patient.managingOrganization",
            type=[{"code": "Reference", "targetProfile": [CLINIC["url"]]}]),
)  # fmt: skip
CHILD = structure("our-child", "Patient", element("Patient.contact", min=1), baseDefinition=PATIENT["url"])
OBSERVATION = structure(
    "our-observation",
    "Observation",
    element("Observation.category", slicing=by("value", "coding.code")),
    element("Observation.category:vital", min=1, max="1"),
    element("Observation.category:vital.coding", min=1),
    element("Observation.category:vital.coding.code", min=1, fixedCode="vital-signs"),
    element("Observation.value[x]", slicing=by("type", "$this"),
            type=[{"code": "Quantity"}, {"code": "string"}]),
    element("Observation.value[x]:valueQuantity", type=[{"code": "Quantity"}]),
    element("Observation.value[x]:valueQuantity.unit", min=1),
    element("Observation.hasMember", slicing=by("profile", "resolve()")),
    element("Observation.hasMember:own", max="1", type=[{"code": "Reference", "targetProfile": [
        f"{BASE}/StructureDefinition/our-observation"]}]),
    element("Observation.component", slicing=by("value", "code")),
    element("Observation.component:a", min=1),
    element("Observation.component:a.code",
            patternCodeableConcept={"coding": [{"system": "s", "code": "a"}]}),
    element("Observation.component.referenceRange", max="1"),
)  # fmt: skip
# As publishers write it: with a snapshot, which stands for itself.
SNAPSHOT = structure("snapshot", "Patient") | {
    "snapshot": {
        "element": [
            {
                "id": "Patient", "path": "Patient", "definition": "x", "min": 0, "max": "*",
                "base": {"path": "Patient", "min": 0, "max": "*"},
            },
            {
                "id": "Patient.gender", "path": "Patient.gender", "definition": "x", "min": 1, "max": "1",
                "base": {"path": "Patient.gender", "min": 0, "max": "1"}, "type": [{"code": "code"}],
            },
        ]
    }
}  # fmt: skip
GUIDE = (COLOURS, COLOUR_CODES, COLOUR, CLINIC, PATIENT, CHILD, OBSERVATION, SNAPSHOT)


def good_patient(**elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Patient",
        "identifier": [{"system": "urn:mrn", "value": "1"}],
        "name": [{"family": "A"}],
        "birthDate": "1970-01-01",
        **elements,
    }


def good_observation(**elements: Any) -> dict[str, Any]:
    return {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"system": "c", "code": "vital-signs"}]}],
        "code": {"text": "x"},
        "component": [{"code": {"coding": [{"system": "s", "code": "a"}]}, "valueInteger": 1}],
        **elements,
    }
