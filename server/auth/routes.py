"""The routes of the authorization server: `/auth/…` and the discovery documents."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.auth.discovery import (
    RESOURCE_NAMES,
    authorization_server_metadata,
    protected_resource_metadata,
    smart_configuration,
)
from server.auth.middleware import ANONYMOUS
from server.auth.token_endpoint import Form, Issuer, Reply, answer
from server.auth.tokens import AccessTokens
from server.auth.userinfo import claims_of
from server.kernel.access import FAILED_KEY, access_of
from server.kernel.audit import Action, AuditEntry, Outcome
from server.kernel.faults import NotFound, TooLarge
from server.kernel.services import Services

MAX_FORM_BYTES = 64 << 10  # a signed assertion and a long scope need a tenth of it

JWKS_AGE = "public, max-age=3600"  # less than a key is published before it signs


def _failed() -> AuditEntry:
    """Who cannot say who they are."""
    return AuditEntry(ANONYMOUS, Action.EXECUTE, "token", "client", outcome=Outcome.MINOR_FAILURE)


def build_router(services: Services, tokens: AccessTokens, issuer: Issuer) -> APIRouter:
    """The router of the authorization server."""
    router = APIRouter(tags=["authorization"])

    async def serve(endpoint: str, request: Request) -> Response:
        reply = await answer(issuer, endpoint, await _form(request))
        for token_hash in reply.revoked:
            tokens.forget(token_hash)
        if reply.is_refused_client:
            request.scope[FAILED_KEY] = True
            await services.read_audit.record_retrieval(_failed())
        return _response(reply)

    @router.post("/auth/token")
    async def token(request: Request) -> Response:
        """Issue access tokens (RFC 6749 §3.2)."""
        return await serve("token", request)

    @router.post("/auth/introspect")
    async def introspect(request: Request) -> Response:
        """Describe a token to the client that holds it (RFC 7662)."""
        return await serve("introspection", request)

    @router.post("/auth/revoke")
    async def revoke(request: Request) -> Response:
        """End a token (RFC 7009)."""
        return await serve("revocation", request)

    @router.get("/auth/jwks")
    async def jwks() -> Response:
        """The keys that sign id_tokens (RFC 7517 §5)."""
        return JSONResponse(await issuer.keys.jwks(), headers={"Cache-Control": JWKS_AGE})

    @router.get("/auth/userinfo")
    @router.post("/auth/userinfo")
    async def userinfo(request: Request) -> Response:
        """Who the user of a token is (OpenID Connect Core §5.3)."""
        return JSONResponse(await claims_of(issuer, access_of(request.scope)))

    _add_discovery(router, services.public_base)
    return router


def _add_discovery(router: APIRouter, base: str) -> None:
    @router.get("/fhir/.well-known/smart-configuration")
    async def smart() -> Response:
        """What a SMART client must know (SMART 2.2)."""
        return JSONResponse(smart_configuration(base))

    @router.get("/.well-known/oauth-authorization-server")
    @router.get("/.well-known/openid-configuration")
    async def metadata() -> Response:
        """Authorization server metadata (RFC 8414; §5 names the second address for older clients)."""
        return JSONResponse(authorization_server_metadata(base))

    @router.get("/.well-known/oauth-protected-resource/{path:path}")
    async def resource(path: str) -> Response:
        """Metadata of a door (RFC 9728)."""
        if f"/{path}" not in RESOURCE_NAMES:
            raise NotFound("There is no protected resource by that name.")
        return JSONResponse(protected_resource_metadata(base, f"/{path}"))


async def _form(request: Request) -> Form:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            raise TooLarge(f"A form may have {MAX_FORM_BYTES} bytes.")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Form(media_type, bytes(body), request.headers.getlist("authorization"))


def _response(reply: Reply) -> Response:
    headers = {name: value for name, value in reply.headers if name.lower() != "content-type"}
    headers.update({"Cache-Control": "no-store", "Pragma": "no-cache"})
    return JSONResponse(dict(reply.body), status_code=reply.status, headers=headers)
