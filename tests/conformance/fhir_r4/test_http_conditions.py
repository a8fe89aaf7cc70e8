"""FHIR R4 http.html#cond-update, #ccreate, #3.1.0.7.1: what the criteria of a write mean."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.asked_in_turn import asked_in_turn
from tests.conformance.fhir_r4.bundles import entry, observation, patient, transaction

MINE = "Observation?identifier=http://lab|1"


async def test_conditional_update_of_a_transaction_is_found_and_confined(
    client: httpx.AsyncClient,
    create: Callable[..., Any],
    ids: Callable[..., Any],
    confine: Callable[..., Any],
) -> None:
    ada = await create({"resourceType": "Patient"})
    stated = observation(f"Patient/{ada}", identifier=[{"system": "http://lab", "value": "1"}])
    for version in ("1", "2"):  # one creates, the other finds what that made
        answer = await client.post("", json=transaction(entry("PUT", MINE, stated)))
        assert answer.json()["entry"][0]["response"]["etag"] == f'W/"{version}"', answer.text
        for search in (f"/{MINE}", f"/Observation?patient={ada}", "/Observation?status=final"):
            assert len(await ids(search)) == 1, search
        assert len(await ids("/Observation", **confine(ada))) == 1


@asked_in_turn(
    "criteria",
    [
        "identifier=http://mrn|1&name=",
        "name=",
        "name=,",
        "_include=Patient:link",
        "_format=json",
        "_count=1",
        "",
    ],
)
async def test_condition_that_says_less_than_its_client_means(
    client: httpx.AsyncClient, create: Callable[..., Any], criteria: str
) -> None:
    """A client whose variable is empty would delete what it does not mean."""
    resource_id = await create(patient("1"))
    for method, options in (("DELETE", {}), ("PUT", {"json": patient("1")}), ("PATCH", PATCH)):
        answer = await client.request(method, f"/Patient?{criteria}", **options)
        assert answer.status_code == 400, (method, answer.text)
    answer = await client.post("/Patient", json=patient("1"), headers={"if-none-exist": criteria})
    assert answer.status_code == 400, answer.text
    assert (await client.get(f"/Patient/{resource_id}")).headers["etag"] == 'W/"1"'


PATCH: Any = {"json": [], "headers": {"content-type": "application/json-patch+json"}}


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("identifier=http://mrn|1", 200),
        ("?identifier=http://mrn|1", 200),
        ("Patient?identifier=http://mrn|1", 200),
        ("http://fhir.test/fhir/Patient?identifier=http://mrn|1", 200),
        ("identifier=http://mrn?of=a|1", 201),
        ("Observation?identifier=http://mrn|1", 400),
    ],
)
async def test_if_none_exist_with_and_without_its_url(
    client: httpx.AsyncClient, create: Callable[..., Any], condition: str, status: int
) -> None:
    await create(patient("1"))
    answer = await client.post("/Patient", json=patient("1"), headers={"if-none-exist": condition})
    assert answer.status_code == status, answer.text


async def test_conditional_update_takes_no_other_resource(
    client: httpx.AsyncClient, create: Callable[..., Any]
) -> None:
    """It has the id of the body, and does not match: what is there is not what the client means."""
    other = await create(patient("1"))
    stated = {**patient("2"), "id": other}
    answer = await client.put("/Patient?identifier=http://mrn|2", json=stated)
    assert answer.status_code == 409, answer.text
    await client.delete(f"/Patient/{other}")
    assert (await client.put("/Patient?identifier=http://mrn|2", json=stated)).status_code == 201
