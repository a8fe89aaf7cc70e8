"""The middleware together: names, caps, headers, refusals, errors."""

from collections.abc import AsyncIterator

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from server.http.body_limit import BodyLimits
from server.http.error_shield import ErrorShield, ResponseCut
from server.http.floor import HttpFloor
from server.http.hosts import host_name
from server.http.request_id import address_of
from server.http.security_headers import SecurityHeaders

STUDY = "/dicom-web/studies/1.2.840.99999.4711"


async def test_request_id_is_made_or_taken(client: httpx.AsyncClient) -> None:
    made = (await client.get("/livez")).headers["x-request-id"]
    assert len(made) == 32
    assert (await client.get("/livez", headers={"X-Request-Id": "job-17.a"})).headers[
        "x-request-id"
    ] == "job-17.a"


@pytest.mark.parametrize("forged", ["a b", 'x"} {"level', "a" * 65, "", "é"])
async def test_harmful_request_id_is_replaced(client: httpx.AsyncClient, forged: str) -> None:
    headers = [(b"x-request-id", forged.encode("latin-1"))]
    assert (await client.get("/livez", headers=headers)).headers["x-request-id"] != forged


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("testserver", 200),
        ("TESTSERVER:8080", 200),
        ("testserver.", 200),
        ("evil.example", 400),
        ("testserver.evil.example", 400),
        ("eviltestserver", 400),
        ("", 400),
    ],
)
async def test_host_allow_list(client: httpx.AsyncClient, host: str, status: int) -> None:
    response = await client.get(STUDY, headers={"Host": host})
    assert response.status_code == status


async def test_path_with_nul_is_400_as_the_door_says_it(client: httpx.AsyncClient) -> None:
    assert (await client.get(f"{STUDY}%00")).status_code == 400
    answer = await client.post("/fhir/Patient%00", content=b"{}")
    assert (answer.status_code, answer.json()["resourceType"]) == (400, "OperationOutcome")


async def test_probe_by_address_is_answered(client: httpx.AsyncClient) -> None:
    assert (await client.get("/livez", headers={"Host": "10.0.0.7:8080"})).status_code == 200


@pytest.mark.parametrize(
    ("host", "name"), [("a:80", "a"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("A.b", "a.b"), (":80", "")]
)
def test_host_name(host: str, name: str) -> None:
    assert host_name(host) == name


@pytest.mark.parametrize(
    ("path", "limit"),
    [
        ("/dicom-web", 1000),
        ("/dicom-web/workitems", 1000),
        ("/dicom-web/studies", 2000),
        ("/dicom-web/studies/1", 2000),
        ("/dicom-webx", 100),
        ("/auth/token", 100),
    ],
)
def test_limit_of_the_longest_prefix(floor: HttpFloor, path: str, limit: int) -> None:
    assert floor.limits.of(path) == limit


async def chunks(count: int, size: int = 100) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"x" * size


async def test_body_at_the_limit_passes(client: httpx.AsyncClient) -> None:
    assert (await client.post(STUDY, content=b"x" * 2000)).text == "2000"
    assert (await client.post(STUDY, content=chunks(20))).text == "2000"


async def test_declared_length_over_the_limit_is_413(client: httpx.AsyncClient) -> None:
    assert (await client.post(STUDY, content=b"x" * 2001)).status_code == 413


async def test_streamed_length_over_the_limit_is_413(client: httpx.AsyncClient) -> None:
    response = await client.post(STUDY, content=chunks(21))
    assert response.status_code == 413
    assert response.headers["content-type"] == "application/problem+json"


async def test_limit_holds_when_the_route_swallows_it(client: httpx.AsyncClient) -> None:
    response = await client.post("/fhir/Patient", content=chunks(2))
    assert (response.status_code, response.json()) == (413, {"resourceType": "OperationOutcome"})


@pytest.mark.parametrize("value", ["-1", "abc", "1" * 40, "1_0", "٣"])
async def test_wrong_content_length_is_400(client: httpx.AsyncClient, value: str) -> None:
    headers = [(b"content-length", value.encode())]
    assert (await client.post(STUDY, headers=headers)).status_code == 400


async def test_security_headers_stand_on_every_answer(client: httpx.AsyncClient) -> None:
    for path in ("/livez", "/nowhere", "/boom", "/missing"):
        headers = (await client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert "strict-transport-security" not in headers
        assert "x-request-id" in headers


async def test_route_keeps_its_own_header_and_https_adds_hsts() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"Cache-Control", b"private, max-age=60")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    transport = httpx.ASGITransport(SecurityHeaders(app, https=True))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as http:
        response = await http.get("/x")
    assert response.headers.get_list("cache-control") == ["private, max-age=60"]
    assert "strict-transport-security" in response.headers


async def test_unexpected_error_is_500_with_a_number_only(client: httpx.AsyncClient) -> None:
    response = await client.get("/boom")
    assert response.status_code == 500
    assert "Internal error" in response.json()["detail"]
    assert "Doe" not in response.text
    assert "Traceback" not in response.text


async def test_unexpected_error_speaks_as_the_door(client: httpx.AsyncClient) -> None:
    response = await client.get("/fhir/boom")
    assert (response.status_code, response.json()) == (500, {"resourceType": "OperationOutcome"})


async def test_fault_is_answered_as_what_it_is(client: httpx.AsyncClient) -> None:
    assert (await client.get("/missing")).status_code == 404
    response = await client.get("/busy")
    assert (response.status_code, response.headers["retry-after"]) == (503, "5")


async def test_error_after_the_start_cuts_the_answer(floor: HttpFloor) -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise ValueError

    async def send(message: object) -> None:
        return None

    shield = ErrorShield(app, floor.answer)
    with pytest.raises(ResponseCut):
        await shield({"type": "http", "path": "/x", "headers": []}, None, send)  # type: ignore[arg-type]


def test_no_prefix_means_elsewhere() -> None:
    assert BodyLimits({}, 7).of("/x") == 7


def test_addresses_that_audit_keeps() -> None:
    for client, address in (
        (("192.0.2.1", 1), "192.0.2.1"),
        (("::ffff:192.0.2.1", 1), "192.0.2.1"),
        (("2001:DB8:0::1", 1), "2001:db8::1"),
        (("fe80::1%eth0", 1), "fe80::1"),
        (("testclient", 1), None),
        (("", 1), None),
        (("192.0.2.1, 192.0.2.2", 1), None),
        (None, None),
    ):
        assert address_of({"client": client}) == address, client
    assert address_of({}) is None
