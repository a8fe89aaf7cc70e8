"""FHIR R4 http.html#transaction: all or nothing, in the standard's order, references rewritten."""

import asyncio
import json
from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import httpx
import pytest

from fhir.bundles import read as reading
from tests.asked_in_turn import asked_in_turn
from tests.conformance.fhir_r4.bundles import (
    bundle,
    entry,
    observation,
    patient,
    places,
    statuses,
    transaction,
)

A, B = "urn:uuid:0c3201bd-1cbf-4d64-b04d-cd9187a4c6e0", "urn:uuid:6b9ea09f-3d1f-4d9b-8a5f-9e3bbf0a3b5c"
MANY = {"prefer": "return=representation"}


async def post(client: httpx.AsyncClient, body: Any, **headers: str) -> httpx.Response:
    return await client.post("", json=body, headers=headers)


async def process(client: httpx.AsyncClient, *entries: Any, **headers: str) -> Any:
    answer = await post(client, transaction(*entries), **headers)
    assert answer.status_code == 200, answer.text
    assert answer.json()["type"] == "transaction-response"
    return answer.json()


async def count(client: httpx.AsyncClient, resource_type: str) -> int:
    return int((await client.get(f"/{resource_type}?_summary=count")).json()["total"])


async def test_response_has_an_entry_for_each_in_order(client: httpx.AsyncClient) -> None:
    answer = await process(
        client, entry("GET", "Patient"), entry("POST", "Patient", patient()), entry("POST", "Basic", BASIC)
    )
    search, created, basic = answer["entry"]
    assert search["resource"]["total"] == 1  # it sees what the transaction did
    assert created["response"]["status"] == "201 Created"
    assert created["response"]["etag"] == 'W/"1"'
    assert created["response"]["location"].startswith("http://fhir.test/fhir/Patient/")
    assert created["response"]["lastModified"].endswith("Z")
    assert "resource" not in created
    assert places({"entry": [basic]})[0].startswith("Basic/")


BASIC = {"resourceType": "Basic", "code": {"text": "x"}}


async def test_prefer_says_what_comes_back(client: httpx.AsyncClient) -> None:
    full = await process(client, entry("POST", "Patient", patient()), prefer="return=representation")
    assert full["entry"][0]["resource"]["identifier"][0]["value"] == "1"
    told = await process(client, entry("POST", "Patient", patient()), prefer="return=OperationOutcome")
    assert told["entry"][0]["response"]["outcome"]["resourceType"] == "OperationOutcome"


async def test_an_empty_transaction_does_nothing(client: httpx.AsyncClient) -> None:
    answer = await post(client, bundle("transaction"))
    assert answer.json() == {"resourceType": "Bundle", "type": "transaction-response"}


async def test_deletes_come_first_and_reads_last(client: httpx.AsyncClient, create: Any) -> None:
    old = await create(patient("same"))
    answer = await process(
        client,
        entry("GET", "Patient?identifier=http://mrn|same"),
        entry("PUT", "Basic/b", {**BASIC, "id": "b"}),
        entry("POST", "Patient", patient("same"), ifNoneExist="identifier=http://mrn|same"),
        entry("DELETE", f"Patient/{old}"),
        entry("HEAD", "Basic/b"),
    )
    assert statuses(answer) == ["200", "201", "201", "204", "200"]
    assert answer["entry"][0]["resource"]["total"] == 1
    assert "resource" not in answer["entry"][4]


