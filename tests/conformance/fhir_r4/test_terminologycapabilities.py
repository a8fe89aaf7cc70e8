"""GET /metadata?mode=terminology (FHIR R4 terminologycapabilities.html, http.html#capabilities)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from fhir.capability import ServerFacts
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation import validate
from fhir.operations.terminology import given
from fhir.terminology_capabilities import EXPANSION_PARAMETERS, terminology_capabilities
from terminology import expand, expand_input, versions
from terminology.in_request import GivenDefinitions
from terminology.library import Kind

from .terms import STONES, stones

FACTS = ServerFacts("https://h.example/fhir", "1.0", "2026-01-01")


async def test_code_systems_with_their_versions() -> None:
    more = stones(url="http://example.org/more", content="supplement", supplements=STONES)
    absent = stones(url="http://example.org/absent", content="not-present")
    without = stones(None, url="http://example.org/without")
    given = GivenDefinitions([stones("2"), stones("10"), more, absent, without])
    found = terminology_capabilities(FACTS, await given.listing(Kind.CODE_SYSTEM))
    assert found["codeSystem"] == [
        {
            "uri": STONES,
            "version": [{"code": "10", "isDefault": True}, {"code": "2", "isDefault": False}],
        },
        {"uri": "http://example.org/without"},
    ]


async def test_it_is_a_valid_resource() -> None:
    given = GivenDefinitions([stones("2")])
    found = terminology_capabilities(FACTS, await given.listing(Kind.CODE_SYSTEM))
    assert validate(decode_json(encode_json(found))) == []


async def test_at_the_door(client: httpx.AsyncClient, create: Callable[..., Any]) -> None:
    plain = (await client.get("/metadata?mode=full")).json()
    assert plain["resourceType"] == "CapabilityStatement"
    await create(stones())
    found = (await client.get("/metadata?mode=terminology", headers={"x-rights": "stranger"})).json()
    assert found["resourceType"] == "TerminologyCapabilities"
    assert STONES in [each["uri"] for each in found["codeSystem"]]
    names = {each["name"] for each in found["expansion"]["parameter"]}
    assert {"activeOnly", "count", "displayLanguage", "tx-resource"} <= names


def test_what_is_told_of_expansions_is_read_by_them() -> None:
    modules = (expand, expand_input, versions, given)
    source = "".join(Path(str(each.__file__)).read_text() for each in modules)
    assert [name for name in EXPANSION_PARAMETERS if f'"{name}"' not in source] == []
