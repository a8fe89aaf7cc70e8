"""Users, clients, sessions, grants and signing keys below `/admin/api` (DESIGN §4).

Every route needs an administrator. Acts are audited in their own transactions, lists before they are read.
What an act ends, it ends at once in this process: its cache of tokens is emptied.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Select

from server.auth.administration.acts import end_all, end_one_grant, end_one_session
from server.auth.administration.lists import (
    read_page,
    select_clients,
    select_grants,
    select_sessions,
    select_signing_keys,
    select_users,
)
from server.auth.administration.requests import (
    ClientBody,
    LaunchingBody,
    LinkBody,
    PasswordBody,
    TokenBody,
    UserBody,
    read_body,
)
from server.auth.client_keys import require_jwks_uri
from server.auth.clients import Wanted, add_client, disable_client, let_launch, write_jwks
from server.auth.federation.provider import Provider
from server.auth.registration.tokens import issue_registration_token
from server.auth.signing import SigningKeys
from server.auth.tokens import AccessTokens
from server.auth.users.accounts import (
    NewUser,
    add_user,
    disable_user,
    enable_user,
    find_user,
    link_user,
    set_password,
)
from server.auth.users.identities import Identity
from server.kernel.access import Principal, access_of
from server.kernel.audit import Action, AuditEntry
from server.kernel.faults import Fault, FaultKind, NotFound
from server.kernel.outbound_policy import OutboundPolicy
from server.kernel.services import Services

After = Annotated[int, Query(ge=0, lt=2**63)]  # a key of the database
Key = Annotated[int, Path(ge=0, lt=2**63)]


class NoProvider(Fault):
    """Users log in here only."""

    kind = FaultKind.CONFLICT


@dataclass(frozen=True, slots=True)
class Administration:
    """What the routes act on."""

    services: Services
    tokens: AccessTokens
    keys: SigningKeys
    outbound: OutboundPolicy  # where the keys of clients may be fetched
    provider: Provider | None = None  # at which users log in; None: here only

    def identity(self, subject: str) -> Identity:
        """Somebody at the provider.

        Raises:
            NoProvider: there is none.
        """
        if self.provider is None:
            raise NoProvider("The settings name no external provider.")
        return Identity(self.provider.issuer, subject)

    async def page(self, request: Request, name: str, statement: Select[Any]) -> Response:
        """A list, audited."""
        entry = AuditEntry(administrator(request), Action.READ, f"list-{name}", "Administration")
        await self.services.read_audit.record(entry)
        return JSONResponse(await read_page(self.services.database, name, statement))


def build_router(administration: Administration) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["administration"])
    _add_users(router, administration)
    _add_sessions(router, administration)
    _add_clients(router, administration)

    @router.get("/signing-keys")
    async def signing_keys(request: Request, after: After = 0) -> Response:
        """The keys of id_tokens, those before them too: from when each signs, until when it verifies."""
        return await administration.page(request, "signing-keys", select_signing_keys(after))

    @router.post("/signing-keys", status_code=201)
    async def rotate(request: Request) -> Response:
        """Make the key that signs id_tokens next, and retire those before it."""
        return JSONResponse({"kid": await administration.keys.rotate(administrator(request))}, 201)

    return router


def _add_users(router: APIRouter, administration: Administration) -> None:
    database, tokens = administration.services.database, administration.tokens

    @router.get("/users")
    async def users(request: Request, after: After = 0) -> Response:
        """The accounts of users, those out of use too."""
        return await administration.page(request, "users", select_users(after))

    @router.post("/users", status_code=201)
    async def add(request: Request) -> Response:
        """Make an account."""
        by, said = administrator(request), read_body(await request.body(), UserBody)
        who = None if said.subject is None else administration.identity(said.subject)
        new = NewUser(said.name, said.role, said.display, said.password, said.fhir_user, said.patient, who)
        user = await add_user(database, new, by)
        return JSONResponse({"name": user.name, "role": user.role.value, "display": user.display}, 201)

    @router.post("/users/{name}/disable", status_code=204)
    async def disable(request: Request, name: str) -> Response:
        """Take an account out of use, with all that was allowed in its name."""
        await disable_user(database, name, administrator(request))
        tokens.forget_all()
        return Response(status_code=204)

    @router.post("/users/{name}/enable", status_code=204)
    async def enable(request: Request, name: str) -> Response:
        """Take an account into use again; its sessions and grants stay ended."""
        await enable_user(database, name, administrator(request))
        tokens.forget_all()
        return Response(status_code=204)

    @router.put("/users/{name}/link", status_code=204)
    async def link(request: Request, name: str) -> Response:
        """Let a user log in at the external provider; whoever is logged in as them no longer is."""
        by, said = administrator(request), read_body(await request.body(), LinkBody)
        await link_user(database, name, administration.identity(said.subject), by)
        tokens.forget_all()
        return Response(status_code=204)

    @router.delete("/users/{name}/link", status_code=204)
    async def unlink(request: Request, name: str) -> Response:
        """Let a user no longer log in at an external provider; whoever is logged in as them no longer is."""
        await link_user(database, name, None, administrator(request))
        tokens.forget_all()
        return Response(status_code=204)

    @router.post("/users/{name}/password", status_code=204)
    async def password(request: Request, name: str) -> Response:
        """Set a user's password; whoever is logged in as them no longer is."""
        by, said = administrator(request), read_body(await request.body(), PasswordBody)
        await set_password(database, name, said.password, by)
        tokens.forget_all()
        return Response(status_code=204)


