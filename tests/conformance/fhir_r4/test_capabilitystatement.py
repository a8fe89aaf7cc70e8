"""FHIR R4 capabilitystatement.html and SMART App Launch: what /fhir/metadata says."""

from collections.abc import Callable
from typing import Any

import pytest

from fhir.capability import ResourceFacts, SearchParameterFacts, ServerFacts, capability_statement
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation import validate

URIS = {"authorize": "https://h.example/auth/authorize", "token": "https://h.example/auth/token"}
RESOURCES = [
    ResourceFacts(
        "Patient",
        ["read", "vread", "create", "update", "search-type"],
        [
            SearchParameterFacts(
                "identifier", "token", "http://hl7.org/fhir/SearchParameter/Patient-identifier"
            )
        ],
        conditional_create=True,
    ),
    ResourceFacts("AuditEvent", ["read"], operations=[("everything", "http://example.org/op")]),
]


@pytest.fixture
def statement() -> dict[str, Any]:
    server = ServerFacts("https://h.example/fhir", "1.0", "2026-01-01", ["transaction"], oauth_uris=URIS)
    return capability_statement(server, RESOURCES)


def test_it_is_a_valid_capability_statement(statement: dict[str, Any], as_r4b: Callable[[Any], Any]) -> None:
    assert validate(decode_json(encode_json(statement))) == []
    assert as_r4b(statement).fhirVersion == "4.0.1"


def test_it_claims_r4_and_json_only(statement: dict[str, Any]) -> None:
    assert statement["fhirVersion"] == "4.0.1"
    assert statement["format"] == ["application/fhir+json", "json"]
    assert statement["implementation"]["url"] == "https://h.example/fhir"


def test_smart_clients_find_the_oauth_endpoints(statement: dict[str, Any]) -> None:
    security = statement["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    (extension,) = security["extension"]
    assert extension["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    assert {e["url"]: e["valueUri"] for e in extension["extension"]} == URIS


def test_a_server_without_login_claims_no_security_service() -> None:
    server = ServerFacts("http://127.0.0.1:8080/fhir", "1.0", "2026-01-01")
    statement = capability_statement(server, RESOURCES)
    assert "service" not in statement["rest"][0]["security"]
    assert validate(statement) == []


def test_types_are_listed_once_and_in_order(statement: dict[str, Any]) -> None:
    types = statement["rest"][0]["resource"]
    assert [t["type"] for t in types] == ["AuditEvent", "Patient"]
    assert [i["code"] for i in types[1]["interaction"]] == [
        "read",
        "vread",
        "create",
        "update",
        "search-type",
    ]
    assert types[1]["searchParam"][0]["name"] == "identifier"
    assert (types[0]["versioning"], types[1]["versioning"]) == ("versioned", "versioned-update")
