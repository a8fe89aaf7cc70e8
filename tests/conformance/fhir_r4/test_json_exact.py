"""FHIR R4 json.html: what is legal comes back as it was sent, what is no FHIR JSON is 400 and never a defect.

HL7's examples take part where they are (tests/fhir_examples.py).
"""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from fhir.fhirpath.equality import freeze
from fhir.model.json_codec import decode_json, encode_json
from fhir.model.validation import validate
from tests.fhir_examples import EXAMPLES, example

JSON = {"content-type": "application/fhir+json"}
# Only sent; the server's own; needs an allowed host; kept as bytes.
APART = frozenset(("Parameters", "AuditEvent", "Subscription", "Binary"))


def content(resource: dict[str, Any]) -> bytes:
    """What the client said, digit by digit, without what is the server's."""
    meta = {n: v for n, v in resource.get("meta", {}).items() if n not in ("versionId", "lastUpdated")}
    said = {name: value for name, value in resource.items() if name not in ("id", "meta", "resourceType")}
    return encode_json({**({"meta": meta} if meta else {}), **said})


async def test_examples_come_back_as_they_were_sent(client: httpx.AsyncClient) -> None:
    sent = 0
    for name in EXAMPLES:
        resource = example(name)
        if validate(resource) or resource["resourceType"] in APART:
            continue
        headers = {**JSON, "prefer": "return=representation"}
        created = await client.post(
            f"/{resource['resourceType']}", content=encode_json(resource), headers=headers
        )
        assert created.status_code == 201, (name, created.text)
        url = f"/{resource['resourceType']}/{decode_json(created.content)['id']}"
        headers = {"accept": "application/fhir+json"}
        read = decode_json((await client.get(url, headers=headers)).content)
        assert content(read) == content(resource), name
        assert freeze(read["resourceType"]) == freeze(resource["resourceType"])
        sent += 1
    assert sent >= 5


EXACT = [
    '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.00}}',
    '{"resourceType":"Observation","status":"final","code":{"text":"x"},"valueQuantity":{"value":-1.0E-22}}',
    '{"resourceType":"Observation","status":"final","code":{"text":"x"},"effectiveDateTime":"2020-02"}',
    '{"resourceType":"Observation","status":"final","code":{"text":"\\u00e9\\ud83d\\ude00\\n"},"valueInteger":-0}',
    '{"resourceType":"Basic","code":{"text":"x"},"extension":[{"url":"urn:any","valueDecimal":0.0}]}',
    '{"resourceType":"Patient","name":[{"given":["A",null],"_given":[null,{"extension":[{"url":"u","valueCode":"c"}]}]}]}',
]


@pytest.mark.parametrize("text", EXACT)
async def test_values_keep_what_they_were_written_with(client: httpx.AsyncClient, text: str) -> None:
    resource_type = decode_json(text.encode())["resourceType"]
    created = await client.post(f"/{resource_type}", content=text.encode(), headers=JSON)
    assert created.status_code == 201, created.text
    read = await client.get(f"/{resource_type}/{created.json()['id']}")
    rest = text.split(",", 1)[1]
    assert read.text.endswith(rest)


def nested(depth: int) -> bytes:
    extension = b'{"url":"u","extension":[' * depth + b'{"url":"u","valueCode":"x"}' + b"]}" * depth
    return b'{"resourceType":"Patient","extension":[' + extension + b"]}"


BAD = {
    "nothing": b"",
    "no JSON": b"{",
    "no object": b'["Patient"]',
    "number": b"7",
    "not UTF-8": b'{"resourceType":"Patient","language":"\xff"}',
    "NUL": b'{"resourceType":"Patient","name":[{"family":"\\u0000"}]}',
    "lone surrogate": b'{"resourceType":"Patient","name":[{"family":"\\ud800"}]}',
    "name twice": b'{"resourceType":"Patient","active":true,"active":false}',
    "deep": nested(100),
    "very deep": nested(50_000),
    "deep arrays": b'{"resourceType":"Patient","name":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "huge number": b'{"resourceType":"Patient","multipleBirthInteger":' + b"9" * 5_000 + b"}",
    "huge exponent": b'{"resourceType":"Patient","multipleBirthInteger":1e999999999}',
    "NaN": b'{"resourceType":"Patient","multipleBirthInteger":NaN}',
    "other type": b'{"resourceType":"Group","type":"person","actual":true}',
    "no type": b'{"active":true}',
    "type is a number": b'{"resourceType":7}',
    "unknown element": b'{"resourceType":"Patient","colour":"red"}',
    "text for a boolean": b'{"resourceType":"Patient","active":"true"}',
    "object for an array": b'{"resourceType":"Patient","name":{"family":"x"}}',
    "array for an object": b'{"resourceType":"Patient","maritalStatus":[]}',
    "null": b'{"resourceType":"Patient","name":null}',
    "empty object": b'{"resourceType":"Patient","maritalStatus":{}}',
    "empty string": b'{"resourceType":"Patient","language":""}',
    "script": b'{"resourceType":"Patient","text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\"><script>x</script></div>"}}',
}  # fmt: skip
SENT = {
    "create": ("POST", "/Patient"),
    "update": ("PUT", "/Patient/p"),
    "validate": ("POST", "/Patient/$validate"),
}
# What these bodies say is JSON, so $validate answers 200 and says it in the outcome.
READABLE = frozenset(
    ("other type", "no type", "type is a number", "unknown element", "text for a boolean",
     "object for an array", "array for an object", "null", "empty object", "empty string", "script")
)  # fmt: skip


@pytest.mark.parametrize("way", SENT)
async def test_bad_input_is_400_and_nothing_is_written(
    client: httpx.AsyncClient, ids: Callable[..., Any], way: str
) -> None:
    method, url = SENT[way]
    for name, body in BAD.items():
        answer = await client.request(method, url, content=body, headers=JSON)
        assert answer.status_code == (200 if way == "validate" and name in READABLE else 400), (
            name,
            answer.text,
        )
        outcome = answer.json()
        assert outcome["resourceType"] == "OperationOutcome", name
        assert outcome["issue"][0]["severity"] == "error", name
        assert outcome["issue"][0]["details"]["text"], name
    assert await ids("/Patient") == []


async def test_a_transaction_with_bad_input_writes_nothing(
    client: httpx.AsyncClient, ids: Callable[..., Any]
) -> None:
    for name in READABLE:
        entries = [
            b'{"resource":%b,"request":{"method":"POST","url":"Patient"}}' % body
            for body in (b'{"resourceType":"Patient","active":true}', BAD[name])
        ]
        bundle = b'{"resourceType":"Bundle","type":"transaction","entry":[' + b",".join(entries) + b"]}"
        answer = await client.post("/", content=bundle, headers=JSON)
        assert 400 <= answer.status_code < 500, (name, answer.text)
        assert answer.json()["resourceType"] == "OperationOutcome"
    assert await ids("/Patient") == []