@asked_in_turn(
    ("bad", "status", "expression"),
    [
        pytest.param(
            entry("POST", "Patient", {"resourceType": "Patient", "gender": "blue"}),
            400,
            "Bundle.entry[1].resource.gender",
            id="invalid resource",
        ),
        pytest.param(entry("POST", "Nothing", patient()), 404, "Bundle.entry[1]", id="unknown type"),
        pytest.param(
            entry("POST", "Patient", BASIC), 400, "Bundle.entry[1].resource.resourceType", id="other type"
        ),
        pytest.param(entry("GET", "Patient/missing"), 404, "Bundle.entry[1]", id="read of nothing"),
        pytest.param(entry("GET", "Patient?_sort=nothing"), 400, "Bundle.entry[1]", id="bad search"),
        pytest.param(
            entry("PUT", "Patient/x", {**patient(), "id": "x"}, ifMatch='W/"7"'),
            412,
            "Bundle.entry[1]",
            id="version",
        ),
        pytest.param(
            entry("POST", "Observation", observation("Patient?identifier=none")),
            412,
            "Bundle.entry[1]",
            id="no match",
        ),
        pytest.param(entry("POST", "Patient"), 400, "Bundle.entry[1].resource", id="no resource"),
        pytest.param({"resource": patient()}, 400, "Bundle.entry[1].request", id="no request"),
        pytest.param(entry("BREW", "Patient", patient()), 400, "Bundle.entry[1].request.method", id="method"),
        pytest.param(
            entry("POST", "http://elsewhere/fhir/Patient", patient()),
            400,
            "Bundle.entry[1].request.url",
            id="host",
        ),
        pytest.param(
            entry("POST", "", bundle("transaction")), 400, "Bundle.entry[1].request.url", id="nested"
        ),
        pytest.param(
            entry("POST", "Patient/1/$meta-add", {"resourceType": "Parameters"}),
            404,
            "Bundle.entry[1]",
            id="operation that changes something",
        ),
        pytest.param(
            entry("PUT", "Patient", patient()), 400, "Bundle.entry[1].request.url", id="PUT of nothing"
        ),
        pytest.param(
            entry("GET", "Patient", ifModifiedSince="soon"),
            400,
            "Bundle.entry[1].request.ifModifiedSince",
            id="instant",
        ),
        pytest.param({**entry("GET", "Patient"), "extra": 1}, 400, "Bundle.entry[1]", id="unknown element"),
        pytest.param(
            entry(
                "PATCH", "Patient/x", {"resourceType": "Binary", "contentType": "application/json-patch+json"}
            ),
            400,
            "Bundle.entry[1].resource",
            id="patch without data",
        ),
    ],
)
async def test_one_refused_entry_refuses_all(
    client: httpx.AsyncClient, bad: Any, status: int, expression: str
) -> None:
    answer = await post(client, transaction(entry("POST", "Patient", patient("first")), bad))
    assert answer.status_code == status, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"
    assert answer.json()["issue"][0]["expression"] == [expression]
    assert await count(client, "Patient") == 0


