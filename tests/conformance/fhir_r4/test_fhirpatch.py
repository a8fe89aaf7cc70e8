"""FHIR R4 fhirpatch.html, operation by operation; the door's part of it as http.html#patch says."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.model.json_codec import decode_json, encode_json
from fhir.patching.faults import InvalidPatch, PatchFailed
from fhir.patching.fhirpath_patch import MAX_OPERATIONS, apply_fhirpath_patch, read_fhirpath_patch

PATIENT = decode_json(b"""{"resourceType":"Patient","id":"p","active":true,"birthDate":"1970",
  "identifier":[{"system":"urn:a","value":"1"},{"system":"urn:b","value":"2"}],
  "name":[{"family":"F","given":["A","B","C"],"_given":[null,{"id":"b"},null]}],
  "contact":[{"name":{"text":"old"}}]}""")
OBSERVATION = decode_json(b"""{"resourceType":"Observation","status":"final","code":{"text":"x"},
  "valueQuantity":{"value":1.00},"component":[{"code":{"text":"c"}}]}""")


EVERY = "%resource.descendants()"
COSTLY = f"{EVERY}.where({EVERY}.where({EVERY}.where({EVERY}.count() > 999).exists()).exists())"


def operation(type_: str, path: str, **parts: Any) -> dict[str, Any]:
    """An operation; a part is its own JSON when it is a dict with a name, else an integer or a string."""
    listed = [{"name": "type", "valueCode": type_}, {"name": "path", "valueString": path}]
    for name, value in parts.items():
        if isinstance(value, dict):
            listed.append({"name": name, **value})
        else:
            listed.append({"name": name, "valueInteger" if isinstance(value, int) else "valueString": value})
    return {"name": "operation", "part": listed}


def patched(resource: Any, *operations: dict[str, Any]) -> Any:
    changes = read_fhirpath_patch({"resourceType": "Parameters", "parameter": list(operations)})
    return apply_fhirpath_patch(changes, resource)


@pytest.mark.parametrize(
    ("resource", "change", "path", "expected"),
    [
        pytest.param(PATIENT, operation("add", "Patient", name="gender", value={"valueCode": "male"}),
            "gender", "male", id="add an element"),
        pytest.param(PATIENT, operation("add", "Patient", name="deceased", value={"valueBoolean": False}),
            "deceasedBoolean", False, id="add a choice"),
        pytest.param(PATIENT, operation("add", "Patient", name="identifier", value={
            "valueIdentifier": {"value": "3"}}), "identifier.2", {"value": "3"}, id="add to a list"),
        pytest.param(PATIENT, operation("add", "Patient", name="photo", value={
            "valueAttachment": {"title": "t"}}), "photo", [{"title": "t"}], id="add the first of a list"),
        pytest.param(PATIENT, operation("add", "Patient.name[0]", name="given", value={"valueString": "D"}),
            "name.0.given.3", "D", id="add a primitive to a list"),
        pytest.param(PATIENT, operation("add", "Patient", name="contact", value={"part": [
            {"name": "name", "valueHumanName": {"text": "a name"}},
            {"name": "gender", "valueCode": "female"},
            {"name": "telecom", "valueContactPoint": {"value": "1"}}]}),
            "contact.1", {"name": {"text": "a name"}, "gender": "female", "telecom": [{"value": "1"}]},
            id="add an element without a type"),
        pytest.param(OBSERVATION, operation("add", "Observation.component[0]", name="value", value={
            "valueString": "s"}), "component.0.valueString", "s", id="add a choice within"),
        pytest.param(PATIENT, operation("insert", "Patient.identifier", index=1, value={
            "valueIdentifier": {"value": "x"}}), "identifier.1", {"value": "x"}, id="insert"),
        pytest.param(PATIENT, operation("insert", "Patient.identifier", index=2, value={
            "valueIdentifier": {"value": "x"}}), "identifier.2", {"value": "x"}, id="insert at the end"),
        pytest.param(PATIENT, operation("insert", "Patient.name.given", index=0, value={"valueString": "Z"}),
            "name.0._given", [None, None, {"id": "b"}, None], id="insert keeps extensions where they belong"),
        pytest.param(PATIENT, operation("delete", "Patient.birthDate"), "birthDate", None, id="delete"),
        pytest.param(PATIENT, operation("delete", "Patient.identifier.where(system='urn:a')"),
            "identifier", [{"system": "urn:b", "value": "2"}], id="delete one of a list"),
        pytest.param(PATIENT, operation("delete", "Patient.contact[0]"), "contact", None,
            id="delete the last of a list"),
        pytest.param(PATIENT, operation("delete", "Patient.maritalStatus"), "active", True,
            id="delete what is not there"),
        pytest.param(PATIENT, operation("delete", "Patient.name.given[1]"), "name.0.given", ["A", "C"],
            id="delete a primitive"),
        pytest.param(PATIENT, operation("replace", "Patient.birthDate", value={"valueDate": "1971"}),
            "birthDate", "1971", id="replace a primitive"),
        pytest.param(PATIENT, operation("replace", "Patient.name.given[2]", value={"valueString": "Z"}),
            "name.0.given", ["A", "B", "Z"], id="replace a primitive of a list"),
        pytest.param(PATIENT, operation("replace", "Patient.contact[0].name", value={
            "valueHumanName": {"text": "new"}}), "contact.0.name", {"text": "new"}, id="replace a datatype"),
        pytest.param(OBSERVATION, operation("replace", "Observation.value", value={"valueString": "s"}),
            "valueQuantity", None, id="replace a choice by another type"),
        pytest.param(PATIENT, operation("move", "Patient.name.given", source=0, destination=2),
            "name.0.given", ["B", "C", "A"], id="move"),
        pytest.param(PATIENT, operation("move", "Patient.name.given", source=1, destination=0),
            "name.0._given", [{"id": "b"}, None, None], id="move takes extensions along"),
    ],
)  # fmt: skip
def test_operations(resource: Any, change: dict[str, Any], path: str, expected: Any) -> None:
    before = encode_json(resource)
    node = patched(resource, change)
    for name in path.split("."):
        node = node[int(name)] if isinstance(node, list) else node.get(name)
    assert node == expected
    assert encode_json(resource) == before


@pytest.mark.parametrize(
    "change",
    [
        operation("add", "Patient", name="nope", value={"valueString": "x"}),
        operation("add", "Patient", name="birthDate", value={"valueDate": "1971"}),
        operation("add", "Patient.identifier", name="value", value={"valueString": "x"}),
        operation("add", "Patient.photo", name="title", value={"valueString": "x"}),
        operation("add", "Patient", name="contact", value={"part": [{"name": "nope", "valueCode": "x"}]}),
        operation("add", "Patient", name="contact", value={"part": []}),
        operation("insert", "Patient.identifier", index=3, value={"valueIdentifier": {"value": "x"}}),
        operation("insert", "Patient.identifier[0]", index=0, value={"valueIdentifier": {"value": "x"}}),
        operation("insert", "Patient.birthDate", index=0, value={"valueDate": "1971"}),
        operation("insert", "Patient.photo", index=0, value={"valueAttachment": {"title": "x"}}),
        operation("delete", "Patient.identifier"),
        operation("delete", "Patient"),
        operation("delete", "Patient.name.count()"),
        operation("replace", "Patient.gender", value={"valueCode": "male"}),
        operation("replace", "Patient.identifier", value={"valueIdentifier": {"value": "x"}}),
        operation("move", "Patient.identifier", source=2, destination=0),
        operation("move", "Patient.identifier", source=0, destination=2),
        operation("delete", COSTLY),
    ],
)
def test_what_does_not_fit(change: dict[str, Any]) -> None:
    with pytest.raises(PatchFailed):
        patched(PATIENT, operation("delete", "Patient.active"), change)


@pytest.mark.parametrize(
    "parameters",
    [
        {"resourceType": "Patient"},
        {"resourceType": "Parameters", "parameter": [{"name": "operation"}]},
        {
            "resourceType": "Parameters",
            "parameter": [{"name": "x", "part": operation("delete", "a")["part"]}],
        },
        {"resourceType": "Parameters", "parameter": [operation("dance", "Patient")]},
        {"resourceType": "Parameters", "parameter": [operation("delete", "Patient.(")]},
        {"resourceType": "Parameters", "parameter": [operation("delete", "Patient.nosuchfunction()")]},
        {"resourceType": "Parameters", "parameter": [operation("add", "Patient", name="x")]},
        {"resourceType": "Parameters", "parameter": [operation("move", "Patient", source=-1, destination=0)]},
        {"resourceType": "Parameters", "parameter": [operation("delete", "a")] * (MAX_OPERATIONS + 1)},
    ],
)
def test_what_is_no_patch(parameters: dict[str, Any]) -> None:
    with pytest.raises(InvalidPatch):
        read_fhirpath_patch(parameters)


def test_decimals_keep_their_digits() -> None:
    change = operation("add", "Observation.component[0]", name="value", value={"valueQuantity": {}})
    change["part"][3] = decode_json(b'{"name":"value","valueQuantity":{"value":2.50}}')
    written = encode_json(patched(OBSERVATION, change))
    assert b'"value":1.00' in written
    assert b'"value":2.50' in written


async def test_at_the_door(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    one = await create({"resourceType": "Patient", "birthDate": "1970"})
    change = operation("replace", "Patient.birthDate", value={"valueDate": "1971"})
    body = {"resourceType": "Parameters", "parameter": [change]}
    answer = await client.patch(
        f"/Patient/{one}", json=body, headers={"content-type": "application/fhir+json"}
    )
    assert (answer.status_code, answer.json()["birthDate"], answer.headers["etag"]) == (200, "1971", 'W/"2"')
    change["part"][2] = {"name": "value", "valueString": "not a date"}
    assert (await client.patch(f"/Patient/{one}", json=body)).status_code == 400
    change["part"][1] = {"name": "path", "valueString": "Patient.name"}
    assert (await client.patch(f"/Patient/{one}", json=body)).status_code == 422
    assert (
        await client.patch(f"/Patient/{one}", json={"resourceType": "Parameters", "nope": 1})
    ).status_code == 400
