"""What ships is there at the door (FHIR R4 terminology-service.html; terminologies-systems.html)."""

from typing import Any

import httpx
import pytest

from tests.conftest import sqlite_first

Json = Any
pytestmark = sqlite_first


async def ask(client: httpx.AsyncClient, path: str, **inputs: str) -> dict[str, Json]:
    answer = await client.get(f"/{path}", params=inputs)
    assert answer.status_code == 200, answer.text
    return {
        each["name"]: next(value for name, value in each.items() if name != "name")
        for each in answer.json()["parameter"]
    }


@pytest.mark.parametrize(
    ("system", "code", "display"),
    [
        ("http://hl7.org/fhir/administrative-gender", "other", "Other"),
        ("http://terminology.hl7.org/CodeSystem/v3-NullFlavor", "UNK", "unknown"),
        ("http://dicom.nema.org/resources/ontology/DCM", "126000", "Imaging Measurement Report"),
        ("http://snomed.info/sct", "39607008", "Lung"),
        ("http://unitsofmeasure.org", "mm[Hg]", "mm[Hg]"),
        ("urn:ietf:bcp:47", "de-AT", "German (Austria)"),
        ("urn:ietf:bcp:13", "application/dicom", "application/dicom"),
        ("urn:iso:std:iso:3166", "CH", "Switzerland"),
        ("urn:iso:std:iso:3166:-2", "DE-BY", "Bayern"),
        ("urn:iso:std:iso:4217", "CHF", "Swiss Franc"),
    ],
)
async def test_a_code_is_looked_up(client: httpx.AsyncClient, system: str, code: str, display: str) -> None:
    assert (await ask(client, "CodeSystem/$lookup", system=system, code=code))["display"] == display


@pytest.mark.parametrize(
    ("system", "code", "url", "holds"),
    [
        ("http://unitsofmeasure.org", "km", "all-distance-units", True),
        ("http://unitsofmeasure.org", "kg", "all-distance-units", False),
        ("http://unitsofmeasure.org", "furlong", "ucum-units", False),
        ("urn:ietf:bcp:47", "gsw-CH", "all-languages", True),
        ("urn:ietf:bcp:47", "german", "all-languages", False),
        ("urn:ietf:bcp:13", "image/jls", "mimetypes", True),
        ("urn:iso:std:iso:3166", "CHE", "iso3166-1-3", True),
        ("urn:iso:std:iso:3166", "CH", "iso3166-1-3", False),
        ("http://dicom.nema.org/resources/ontology/DCM", "MR", "media-modality", True),
    ],
)
async def test_a_code_is_validated(
    client: httpx.AsyncClient, system: str, code: str, url: str, holds: bool
) -> None:
    value_set = f"http://hl7.org/fhir/ValueSet/{url}"
    found = await ask(client, "ValueSet/$validate-code", url=value_set, system=system, code=code)
    assert found["result"] is holds, found


async def test_a_context_group_is_expanded(client: httpx.AsyncClient) -> None:
    page = "http://dicom.nema.org/medical/dicom/current/output/chtml/part16/sect_CID_244.html"
    answer = await client.get("/ValueSet/$expand", params={"url": page})
    assert {each["display"] for each in answer.json()["expansion"]["contains"]} == {
        "Left",
        "Right",
        "Bilateral",
        "Unilateral",
    }


async def test_a_grammar_is_too_costly_to_expand(client: httpx.AsyncClient) -> None:
    url = "http://hl7.org/fhir/ValueSet/ucum-units"
    answer = await client.get("/ValueSet/$expand", params={"url": url})
    assert answer.status_code == 422
    assert answer.json()["issue"][0]["code"] == "too-costly"
