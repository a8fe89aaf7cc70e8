"""FHIR R4 http.html#cond-update, #ccreate, #3.1.0.7.1: what the criteria of a write mean."""

from collections.abc import Callable
from typing import Any

import httpx

from tests.conformance.fhir_r4.bundles import entry, observation, transaction

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