def _add_sessions(router: APIRouter, administration: Administration) -> None:
    services, tokens = administration.services, administration.tokens

    @router.get("/users/{name}/sessions")
    async def sessions(request: Request, name: str, after: After = 0) -> Response:
        """The logins of a user that stand."""
        administrator(request)
        user = await find_user(services.database, name)
        return await administration.page(
            request, "sessions", select_sessions(user.id, after, services.clock())
        )

    @router.get("/users/{name}/grants")
    async def grants(request: Request, name: str, after: After = 0) -> Response:
        """What a user has allowed clients."""
        administrator(request)
        user = await find_user(services.database, name)
        return await administration.page(request, "grants", select_grants(user.id, after, services.clock()))

    @router.delete("/users/{name}/sessions", status_code=204)
    async def end_every(request: Request, name: str) -> Response:
        """End every login of a user, and all that they allowed."""
        await end_all(services.database, name, administrator(request))
        tokens.forget_all()
        return Response(status_code=204)

    @router.delete("/users/{name}/sessions/{session}", status_code=204)
    async def end_session(request: Request, name: str, session: Key) -> Response:
        """End one login, as its user would by logging off."""
        await end_one_session(services.database, name, session, administrator(request))
        tokens.forget_all()
        return Response(status_code=204)

    @router.delete("/users/{name}/grants/{grant}", status_code=204)
    async def end_grant(request: Request, name: str, grant: Key) -> Response:
        """End what a user allowed a client once, with every token of it."""
        await end_one_grant(services.database, name, grant, administrator(request))
        tokens.forget_all()
        return Response(status_code=204)


def _add_clients(router: APIRouter, administration: Administration) -> None:
    database, tokens = administration.services.database, administration.tokens

    @router.get("/clients")
    async def clients(request: Request, after: After = 0) -> Response:
        """The registered clients, those out of use too."""
        return await administration.page(request, "clients", select_clients(after))

    @router.post("/clients", status_code=201)
    async def add(request: Request) -> Response:
        """Register a client; its secret, if it has one, is shown this once."""
        by, said = administrator(request), read_body(await request.body(), ClientBody)
        keys = None if said.jwks is None else write_jwks(said.jwks)
        wanted = Wanted(said.client_name, said.scope, keys, said.redirect_uris, said.confidential)
        wanted = replace(wanted, may_launch=said.may_launch, represents=said.represents)
        if said.jwks_uri is not None:
            require_jwks_uri(said.jwks_uri, administration.outbound)
            wanted = replace(wanted, jwks_uri=said.jwks_uri)
        new = await add_client(database, wanted, by)
        told = {"client_id": new.client_id, "client_secret": new.client_secret}
        shown = {name: value for name, value in told.items() if value is not None}
        return JSONResponse(shown, 201, {"Cache-Control": "no-store"})

    @router.post("/registration-tokens", status_code=201)
    async def add_token(request: Request) -> Response:
        """Make an initial access token, for one registration at `/auth/register`."""
        by, said = administrator(request), read_body(await request.body() or b"{}", TokenBody)
        text = await issue_registration_token(database, said.ttl_s, by)
        told = {"token": text, "expires_in": said.ttl_s}
        return JSONResponse(told, 201, {"Cache-Control": "no-store"})

    @router.post("/clients/{client_id}/launching", status_code=204)
    async def launching(request: Request, client_id: str) -> Response:
        """Say whether a client that acts for itself may prepare launches, as an EHR's does."""
        by, said = administrator(request), read_body(await request.body(), LaunchingBody)
        await let_launch(database, client_id, said.may_launch, by)
        return Response(status_code=204)

    @router.post("/clients/{client_id}/disable", status_code=204)
    async def disable(request: Request, client_id: str) -> Response:
        """Take a client out of use, and every token of it with it."""
        by = administrator(request)
        if not await disable_client(database, client_id, by):
            raise NotFound("There is no such client in use.")
        tokens.forget_all()
        return Response(status_code=204)


def administrator(request: Request) -> Principal:
    """Who asks, if it is an administrator.

    Raises:
        Forbidden: it is none.
    """
    access = access_of(request.scope)
    access.require_administrator()
    return access.principal
