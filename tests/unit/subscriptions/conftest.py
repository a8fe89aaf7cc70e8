"""The FHIR door with subscribers on loopback; jobs and matching run when a test says so."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from sqlalchemy import update

from fhir.operations import OPERATIONS
from fhir.routes import Offer, build_router, fault_response
from fhir.subscriptions.match import match_changes
from fhir.subscriptions.state import STATE
from server.kernel.access import ACCESS_KEY, Access, Context, Grant, Permission, Principal
from server.kernel.database import Database, UnitOfWork
from server.kernel.envelope import Keyring
from server.kernel.faults import Fault
from server.kernel.job_queues import job_queue
from server.kernel.job_runner import JobRunner
from server.kernel.jobs import DEFAULT_BEATS, NOTIFY
from server.kernel.local_store import LocalObjectStore
from server.kernel.outbound_policy import AllowedHost, OutboundPolicy
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from server.kernel.subscription_policy import SubscriptionPolicy
from server.workflows.job_registry import server_handlers
from server.workflows.subscriptions.authority import authority_of
from tests.services.jobs import hurry
from tests.services.receiver import Receiver, receiver
from tests.services.routers import add_router

BASE = "http://fhir.test"
POLICY = SubscriptionPolicy(
    OutboundPolicy((AllowedHost("127.0.0.1"),)),
    attempts=3,
    first_retry_s=600.0,
    keys=Keyring(b"k" * 32),
    without_token=True,
)


def access(name: str, *grants: Grant, patients: frozenset[str] | None = None) -> Access:
    return Access(Principal(f"client:{name}", name), grants, patients)


EVERYTHING = Grant(Context.SYSTEM, "*", frozenset(Permission))


class Rights:
    """ASGI middleware: puts the Access named by the `x-rights` header into the scope."""

    def __init__(self, app: Any, named: dict[str, Access]) -> None:
        self.app, self.named = app, named

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        name = next((v.decode() for k, v in scope.get("headers", ()) if k == b"x-rights"), "system")
        scope[ACCESS_KEY] = self.named[name]
        await self.app(scope, receive, send)


@pytest.fixture
async def services(database_url: str, tmp_path: Path) -> AsyncIterator[Services]:
    database = Database(database_url)
    audit = ReadAudit(database)
    objects = LocalObjectStore(tmp_path / "objects")
    yield Services(database, objects, audit, BASE, subscriptions=POLICY)
    await audit.close()
    await database.close()


@pytest.fixture
def rights() -> dict[str, Access]:
    """Callers by name; tests add to it."""
    return {"system": access("system", EVERYTHING)}


def application(services: Services, rights: dict[str, Access]) -> Any:
    app = FastAPI()

    async def on_fault(_request: Request, fault: Exception) -> Response:
        assert isinstance(fault, Fault)
        return fault_response(fault)

    app.add_exception_handler(Fault, on_fault)
    router = build_router(services, b"page secret", lambda: b"{}", Offer(operations=OPERATIONS))
    add_router(app, router, "/fhir")
    return Rights(app, rights)


@pytest.fixture
async def client(services: Services, rights: dict[str, Access]) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=application(services, rights), raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url=f"{BASE}/fhir") as made:
        yield made


@pytest.fixture
async def ehr() -> AsyncIterator[Receiver]:
    """A subscriber."""
    async with receiver() as there:
        yield there


async def _come(unit: UnitOfWork) -> None:
    """Let the time of every further try have come."""
    await unit.execute(update(STATE).values(next_us=None))


@dataclass(slots=True)
class Background:
    """What a server does beside its requests, when it is told to."""

    services: Services
    authority: Any = field(default=None)

    async def match(self) -> int:
        """Look at what changed."""
        access_by = self.authority or authority_of(self.services)
        seen = 0
        while did := await match_changes(self.services, access_by):
            seen += did
        return seen

    async def deliver(self) -> int:
        """Run the deliveries that wait, as if their time had come; returns how many runs that were."""
        queue = job_queue(self.services.database, (NOTIFY,), DEFAULT_BEATS)
        runner = JobRunner(queue, server_handlers(self.services), {NOTIFY: 4})
        await queue.open()
        try:
            await self.services.database.transact(_come)
            await hurry(self.services.database, queues=(NOTIFY,))
            return await runner.run_due()
        finally:
            await queue.close()

    async def once(self) -> None:
        """Match, and deliver once."""
        await self.match()
        await self.deliver()


@pytest.fixture
def background(services: Services) -> Background:
    return Background(services)


Subscribe = Callable[..., Awaitable[httpx.Response]]


@pytest.fixture
def subscribe(client: httpx.AsyncClient, ehr: Receiver) -> Subscribe:
    """Ask for a Subscription; its endpoint is the subscriber's."""

    async def post(
        criteria: str = "DiagnosticReport", rights: str = "system", **changed: Any
    ) -> httpx.Response:
        channel = {"type": "rest-hook", "endpoint": ehr.url, **changed.pop("channel", {})}
        resource = {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "to know",
            "criteria": criteria,
            "channel": channel,
            **changed,
        }
        return await client.post("/Subscription", json=resource, headers={"x-rights": rights})

    return post


@pytest.fixture
def write(client: httpx.AsyncClient) -> Callable[..., Awaitable[str]]:
    """Create a resource; returns its id."""

    async def post(resource: dict[str, Any]) -> str:
        answer = await client.post(f"/{resource['resourceType']}", json=resource)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    return post
