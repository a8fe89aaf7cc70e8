"""Binary: bytes in, bytes out, whose they are, and what a browser is told of them (FHIR R4 binary.html)."""

import base64
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from fhir.binaries import interactions, receive, stored
from fhir.binaries.content import CHUNK_BYTES, MAX_BINARY_BYTES
from fhir.binaries.stored import CHUNK, CONTENT, UPLOAD, sweep_uploads
from server.kernel.services import Services
from tests.asked_in_turn import asked_in_turn

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
JSON = {"accept": "application/fhir+json"}
ANY = {"accept": "*/*"}


async def upload(
    client: httpx.AsyncClient, content: bytes = PNG, content_type: str = "image/png", **headers: str
) -> str:
    answer = await client.post("/Binary", content=content, headers={"content-type": content_type, **headers})
    assert answer.status_code == 201, answer.text
    return f"/Binary/{answer.headers['location'].split('/')[-3]}"


async def rows(services: Services) -> tuple[int, int]:
    async with services.database.read() as connection:
        counts = [select(func.count()).select_from(table).scalar_subquery() for table in (CONTENT, CHUNK)]
        contents, chunks = (await connection.execute(select(*counts))).one()
    return contents, chunks


async def uploads(services: Services) -> int:
    async with services.database.read() as connection:
        return int((await connection.execute(select(func.count()).select_from(UPLOAD))).scalar_one())


async def test_bytes_come_back_as_they_were_sent(client: httpx.AsyncClient) -> None:
    place = await upload(client)
    answer = await client.get(place, headers=ANY)
    assert answer.status_code == 200
    assert answer.content == PNG
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["etag"] == 'W/"1"'
    assert "x-security-context" not in answer.headers
    again = await client.get(place, headers={**ANY, "if-none-match": 'W/"1"'})
    assert (again.status_code, again.content) == (304, b"")


async def test_resource_comes_to_who_asks_for_fhir(client: httpx.AsyncClient) -> None:
    place = await upload(client)
    for url, headers in (
        (place, JSON),
        (place, {"accept": "application/json"}),
        (f"{place}?_format=json", ANY),
    ):
        answer = await client.get(url, headers=headers)
        assert answer.headers["content-type"].startswith("application/fhir+json")
        resource = answer.json()
        assert (resource["resourceType"], resource["contentType"]) == ("Binary", "image/png")
        assert base64.b64decode(resource["data"]) == PNG


async def test_resource_that_was_sent_is_given_as_bytes(client: httpx.AsyncClient) -> None:
    sent = {
        "resourceType": "Binary",
        "contentType": "text/plain; charset=utf-8",
        "data": base64.b64encode(b"h\xc3\xa9llo").decode(),
    }
    made = await client.post("/Binary", json=sent, headers=JSON)
    assert made.status_code == 201, made.text
    assert made.json()["data"] == sent["data"]
    answer = await client.get(f"/Binary/{made.json()['id']}", headers={"accept": "text/plain"})
    assert answer.content == b"h\xc3\xa9llo"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    found = (await client.get(f"/Binary?_id={made.json()['id']}")).json()
    assert "data" not in found["entry"][0]["resource"]


async def test_binary_without_data(client: httpx.AsyncClient) -> None:
    made = (await client.post("/Binary", json={"resourceType": "Binary", "contentType": "a/b"})).json()
    assert "data" not in (await client.get(f"/Binary/{made['id']}", headers=JSON)).json()
    assert (await client.get(f"/Binary/{made['id']}", headers=ANY)).content == b""


@asked_in_turn(
    ("asked", "status", "part"),
    [
        ("bytes=0-9", 206, slice(0, 10)),
        ("bytes=10-", 206, slice(10, None)),
        ("bytes=-5", 206, slice(-5, None)),
        ("bytes=0-999999999", 206, slice(0, None)),
        (f"bytes={CHUNK_BYTES - 1}-{CHUNK_BYTES}", 206, slice(CHUNK_BYTES - 1, CHUNK_BYTES + 1)),
        (f"bytes={CHUNK_BYTES}-{2 * CHUNK_BYTES + 4}", 206, slice(CHUNK_BYTES, 2 * CHUNK_BYTES + 5)),
        ("bytes=0-1,5-6", 200, slice(None)),
        ("bytes=9-3", 200, slice(None)),
        ("lines=1-2", 200, slice(None)),
        ("bytes=99999999-", 416, slice(0, 0)),
        ("bytes=-0", 416, slice(0, 0)),
    ],
)
async def test_range(client: httpx.AsyncClient, asked: str, status: int, part: slice) -> None:
    content = os.urandom(2 * CHUNK_BYTES + 100)
    place = await upload(client, content, "application/octet-stream")
    answer = await client.get(place, headers={**ANY, "range": asked})
    assert answer.status_code == status
    assert answer.content == content[part]
    if status == 206:
        first, end, _ = part.indices(len(content))
        assert answer.headers["content-range"] == f"bytes {first}-{end - 1}/{len(content)}"
    if status == 416:
        assert answer.headers["content-range"] == f"bytes */{len(content)}"


