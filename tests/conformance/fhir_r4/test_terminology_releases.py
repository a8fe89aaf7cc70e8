"""Large code systems behind the door: lookup, subsumption, validation and search over a made-up release."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from fhir.interactions.door import Definitions, Policy
from fhir.operations import OPERATIONS
from fhir.routes import Offer
from server.kernel.services import Services
from terminology.loading.rf2 import read_release
from terminology.releases.kinds import RULES
from terminology.releases.source import Releases
from terminology.releases.writer import write_release
from terminology.snomed.implicit import SNOMED_CT, ImplicitDefinitions
from tests.benchmarks.made_up_rf2 import MadeUpRelease, write_rf2
from tests.conformance.fhir_r4.searching import observation

from .terms import told

Json = Any


@pytest.fixture
def offer(services: Services) -> Offer:
    """The releases of the database are behind the door."""
    releases = Releases(services.database, RULES)
    definitions = Definitions(before=(releases, ImplicitDefinitions(releases)))
    return Offer(Policy(), operations=OPERATIONS, definitions=definitions)


@pytest.fixture
async def made(services: Services, tmp_path: Path) -> MadeUpRelease:
    """A release of some concepts, imported."""
    made = write_rf2(tmp_path, 60)
    with read_release(tmp_path) as draft:
        await write_release(services.database, draft)
    return made


async def children(client: httpx.AsyncClient, code: str) -> list[str]:
    answer = await client.get(f"/CodeSystem/$lookup?system={SNOMED_CT}&code={code}&property=child")
    properties = told(answer.json()).get("property", [])
    return [each["value"] for each in (properties if isinstance(properties, list) else [properties])]


async def test_lookup_and_search(
    client: httpx.AsyncClient, made: MadeUpRelease, create: Callable[..., Any], ids: Any
) -> None:
    root = "138875005"
    named = await client.get(f"/CodeSystem/$lookup?system={SNOMED_CT}&code={root}")
    top = root if named.status_code == 200 else made.codes[0]
    below = await children(client, top)
    assert below
    found = told((await client.get(f"/CodeSystem/$lookup?system={SNOMED_CT}&code={below[0]}")).json())
    parents = [each for each in found["property"] if each["code"] == "parent"]
    assert (parents[0]["value"], bool(parents[0]["description"])) == (top, True)
    url = f"/CodeSystem/$subsumes?system={SNOMED_CT}&codeA={top}&codeB={below[0]}"
    assert told((await client.get(url)).json()) == {"outcome": "subsumes"}
    observed = {
        code: await create(observation("", code={"coding": [{"system": SNOMED_CT, "code": code}]}))
        for code in (top, below[0], "1000000")
    }
    inside = {observed[top], observed[below[0]]}
    assert set(await ids(f"/Observation?code:below={SNOMED_CT}|{top}")) == inside
    assert set(await ids(f"/Observation?code:above={SNOMED_CT}|{below[0]}")) == inside
    implicit = f"{SNOMED_CT}?fhir_vs=isa/{top}"
    answer = await client.get("/Observation", params={"code:in": implicit})
    assert {each["resource"]["id"] for each in answer.json()["entry"]} == inside
    params = {"url": implicit, "system": SNOMED_CT, "code": below[0]}
    validated = told((await client.get("/ValueSet/$validate-code", params=params)).json())
    assert validated["result"] is True
    params["code"] = top
    params["url"] = f"{SNOMED_CT}?fhir_vs=isa/{below[0]}"
    validated = told((await client.get("/ValueSet/$validate-code", params=params)).json())
    assert validated["result"] is False
