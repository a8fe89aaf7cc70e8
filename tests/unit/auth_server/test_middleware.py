"""RFC 6750: the bearer token before every door."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from sqlalchemy import select
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from server.auth.middleware import Authentication, Door, protected_prefix
from server.auth.tokens import AccessTokens, issue_token, revoke_token
from server.kernel.access import ACCESS_KEY, Access, system_access
from server.kernel.database import Database
from server.kernel.faults import Busy, Fault
from server.kernel.read_audit import ReadAudit
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow
from tests.asked_in_turn import asked_in_turn

BASE = "http://testserver"


def answer(scope: Scope, fault: Fault) -> ASGIApp:
    return JSONResponse({"door": scope["path"].split("/")[1], "reason": str(fault)}, int(fault.status))


class Recorder:
    """The application behind the middleware."""

    def __init__(self, status: int = 200) -> None:
        self.access: Access | None = None
        self.called = 0
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.called += 1
        self.access = scope.get(ACCESS_KEY)
        await Response("inside", self.status)(scope, receive, send)


Ask = Callable[..., Any]


@pytest.fixture
def app() -> Recorder:
    return Recorder()


@pytest.fixture
def door(database: Database, clock: Any) -> Door:
    return Door(AccessTokens(database, clock), ReadAudit(database), answer, BASE)


async def ask(app: Recorder, door: Door, path: str, **options: Any) -> httpx.Response:
    transport = httpx.ASGITransport(Authentication(app, door))
    async with httpx.AsyncClient(transport=transport, base_url=BASE) as client:
        return await client.get(path, **options)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def audited(database: Database) -> list[tuple[str, str, int]]:
    t = table_of(AuditRow)
    async with database.read() as connection:
        rows = await connection.execute(select(t.c.principal, t.c.interaction, t.c.occurrences))
        return [tuple(row) for row in rows if row.interaction == "denied"]


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("/fhir", "/fhir"),
        ("/fhir/", "/fhir"),
        ("/fhir/Patient/1", "/fhir"),
        ("/fhir/metadata", None),
        ("/fhir/metadata/more", None),
        ("/fhir/metadatax", "/fhir"),
        ("/fhir/.well-known/smart-configuration", None),
        ("/dicom-web/studies", "/dicom-web"),
        ("/admin/api/studies", "/admin/api"),
        ("/fhirx", None),
        ("/livez", None),
    ],
)
def test_protected_prefix(path: str, prefix: str | None) -> None:
    assert protected_prefix(path) == prefix


async def test_valid_token_becomes_access(database: Database, app: Recorder, door: Door) -> None:
    token = await issue_token(database, scope="system/*.rs", patient="p1", subject="user:ada")
    response = await ask(app, door, "/fhir/Patient/p1", headers=bearer(token))
    assert response.status_code == 200
    assert app.access is not None
    assert app.access.principal.id == "user:ada"
    assert app.access.patient_ids == frozenset({"p1"})


@pytest.mark.parametrize("path", ["/fhir/Patient", "/dicom-web/studies", "/admin/api/studies"])
async def test_no_token_is_401_in_the_words_of_the_door(app: Recorder, door: Door, path: str) -> None:
    response = await ask(app, door, path)
    assert response.status_code == 401
    assert response.json()["door"] == path.split("/")[1]
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith("Bearer ")
    assert "error=" not in challenge  # RFC 6750 §3.1: no error code when no token came
    assert f'resource_metadata="{BASE}/.well-known/oauth-protected-resource/' in challenge
    assert app.called == 0


@asked_in_turn(
    "authorization",
    [
        "Bearer unknown",
        "Bearer",
        "Bearer ",
        "Bearer two words",
        "Bearer sp\xe9cial",
        'Bearer "quoted"',
        "Bearer " + "a" * 5000,
        "Basic YTpi",
        "bearer:abc",
        "Token abc",
        "",
    ],
)
async def test_malformed_or_unknown_token_is_401(
    database: Database, app: Recorder, door: Door, authorization: str
) -> None:
    headers = [(b"authorization", authorization.encode("latin-1"))]
    response = await ask(app, door, "/fhir/Patient", headers=headers)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert app.called == 0


async def test_expired_token_is_401(database: Database, clock: Any, app: Recorder, door: Door) -> None:
    token = await issue_token(database, scope="system/*.rs", ttl_s=60)
    assert (await ask(app, door, "/fhir/Patient", headers=bearer(token))).status_code == 200
    clock.offset_s = 61
    assert (await ask(app, door, "/fhir/Patient", headers=bearer(token))).status_code == 401


async def test_token_expires_while_cached(database: Database, clock: Any, app: Recorder, door: Door) -> None:
    token = await issue_token(database, scope="system/*.rs", ttl_s=2)
    assert (await ask(app, door, "/fhir/Patient", headers=bearer(token))).status_code == 200
    clock.offset_s = 3  # within the five seconds of the cache
    assert (await ask(app, door, "/fhir/Patient", headers=bearer(token))).status_code == 401


async def test_revoked_elsewhere_is_401_after_the_cache_time(
    database: Database, clock: Any, app: Recorder, door: Door
) -> None:
    token = await issue_token(database, scope="system/*.rs")
    assert (await ask(app, door, "/fhir/Patient", headers=bearer(token))).status_code == 200
    assert await revoke_token(database, token)
    clock.offset_s = 5.1
    assert (await ask(app, door, "/fhir/Patient", headers=bearer(token))).status_code == 401


@pytest.mark.parametrize("query", ["access_token={}", "a=1&access_token={}", "acces%73_token={}"])
async def test_token_in_the_url_is_400(database: Database, app: Recorder, door: Door, query: str) -> None:
    token = await issue_token(database, scope="system/*.rs")
    response = await ask(app, door, f"/fhir/Patient?{query.format(token)}", headers=bearer(token))
    assert response.status_code == 400
    assert 'error="invalid_request"' in response.headers["www-authenticate"]
    assert token not in response.text
    assert app.called == 0


async def test_two_authorization_headers_are_400(database: Database, app: Recorder, door: Door) -> None:
    token = await issue_token(database, scope="system/*.rs")
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert (await ask(app, door, "/fhir/Patient", headers=headers)).status_code == 400


async def test_open_path_ignores_the_header(app: Recorder, door: Door) -> None:
    response = await ask(app, door, "/fhir/metadata", headers={"Authorization": "Basic x"})
    assert response.status_code == 200
    assert app.access is None


async def test_no_auth_gives_the_configured_access(database: Database, app: Recorder, door: Door) -> None:
    free = Door(door.tokens, door.read_audit, answer, BASE, anonymous=system_access("anonymous"))
    assert (await ask(app, free, "/dicom-web/studies")).status_code == 200
    assert app.access == system_access("anonymous")
    assert (await ask(app, free, "/dicom-web/studies", headers=bearer("wrong"))).status_code == 401


async def test_forbidden_is_audited_and_challenged(database: Database, door: Door) -> None:
    token = await issue_token(database, scope="system/Task.r", subject="user:ada")
    response = await ask(Recorder(403), door, "/dicom-web/studies", headers=bearer(token))
    assert response.status_code == 403
    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]
    assert await audited(database) == [("user:ada", "denied", 1)]


async def test_invalid_tokens_are_audited_once_and_counted(
    database: Database, app: Recorder, door: Door
) -> None:
    for n in range(20):
        await ask(app, door, "/fhir/Patient", headers=bearer(f"guess{n}"))
    assert await audited(database) == [("anonymous", "denied", 1)]
    await door.read_audit.close()
    assert await audited(database) == [("anonymous", "denied", 1), ("anonymous", "denied", 19)]


async def test_refusal_that_cannot_be_audited_is_503(database: Database, app: Recorder, door: Door) -> None:
    class Failing(ReadAudit):
        async def record_retrieval(self, entry: object) -> None:  # noqa: ARG002
            raise Busy("no room")

    failing = Door(door.tokens, Failing(database), answer, BASE)
    assert (await ask(app, failing, "/fhir/Patient", headers=bearer("x"))).status_code == 503
    token = await issue_token(database, scope="system/*.rs")
    response = await ask(Recorder(403), failing, "/fhir/Patient", headers=bearer(token))
    assert response.status_code == 503
    assert response.text != "inside"


async def test_websocket_without_token_is_closed(app: Recorder, door: Door) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/dicom-web/subscribers/A", "headers": [], "query_string": b""}
    await Authentication(app, door)(scope, None, send)  # type: ignore[arg-type]
    assert sent[0]["type"] == "websocket.close"
    assert app.called == 0
