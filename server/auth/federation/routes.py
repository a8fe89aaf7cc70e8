"""`POST /auth/federation/logout`: what the provider itself tells us (Back-Channel Logout 1.0 §2.5)."""

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from server.auth.authorize.asked import NotAnswerable
from server.auth.authorize.forms import one, read_fields
from server.auth.federation.id_tokens import RefusedToken
from server.auth.federation.login import FederatedLogin
from server.auth.federation.provider_link import ProviderFailed
from server.auth.tokens import AccessTokens
from server.kernel.access import FAILED_KEY
from server.kernel.faults import NotFound

log = structlog.get_logger(__name__)


def build_router(login: FederatedLogin | None, tokens: AccessTokens) -> APIRouter:
    """The route; `login` None: nobody logs in elsewhere."""
    router = APIRouter(tags=["authorization"])

    @router.post("/auth/federation/logout")
    async def end(request: Request) -> Response:
        """End the sessions whose login has ended at the external OpenID provider."""
        if login is None:
            raise NotFound("Nobody logs in elsewhere.")
        try:
            await login.end_elsewhere(one(await read_fields(request), "logout_token"))
        except (RefusedToken, ProviderFailed, NotAnswerable) as fault:
            log.warning("logout by the OpenID provider refused", rule=type(fault).__name__, reason=str(fault))
            request.scope[FAILED_KEY] = isinstance(fault, RefusedToken)
            body = {"error": "invalid_request", "error_description": "The logout token is not accepted."}
            return JSONResponse(body, 400, {"Cache-Control": "no-store"})
        tokens.forget_all()
        return Response(status_code=200, headers={"Cache-Control": "no-store"})

    return router
