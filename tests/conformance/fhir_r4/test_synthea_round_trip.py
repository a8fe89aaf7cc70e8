"""Whole records go in as transactions; every resource is found and read back, and nothing is lost.

Synthea's bundles where the folder is there (`tests/fhir_examples.py`), a small one of our own otherwise.
"""

import re
from collections import Counter
from typing import Any

import httpx

from fhir.model.json_codec import decode_json, encode_json
from tests.conformance.fhir_r4.bundles import places
from tests.conftest import sqlite_first
from tests.fhir_examples import BUNDLES, text_of

JSON = {"content-type": "application/fhir+json"}
LINK = re.compile(r'"(?:urn:uuid:[0-9a-f-]{36}|[A-Z][A-Za-z]+(?:\?[^"]+|/[A-Za-z0-9\-.]+))"')
SET_BY_SERVER = ("id", "meta")


def compared(resource: Any) -> str:
    """The text of a resource with every digit, without what the server sets: id, version, links."""
    stated = resource.get("meta", {})
    meta = {name: value for name, value in stated.items() if name not in ("versionId", "lastUpdated")}
    kept = {name: value for name, value in resource.items() if name not in SET_BY_SERVER}
    return LINK.sub('"a link"', encode_json({**kept, "meta": meta}).decode())


@sqlite_first
async def test_records_come_back_whole(client: httpx.AsyncClient) -> None:
    sent: list[Any] = []
    at: list[str] = []
    for name in BUNDLES:
        answer = await client.post("", content=text_of(name), headers=JSON)
        assert answer.status_code == 200, answer.text
        at += places(answer.json())
        sent += [entry["resource"] for entry in decode_json(text_of(name))["entry"]]
    assert len(set(at)) == len(sent)
    for place, resource in zip(at, sent, strict=True):
        stored = await client.get(f"/{place}")
        assert compared(decode_json(stored.content)) == compared(resource), place
        assert "urn:uuid:" not in re.sub(r'"(?:value|system|uid)":\s*"[^"]*"', "", stored.text), place
    for kind, count in Counter(place.partition("/")[0] for place in at).items():
        assert (await client.get(f"/{kind}?_summary=count")).json()["total"] == count