async def test_if_range_of_another_state_gives_all(client: httpx.AsyncClient) -> None:
    place = await upload(client)
    told = (await client.get(place, headers=ANY)).headers["last-modified"]
    same = {**ANY, "range": "bytes=0-0", "if-range": told}
    assert (await client.get(place, headers=same)).status_code == 206
    assert (await client.get(place, headers={**same, "if-range": 'W/"1"'})).status_code == 200


async def test_versions_keep_their_bytes_until_all_are_deleted(
    client: httpx.AsyncClient, services: Services
) -> None:
    place = await upload(client, b"one", "text/plain")
    put = await client.put(place, content=b"two", headers={"content-type": "text/plain", "if-match": 'W/"1"'})
    assert put.status_code == 200, put.text
    assert (await client.get(place, headers=ANY)).content == b"two"
    assert (await client.get(f"{place}/_history/1", headers=ANY)).content == b"one"
    assert await rows(services) == (2, 2)
    assert (await client.delete(place)).status_code == 204
    assert await rows(services) == (0, 0)
    assert (await client.get(place, headers=ANY)).status_code == 410
    assert (await client.get(f"{place}/_history/1", headers=ANY)).status_code == 410


@pytest.mark.parametrize("content_type", ["text/html", "image/svg+xml", "application/pdf", "text/xml", "x/y"])
async def test_what_may_act_is_saved_and_not_shown(client: httpx.AsyncClient, content_type: str) -> None:
    place = await upload(client, b"<script>alert(1)</script>", content_type)
    answer = await client.get(place, headers=ANY)
    assert answer.headers["content-disposition"] == "attachment"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"].startswith("sandbox;")


async def test_picture_is_shown_under_the_same_guard(client: httpx.AsyncClient) -> None:
    answer = await client.get(await upload(client), headers=ANY)
    assert "content-disposition" not in answer.headers
    assert answer.headers["content-security-policy"].startswith("sandbox;")


@asked_in_turn(
    "resource",
    [
        {"contentType": "a/b\r\nSet-Cookie: x=y"},
        {"contentType": "nothing"},
        {"contentType": "text/pl\u0141in"},
        {"contentType": "a/b", "data": "!!!!"},
        {"contentType": "a/b", "data": "abc"},
        {"_contentType": {"extension": [{"url": "http://x.test/", "valueCode": "unknown"}]}},
        {},
    ],
)
async def test_what_cannot_be_given_back_is_refused(
    client: httpx.AsyncClient, resource: dict[str, Any]
) -> None:
    answer = await client.post("/Binary", json={"resourceType": "Binary", **resource})
    assert answer.status_code == 400, answer.text
    assert answer.json()["issue"][0]["expression"][0].startswith("Binary")


async def test_security_context_says_whose_it_is(
    client: httpx.AsyncClient, create: Callable[..., Any], confine: Callable[..., dict[str, str]]
) -> None:
    ada, ben = [await create({"resourceType": "Patient"}) for _ in range(2)]
    note = await create(
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": {"reference": f"Patient/{ada}"},
            "content": [{"attachment": {"url": "Binary/x"}}],
        }
    )
    for context, seen in (
        (f"Patient/{ada}", True),
        (f"DocumentReference/{note}", True),
        (f"Patient/{ben}", False),
        ("DocumentReference/none", False),
        (None, False),
    ):
        headers = {} if context is None else {"X-Security-Context": context}
        place = await upload(client, **headers)
        mine = await client.get(place, headers={**ANY, **confine(ada)})
        assert mine.status_code == (200 if seen else 404), context
        assert mine.headers.get("x-security-context") == (context if seen else None)
        assert (await client.get(f"{place}/_history/1", headers={**ANY, **confine(ben)})).status_code == (
            200 if context == f"Patient/{ben}" else 404
        )
    for context, status in ((f"Patient/{ada}", 201), (f"Patient/{ben}", 403), (None, 403)):
        sent = {"content-type": "image/png", **confine(ada)}
        headers = sent if context is None else {**sent, "X-Security-Context": context}
        assert (await client.post("/Binary", content=PNG, headers=headers)).status_code == status


