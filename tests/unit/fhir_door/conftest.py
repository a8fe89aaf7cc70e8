"""The FHIR door over a real database, its callers' rights given by a header that only tests know."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response

from fhir.interactions.door import Definitions, Policy
from fhir.operations import OPERATIONS
from fhir.routes import Offer, build_router, fault_response
from server.kernel.access import ACCESS_KEY, Access, Context, Grant, Permission, Principal
from server.kernel.database import Database
from server.kernel.faults import Fault
from server.kernel.local_store import LocalObjectStore
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from terminology import shipped
from tests.services.routers import add_router

BASE = "http://fhir.test"
EVERYTHING = frozenset(Permission)


class Rights:
    """ASGI middleware: puts the Access named by the `x-rights` header into the scope."""

    def __init__(self, app: Any, named: dict[str, Access]) -> None:
        self.app, self.named = app, named

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = next((v.decode() for k, v in scope.get("headers", ()) if k == b"x-rights"), "system")
        if name in self.named:
            scope[ACCESS_KEY] = self.named[name]
        await self.app(scope, receive, send)


def access(name: str, *grants: Grant, patients: frozenset[str] | None = None) -> Access:
    return Access(Principal(f"client:{name}", name), grants, patients)


def grant(resource_type: str = "*", permissions: str = "cruds", context: Context = Context.SYSTEM) -> Grant:
    return Grant(context, resource_type, frozenset(Permission(p) for p in permissions))


@pytest.fixture
async def services(database_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    database = Database(database_url)
    audit = ReadAudit(database)
    yield Services(database, LocalObjectStore(tmp_path / "objects"), audit, BASE)
    await audit.close()
    await database.close()


@pytest.fixture
def rights() -> dict[str, Access]:
    """Callers by name; tests add to it."""
    return {
        "system": access("system", grant()),
        "nothing": access("nothing"),
        "reader": access("reader", grant(permissions="r")),
    }


@pytest.fixture
def confine(rights: dict[str, Access]) -> Callable[..., dict[str, str]]:
    """Make a caller confined to patients; returns its headers."""

    def make(*patients: str, permissions: str = "cruds", resource_type: str = "*") -> dict[str, str]:
        name = f"only-{'-'.join(patients)}-{permissions}-{resource_type}"
        granted = grant(resource_type, permissions, Context.PATIENT)
        rights[name] = access(name, granted, patients=frozenset(patients))
        return {"x-rights": name}

    return make


@pytest.fixture
def offer() -> Offer:
    """What the door offers beside R4's minimum; a test module may have its own."""
    return Offer(Policy(), operations=OPERATIONS, definitions=Definitions(after=shipped.sources()))


@pytest.fixture
async def client(
    services: Services, rights: dict[str, Access], offer: Offer
) -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI()

    async def on_fault(_request: Request, fault: Exception) -> Response:
        assert isinstance(fault, Fault)
        return fault_response(fault)

    app.add_exception_handler(Fault, on_fault)
    metadata = b'{"resourceType":"CapabilityStatement"}'
    router = build_router(services, b"page secret", lambda: metadata, offer)
    add_router(app, router, "/fhir")
    transport = httpx.ASGITransport(app=Rights(app, rights), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=f"{BASE}/fhir") as made:
        yield made


@pytest.fixture
def create(client: httpx.AsyncClient) -> Callable[..., Any]:
    """Create a resource; returns its id."""

    async def post(resource: dict[str, Any], **headers: str) -> str:
        answer = await client.post(f"/{resource['resourceType']}", json=resource, headers=headers)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return post


@pytest.fixture
def ids(client: httpx.AsyncClient) -> Callable[..., Any]:
    """The ids of the matches of a search, in order."""

    async def search(url: str, **headers: str) -> list[str]:
        answer = await client.get(url, headers=headers)
        assert answer.status_code == 200, answer.text
        return [e["resource"]["id"] for e in answer.json().get("entry", []) if e["search"]["mode"] == "match"]

    return search
