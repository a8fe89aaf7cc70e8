"""`/auth/register`: registration by an initial access token, then by the app's own (RFC 7591, RFC 7592)."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.auth.client_keys import require_jwks_uri
from server.auth.clients import InvalidClientMetadata
from server.auth.middleware import ANONYMOUS, AmbiguousToken, InvalidToken, MissingToken, bearer_token
from server.auth.redirects import InvalidRedirect
from server.auth.registration.metadata import Metadata, read_metadata
from server.auth.registration.register import (
    Registration,
    find_registration,
    register,
    replace_registration,
    take_back,
    told,
)
from server.auth.registration.tokens import holder_of, is_registration_token
from server.auth.scopes import InvalidScope
from server.auth.tokens import AccessTokens
from server.kernel.access import FAILED_KEY, Principal
from server.kernel.audit import Action, AuditEntry, Outcome
from server.kernel.faults import Fault
from server.kernel.outbound_policy import OutboundPolicy
from server.kernel.services import Services


def _failed() -> AuditEntry:
    """Who cannot say who they are."""
    return AuditEntry(ANONYMOUS, Action.EXECUTE, "client", "client", outcome=Outcome.MINOR_FAILURE)


_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True, slots=True)
class Registrar:
    """Who may register, and how refusals are said."""

    services: Services
    tokens: AccessTokens
    outbound: OutboundPolicy  # where keys may be fetched
    is_open: bool  # whether nobody has to show an initial access token

    async def answer(self, request: Request, fault: Fault) -> Response:
        """A refusal (RFC 7591 §3.2.2, RFC 6750 §3.1); a wrong token counts as a failed login."""
        if isinstance(fault, MissingToken):
            return Response(status_code=401, headers={"WWW-Authenticate": 'Bearer realm="isthmus"'})
        if isinstance(fault, InvalidToken):
            request.scope[FAILED_KEY] = True
            await self.services.read_audit.record_retrieval(_failed())
            challenge = {"WWW-Authenticate": 'Bearer realm="isthmus", error="invalid_token"'}
            return _error("invalid_token", fault, 401, challenge)
        if isinstance(fault, AmbiguousToken):
            return _error("invalid_request", fault)
        if isinstance(fault, InvalidRedirect):
            return _error("invalid_redirect_uri", fault)
        return _error("invalid_client_metadata", fault)

    async def register(self, request: Request) -> Response:
        """RFC 7591 §3.1."""
        token = bearer_token(request.scope)
        if token is None and not self.is_open:
            raise MissingToken("Registration needs an initial access token.")
        by = ANONYMOUS if token is None else await self._holder(token)
        metadata = self._read(await _json(request))
        made = await register(self.services.database, metadata, token, by)
        if made is None:
            raise InvalidToken("The registration token is not valid, or no longer.")
        return JSONResponse(told(*made, self.services.public_base), 201, _NO_STORE)

    async def manage(self, request: Request, client_id: str) -> Response:
        """RFC 7592 §2: by its registration access token an app reads, replaces and deletes itself."""
        token = bearer_token(request.scope)
        if token is None:
            raise MissingToken("A registration access token is required.")
        database = self.services.database
        registered = await find_registration(database, client_id, token)
        if registered is None:
            raise InvalidToken("The registration access token is not valid.")
        if request.method == "DELETE":
            await take_back(database, registered)
            self.tokens.forget_all()
            return Response(status_code=204, headers=_NO_STORE)
        if request.method == "PUT":
            metadata = self._read(await _json(request), is_update=True)
            registered = await replace_registration(database, registered, metadata)
        else:
            await self._audit_read(registered)
        return JSONResponse(told(registered, token, self.services.public_base), headers=_NO_STORE)

    def _read(self, body: bytes, *, is_update: bool = False) -> Metadata:
        metadata = read_metadata(body, is_update=is_update)
        if metadata.jwks_uri is not None:
            require_jwks_uri(metadata.jwks_uri, self.outbound)
        return metadata

    async def _holder(self, token: str) -> Principal:
        if not await is_registration_token(self.services.database, token, self.services.clock()):
            raise InvalidToken("The registration token is not valid, or no longer.")
        return holder_of(token)

    async def _audit_read(self, registered: Registration) -> None:
        client_id, name = registered.row["client_id"], registered.row["name"]
        principal = Principal(f"client:{client_id}", name)
        entry = AuditEntry(principal, Action.READ, "client", "client", client_id)
        await self.services.read_audit.record(entry)


def build_router(
    services: Services, tokens: AccessTokens, outbound: OutboundPolicy, *, is_open: bool
) -> APIRouter:
    """The routes of registration."""
    router = APIRouter(tags=["authorization"])
    registrar = Registrar(services, tokens, outbound, is_open)
    faults = (
        MissingToken,
        InvalidToken,
        AmbiguousToken,
        InvalidRedirect,
        InvalidClientMetadata,
        InvalidScope,
    )

    @router.post("/auth/register", status_code=201)
    async def add(request: Request) -> Response:
        """Register an app (RFC 7591)."""
        try:
            return await registrar.register(request)
        except faults as fault:
            return await registrar.answer(request, fault)

    @router.get("/auth/register/{client_id}")
    @router.put("/auth/register/{client_id}")
    @router.delete("/auth/register/{client_id}", status_code=204)
    async def manage(request: Request, client_id: str) -> Response:
        """Read, replace or delete a registered app (RFC 7592)."""
        try:
            return await registrar.manage(request, client_id)
        except faults as fault:
            return await registrar.answer(request, fault)

    return router


async def _json(request: Request) -> bytes:
    """The body of a request that no page of another origin can send without asking (RFC 7591 §3.1)."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise InvalidClientMetadata("The body must be application/json.")
    return await request.body()


def _error(error: str, fault: Fault, status: int = 400, headers: dict[str, Any] | None = None) -> Response:
    said = {"error": error, "error_description": str(fault)}
    return JSONResponse(said, status, {**_NO_STORE, **(headers or {})})