async def test_size_is_limited(client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {"content-type": "a/b", "content-length": str(MAX_BINARY_BYTES + 1)}
    assert (await client.post("/Binary", content=b"", headers=declared)).status_code == 413
    monkeypatch.setattr(interactions, "MAX_BINARY_AS_JSON_BYTES", 10)
    for content, status in ((b"x" * 10, 200), (b"x" * 11, 406)):
        place = await upload(client, content, "application/octet-stream")
        assert (await client.get(place, headers=JSON)).status_code == status
        assert (await client.get(place, headers=ANY)).content == content


async def in_pieces(content: bytes) -> AsyncIterator[bytes]:
    """A body that does not say how long it is."""
    for at in range(0, len(content), 300_001):
        yield content[at : at + 300_001]


async def test_long_content_is_stored_while_it_comes(client: httpx.AsyncClient, services: Services) -> None:
    content = os.urandom(9 * CHUNK_BYTES + 5)
    made = await client.post("/Binary", content=in_pieces(content), headers={"content-type": "a/b"})
    assert made.status_code == 201, made.text
    place = f"/Binary/{made.headers['location'].split('/')[-3]}"
    assert (await client.get(place, headers=ANY)).content == content
    answer = await client.get(place, headers={**ANY, "range": f"bytes={4 * CHUNK_BYTES - 1}-"})
    assert answer.content == content[4 * CHUNK_BYTES - 1 :]
    assert await rows(services) == (1, 10)
    assert await uploads(services) == 0


async def test_upload_that_comes_to_nothing_is_swept(
    client: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receive, "MAX_BINARY_BYTES", 5 * CHUNK_BYTES)
    too_long = in_pieces(bytes(5 * CHUNK_BYTES + 1))
    answer = await client.post("/Binary", content=too_long, headers={"content-type": "a/b"})
    assert answer.status_code == 413
    bad = {"content-type": "a/b", "X-Security-Context": "no reference of R4 <>"}
    await client.post("/Binary", content=in_pieces(bytes(5 * CHUNK_BYTES)), headers=bad)
    contents, chunks = await rows(services)
    assert chunks == 8
    assert await sweep_uploads(services) == 0  # it may still be under way
    monkeypatch.setattr(stored, "UPLOAD_S", -1)
    assert await sweep_uploads(services) == 2
    assert await rows(services) == (contents, 0)
    assert await uploads(services) == 0


async def test_who_may_not_write_one_is_not_listened_to(
    client: httpx.AsyncClient, services: Services
) -> None:
    headers = {"content-type": "a/b", "x-rights": "reader"}
    answer = await client.post("/Binary", content=in_pieces(bytes(5 * CHUNK_BYTES)), headers=headers)
    assert answer.status_code == 403
    assert await rows(services) == (0, 0)


async def test_other_types_take_no_bytes(client: httpx.AsyncClient) -> None:
    answer = await client.post("/Patient", content=PNG, headers={"content-type": "image/png"})
    assert answer.status_code == 415


async def test_resource_in_xml_is_not_taken_for_content(client: httpx.AsyncClient) -> None:
    body = b'<Binary xmlns="http://hl7.org/fhir"><contentType value="a/b"/></Binary>'
    answer = await client.post("/Binary", content=body, headers={"content-type": "application/fhir+xml"})
    assert answer.status_code == 415
    await upload(client, body, "application/xml")  # any other XML is a content


async def test_bundle_carries_it_in_and_out(client: httpx.AsyncClient) -> None:
    sent = {"resourceType": "Binary", "contentType": "a/b", "data": base64.b64encode(PNG).decode()}
    full_url = "urn:uuid:1b3b2f6e-5a52-4a38-8d3c-0d8a3f0c5a02"
    note = {
        "resourceType": "DocumentReference",
        "status": "current",
        "content": [{"attachment": {"url": full_url}}],
    }
    entry = [
        {"fullUrl": full_url, "resource": sent, "request": {"method": "POST", "url": "Binary"}},
        {"resource": note, "request": {"method": "POST", "url": "DocumentReference"}},
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entry}
    done = await client.post("", json=bundle)
    assert done.status_code == 200, done.text
    location = done.json()["entry"][0]["response"]["location"]
    place = "/Binary/" + location.split("Binary/")[1].split("/")[0]
    assert (await client.get(place, headers=ANY)).content == PNG
    (found,) = (await client.get("/DocumentReference")).json()["entry"]
    assert found["resource"]["content"][0]["attachment"]["url"] == place[1:]
    ask = {
        "resourceType": "Bundle",
        "type": "batch",
        "entry": [{"request": {"method": "GET", "url": place[1:]}}],
    }
    (got,) = (await client.post("", json=ask)).json()["entry"]
    assert got["resource"]["data"] == sent["data"]


async def test_it_is_written_whole(client: httpx.AsyncClient) -> None:
    place = await upload(client)
    patch = await client.patch(place, content=b"[]", headers={"content-type": "application/json-patch+json"})
    assert patch.status_code == 405
    named = await client.put("/Binary/mine", content=PNG, headers={"content-type": "image/png"})
    assert named.status_code in {201, 200}
    assert (await client.get("/Binary/mine", headers=ANY)).content == PNG