@asked_in_turn(
    "body",
    [
        pytest.param(b"{", id="no JSON"),
        pytest.param(b"[]", id="no object"),
        pytest.param(b'{"resourceType":"Patient"}', id="no Bundle"),
        pytest.param(b'{"resourceType":"Bundle","type":"collection"}', id="collection"),
        pytest.param(b'{"resourceType":"Bundle"}', id="no type"),
        pytest.param(b'{"resourceType":"Bundle","type":"batch","entry":[]}', id="empty array"),
        pytest.param(b'{"resourceType":"Bundle","type":"batch","entry":{}}', id="no array"),
        pytest.param(b'{"resourceType":"Bundle","type":"batch","entry":[1]}', id="no entry"),
        pytest.param(b'{"resourceType":"Bundle","type":"batch","entry":[{"request":1}]}', id="no request"),
        pytest.param(b'{"resourceType":"Bundle","type":"batch","colour":"blue"}', id="unknown element"),
        pytest.param(b'{"resourceType":"Bundle","type":"batch","type":"transaction"}', id="name twice"),
        pytest.param(
            b'{"resourceType":"Bundle","type":"batch","entry":[{"request":{"method":"GET","url":"Patient","url":""}}]}',
            id="name twice in a request",
        ),
        pytest.param(
            b'{"resourceType":"Bundle","type":"batch","entry":[{"resource":' + b"[" * 90_000 + b"}]}",
            id="deep",
        ),
        pytest.param(b'{"resourceType":"Bundle","type":"batch","id":"\xff"}', id="no UTF-8"),
        pytest.param(
            b'{"resourceType":"Bundle","type":"transaction","entry":[{"request":{"method":"POST","url":"Patient"},'
            b'"resource":{"resourceType":"Patient","id":"a\\u0000b"}}]}',
            id="NUL",
        ),
    ],
)
async def test_what_is_no_bundle_to_be_processed_is_refused(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("", content=body, headers={"content-type": "application/fhir+json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["resourceType"] == "OperationOutcome"


async def test_more_entries_than_the_limit_are_refused(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_ENTRIES", 2)
    assert (await post(client, transaction(*[entry("GET", "Patient")] * 3))).status_code == 413


async def test_trules_links_within_the_bundle_are_rewritten(client: httpx.AsyncClient) -> None:
    """Reference.reference, uri, url, oid, uuid and narratives are; canonicals and other strings are not."""
    narrative = f'<div xmlns="http://www.w3.org/1999/xhtml"><a href="{A}">her</a> {A}</div>'
    thing = {
        **observation(A, derivedFrom=[{"reference": f"{B}#part"}], note=[{"text": A}]),
        "text": {"status": "generated", "div": narrative},
        "extension": [{"url": "http://x", "valueUri": A}, {"url": "http://y", "valueCanonical": A}],
        "identifier": [{"system": "http://s", "value": A}],
    }
    answer = await process(
        client,
        entry("POST", "Observation", thing, B),
        entry("POST", "Patient", patient(), A),
        prefer="return=representation",
    )
    written, subject = answer["entry"][0]["resource"], places(answer)[1]
    assert written["subject"]["reference"] == subject
    assert written["derivedFrom"][0]["reference"] == f"{places(answer)[0]}#part"
    assert written["extension"] == [
        {"url": "http://x", "valueUri": subject},
        {"url": "http://y", "valueCanonical": A},
    ]
    assert written["text"]["div"] == narrative.replace(f'"{A}"', f'"{subject}"')
    assert (written["note"][0]["text"], written["identifier"][0]["value"]) == (A, A)
    assert (await client.get(f"/Observation?subject={subject}")).json()["total"] == 1


async def test_trules_urls_of_the_place_of_origin_are_rewritten(client: httpx.AsyncClient) -> None:
    there = "http://elsewhere/fhir"
    answer = await process(
        client,
        entry("POST", "Patient", patient(), f"{there}/Patient/7"),
        entry("POST", "Observation", observation(f"{there}/Patient/7"), f"{there}/Observation/1"),
        entry("POST", "Observation", observation("Patient/7"), f"{there}/Observation/2"),
        entry("POST", "Observation", observation("Patient/7/_history/3"), f"{there}/Observation/3"),
        entry("POST", "Observation", observation("Patient/7"), A),
        prefer="return=representation",
    )
    subject = places(answer)[0]
    found = [each["resource"]["subject"]["reference"] for each in answer["entry"][1:]]
    assert found == [subject, subject, f"{subject}/_history/1", "Patient/7"]


async def test_trules_circles_of_references_are_no_matter(client: httpx.AsyncClient) -> None:
    answer = await process(
        client,
        entry("POST", "Patient", patient("a", link=[{"other": {"reference": B}, "type": "seealso"}]), A),
        entry("POST", "Patient", patient("b", link=[{"other": {"reference": A}, "type": "seealso"}]), B),
        prefer="return=representation",
    )
    others = [each["resource"]["link"][0]["other"]["reference"] for each in answer["entry"]]
    assert others == places(answer)[::-1]


async def test_references_to_what_is_updated_are_rewritten(client: httpx.AsyncClient, create: Any) -> None:
    known = await create(patient("known"))
    answer = await process(
        client,
        entry("PUT", "Patient/named", {**patient("new"), "id": "named"}, A),
        entry("PUT", "Patient?identifier=http://mrn|known", patient("known"), B),
        entry("POST", "Observation", observation(A)),
        entry("POST", "Observation", observation(B)),
        prefer="return=representation",
    )
    assert statuses(answer) == ["201", "200", "201", "201"]
    subjects = [each["resource"]["subject"]["reference"] for each in answer["entry"][2:]]
    assert subjects == ["Patient/named", f"Patient/{known}"]


async def test_numbers_and_escapes_stay_as_sent(client: httpx.AsyncClient) -> None:
    resource = json.dumps(observation(A, valueQuantity={"value": 0})).replace('"value": 0', '"value" : 1.00')
    resource = resource.replace("Finding", "\\u0046inding \\/ é")
    first = f'{{"request":{{"method":"POST","url":"Observation"}},"resource":{resource}}}'
    second = json.dumps(entry("POST", "Patient", patient(), A))
    body = f'{{"resourceType":"Bundle","type":"transaction","entry":[{first},{second}]}}'
    answer = await client.post(
        "", content=body.encode(), headers={"content-type": "application/fhir+json", **MANY}
    )
    place = places(json.loads(answer.text, parse_float=Decimal))[0]
    stored = (await client.get(f"/{place}")).text
    assert '"value" : 1.00' in stored
    assert stored.count("Patient/") == 1


async def test_conditional_references_find_what_is_there_and_what_comes(
    client: httpx.AsyncClient, create: Any
) -> None:
    known = await create(patient("known"))
    answer = await process(
        client,
        entry("POST", "Observation", observation("Patient?identifier=http://mrn|known")),
        entry("POST", "Observation", observation("Patient?identifier=http://mrn|new")),
        entry("POST", "Observation", observation("Patient?identifier=http://mrn|maybe")),
        entry("POST", "Patient", patient("new")),
        entry("POST", "Patient", patient("maybe"), ifNoneExist="identifier=http://mrn|maybe"),
        prefer="return=representation",
    )
    found = [each["resource"]["subject"]["reference"] for each in answer["entry"][:3]]
    assert found == [f"Patient/{known}", *places(answer)[3:]]


async def test_a_conditional_reference_to_several_is_refused(client: httpx.AsyncClient, create: Any) -> None:
    await create(patient("twice"))
    body = transaction(
        entry("POST", "Patient", patient("twice")),
        entry("POST", "Observation", observation("Patient?identifier=http://mrn|twice")),
    )
    assert (await post(client, body)).status_code == 412
    assert await count(client, "Patient") == 1


async def test_conditional_create_of_one_condition_makes_one(client: httpx.AsyncClient) -> None:
    only = {"ifNoneExist": "identifier=http://mrn|1"}
    for expected in (["201", "200", "201", "201"], ["200", "200", "201", "201"]):
        answer = await process(
            client,
            entry("POST", "Patient", patient(), A, **only),
            entry("POST", "Patient", patient(), B, **only),
            entry("POST", "Observation", observation(A)),
            entry("POST", "Observation", observation(B)),
        )
        assert statuses(answer) == expected
        assert places(answer)[0] == places(answer)[1]
    assert await count(client, "Patient") == 1
    assert (await client.get(f"/Observation?subject={places(answer)[0]}")).json()["total"] == 4


async def test_a_condition_on_the_bundle_itself_is_refused(client: httpx.AsyncClient) -> None:
    body = transaction(
        entry("POST", "Observation", observation(A), ifNoneExist=f"subject={A}"),
        entry("POST", "Patient", patient(), A),
    )
    answer = await post(client, body)
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "not-supported")


async def test_conditional_update_delete_and_patch(client: httpx.AsyncClient, create: Any) -> None:
    updated, deleted, patched = [await create(patient(value)) for value in ("u", "d", "p")]
    patch = b64encode(b'[{"op":"add","path":"/active","value":true}]').decode()
    binary = {"resourceType": "Binary", "contentType": "application/json-patch+json", "data": patch}
    answer = await process(
        client,
        entry("PATCH", "Patient?identifier=http://mrn|p", binary),
        entry("PUT", "Patient?identifier=http://mrn|u", patient("u", gender="male"), ifMatch='W/"1"'),
        entry("DELETE", "Patient?identifier=http://mrn|d"),
        entry("PUT", "Patient?identifier=http://mrn|n", patient("n")),
    )
    assert statuses(answer) == ["200", "200", "204", "201"]
    assert (await client.get(f"/Patient/{patched}")).json()["active"] is True
    assert (await client.get(f"/Patient/{updated}")).json()["gender"] == "male"
    assert (await client.get(f"/Patient/{deleted}")).status_code == 410


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(entry("DELETE", "Patient/x"), id="update and delete"),
        pytest.param(entry("PUT", "Patient/x", {**patient(), "id": "x"}), id="update twice"),
        pytest.param(entry("PUT", "Patient?identifier=http://mrn|1", patient()), id="once by condition"),
        pytest.param(entry("DELETE", "Patient?identifier=http://mrn|1"), id="deleted by condition"),
    ],
)
async def test_trules_two_entries_for_one_resource_are_refused(client: httpx.AsyncClient, other: Any) -> None:
    made = await client.put("/Patient/x", json={**patient(), "id": "x"})
    assert made.status_code == 201
    answer = await post(client, transaction(entry("PUT", "Patient/x", {**patient(), "id": "x"}), other))
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (400, "duplicate")
    assert (await client.get("/Patient/x")).headers["etag"] == 'W/"1"'


async def test_two_entries_of_one_full_url_are_refused(client: httpx.AsyncClient) -> None:
    body = transaction(entry("POST", "Patient", patient(), A), entry("POST", "Patient", patient(), A))
    answer = await post(client, body)
    assert answer.json()["issue"][0]["expression"] == ["Bundle.entry[1].fullUrl"]


async def test_a_conditional_read_is_not_modified(client: httpx.AsyncClient, create: Any) -> None:
    there = await create(patient())
    answer = await process(client, entry("GET", f"Patient/{there}", ifNoneMatch='W/"1"'))
    assert statuses(answer) == ["304"]


async def test_parallel_conditional_transactions_make_one_resource(client: httpx.AsyncClient) -> None:
    body = transaction(
        entry("POST", "Patient", patient(), A, ifNoneExist="identifier=http://mrn|1"),
        entry("POST", "Observation", observation(A)),
    )
    answers = await asyncio.gather(*(post(client, body) for _ in range(6)))
    assert {answer.status_code for answer in answers} == {200}
    assert await count(client, "Patient") == 1
    subject = places(answers[0].json())[0]
    assert (await client.get(f"/Observation?subject={subject}")).json()["total"] == 6


async def test_parallel_transactions_over_the_same_patients_lose_nothing(client: httpx.AsyncClient) -> None:
    names = [f"p{number}" for number in range(6)]

    def body(turned: bool) -> Any:
        order = names[::-1] if turned else names
        return transaction(
            *(entry("PUT", f"Patient/{name}", {**patient(name), "id": name}) for name in order)
        )

    answers = await asyncio.gather(*(post(client, body(bool(number % 2))) for number in range(8)))
    assert {answer.status_code for answer in answers} == {200}
    for name in names:
        assert (await client.get(f"/Patient/{name}")).json()["meta"]["versionId"] == "8"


async def test_a_confined_token_is_judged_by_what_links_become(
    client: httpx.AsyncClient, create: Any, confine: Callable[..., dict[str, str]]
) -> None:
    mine, other = await create(patient("mine")), await create(patient("other"))
    rights = confine(mine)

    def by_reference(reference: str) -> Any:
        return transaction(entry("POST", "Observation", observation(reference)))

    own = await post(client, by_reference("Patient?identifier=http://mrn|mine"), **rights)
    assert own.status_code == 200, own.text
    foreign = await post(client, by_reference("Patient?identifier=http://mrn|other"), **rights)
    assert foreign.status_code == 412  # it is not there for this caller
    literal = await post(client, by_reference(f"Patient/{other}"), **rights)
    assert literal.status_code == 403
    renamed = transaction(
        entry("PUT", f"Patient/{other}", {**patient("other"), "id": other}, A),
        entry("POST", "Observation", observation(A)),
    )
    assert (
        await post(client, renamed, **rights)
    ).status_code == 403  # for the Observation, which comes first
    read = transaction(entry("GET", f"Patient/{other}"))
    assert (await post(client, read, **rights)).status_code == 404
    found = await post(client, transaction(entry("GET", "Observation")), **rights)
    assert found.json()["entry"][0]["resource"]["total"] == 1


async def test_each_entry_needs_its_own_grant(client: httpx.AsyncClient) -> None:
    body = transaction(entry("POST", "Patient", patient()))
    refused = await post(client, body, **{"x-rights": "reader"})
    assert refused.status_code == 403
    assert refused.json()["issue"][0]["expression"] == ["Bundle.entry[0]"]
