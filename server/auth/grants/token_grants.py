"""The grants of users at the token endpoint: `authorization_code` and `refresh_token` (RFC 6749 §4.1.3, §6).

Authlib's core finds the grant, authenticates the client and words the errors. What decides is here: its own
grants redeem a code twice, know no reuse of refresh tokens and leave public clients without a challenge.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

from authlib.oauth2.rfc6749 import (
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    UnauthorizedClientError,
)
from authlib.oauth2.rfc6749.grants import BaseGrant, TokenEndpointMixin

from server.auth.clients import RegisteredClient
from server.auth.denials import EMERGENCY
from server.auth.emergency.access import note_token
from server.auth.grants.code import proves, use_code
from server.auth.grants.grant import ONLINE, Grant, end_grant, find_grant
from server.auth.grants.refresh import find_refresh_token, new_refresh_token, use_refresh_token
from server.auth.scopes import InvalidScope, Scopes, intersect, parse_scopes
from server.auth.signing import ID_TOKEN_S
from server.auth.tokens import TokenRequest
from server.auth.users.claims import identity
from server.kernel.clock import SECOND_US

if TYPE_CHECKING:
    from server.auth.token_endpoint import FormRequest, TokenServer

TOKEN_TTL_S = 3600  # of a user's access token; it ends with its grant, whichever is first
METHODS = ("none", "private_key_jwt", "client_secret_basic", "client_secret_post")
NOT_GRANTED = "The code or refresh token is not valid, or no longer."  # one sentence for every cause


class _UserGrant(BaseGrant, TokenEndpointMixin):
    """What both share."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS
    GRANT_TYPE: str
    server: "TokenServer"
    request: "FormRequest"
    grant: Grant

    def validate_token_request(self) -> None:
        """Authenticate the client, and let the request be judged."""
        client = self._unnamed_client() or self.authenticate_token_endpoint_client()
        assert isinstance(client, RegisteredClient)
        self.request.client = client
        if not client.check_grant_type(self.GRANT_TYPE):
            raise UnauthorizedClientError(description="The client is not registered for this grant.")
        self._judge(client)

    def _unnamed_client(self) -> RegisteredClient | None:
        """The client of a request that names none."""
        return None

    def _judge(self, client: RegisteredClient) -> None:
        raise NotImplementedError

    def _stop(self, grant_id: int | None, why: str) -> NoReturn:
        """Refuse, and end the grant: what it was asked with is in the wrong hands."""
        if grant_id is not None:
            self.server.revoked += end_grant(self.server.unit, self.server.connection, grant_id, why)
        raise InvalidGrantError(description=NOT_GRANTED)

    def _find_grant(self, grant_id: int, client: RegisteredClient) -> Grant:
        grant = find_grant(self.server.connection, grant_id, self.server.unit.now_us)
        if grant is None or grant.client_id != client.client_id:
            self._stop(grant_id, "reuse")
        return grant

    def _tokens(self, scopes: Scopes) -> dict[str, Any]:
        """The members of the answer that both have (RFC 6749 §5.1; SMART 2.2, launch context)."""
        grant, server, now = self.grant, self.server, self.server.unit.now_us
        request = TokenRequest(
            grant.user.principal.id,
            scopes,
            grant.ttl_s(TOKEN_TTL_S, now),
            grant.client_id,
            grant.patient_id,
            grant.id,
        )
        body: dict[str, Any] = {
            "access_token": server.issue(request),
            "token_type": "Bearer",
            "expires_in": request.ttl_s,
            "scope": scopes.text,
        }
        if grant.purpose == EMERGENCY:
            note_token(server.connection, grant.id, body["access_token"])
        body |= grant.told_context(server.style_url)
        if grant.is_offline or ONLINE in grant.scopes.others:
            body["refresh_token"] = new_refresh_token(server.connection, grant.id, now)
        return body


class CodeGrant(_UserGrant):
    """`authorization_code`: the code once, with what it is bound to."""

    GRANT_TYPE = "authorization_code"

    def _judge(self, client: RegisteredClient) -> None:
        form = self.request.form
        if missing := [name for name in ("code", "redirect_uri", "code_verifier") if not form.get(name)]:
            raise InvalidRequestError(description=f"Missing: {', '.join(missing)}.")
        found = use_code(self.server.connection, form["code"], self.server.unit.now_us)
        if found is None:
            self._stop(None, "")
        self._code, is_first = found
        if not is_first or not proves(self._code, form):
            self._stop(self._code.grant_id, "reuse")
        if self._code.expires_us <= self.server.unit.now_us:
            self._stop(None, "")
        self.grant = self._find_grant(self._code.grant_id, client)

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:  # type: ignore[override]  # the stub is wrong
        """The first tokens, with an id_token for `openid`."""
        body = self._tokens(self.grant.scopes)
        if "openid" in self.grant.scopes.others:
            assert self.server.sign is not None
            body["id_token"] = self.server.sign(self._id_claims())
        return 200, body, self.TOKEN_RESPONSE_HEADER

    def _id_claims(self) -> Mapping[str, Any]:
        """OpenID Connect Core §2; SMART 2.2, Scopes for requesting identity data."""
        grant, now_s = self.grant, self.server.unit.now_us // SECOND_US
        claims = {
            "iss": self.server.public_base,
            **identity(grant.user, grant.scopes.others, self.server.public_base),
            "aud": grant.client_id,
            "iat": now_s,
            "exp": now_s + ID_TOKEN_S,
            "auth_time": grant.authenticated_us // SECOND_US,
        }
        if self._code.nonce is not None:
            claims["nonce"] = self._code.nonce
        return claims


class RefreshGrant(_UserGrant):
    """`refresh_token`: the token once, for the scopes of the grant or fewer."""

    GRANT_TYPE = "refresh_token"

    def _unnamed_client(self) -> RegisteredClient | None:
        """A public app may name its refresh token only (SMART 2.2): by its id it proves nothing."""
        form, server = self.request.form, self.server
        if self.request.headers or not {"client_id", "client_secret", "client_assertion"}.isdisjoint(form):
            return None
        row = find_refresh_token(server.connection, form.get("refresh_token", ""))
        grant = None if row is None else find_grant(server.connection, row.grant_id, server.unit.now_us)
        client = None if grant is None else server.query_client(grant.client_id)
        return client if client is not None and client.method == "none" else None

    def _judge(self, client: RegisteredClient) -> None:
        server, form = self.server, self.request.form
        if not form.get("refresh_token"):
            raise InvalidRequestError(description="Missing: refresh_token.")
        row = find_refresh_token(server.connection, form["refresh_token"])
        if row is None:
            self._stop(None, "")
        self.grant = self._find_grant(row.grant_id, client)
        if row.expires_us <= server.unit.now_us or not (self.grant.is_offline or self.grant.is_online):
            self._stop(None, "")
        self._scopes = self._asked(form.get("scope"), client)
        if not use_refresh_token(server.connection, row, server.unit.now_us):
            self._stop(row.grant_id, "reuse")

    def _asked(self, text: str | None, client: RegisteredClient) -> Scopes:
        """The scopes of the new access token (RFC 6749 §6): granted then, and still the client's to have."""
        try:
            granted = intersect(self.grant.scopes, client.registered_scopes())
            scopes = intersect(parse_scopes(text), granted) if text else granted
        except InvalidScope as fault:
            raise InvalidScopeError(description=str(fault)) from fault
        if not scopes:
            raise InvalidScopeError(description="None of these scopes was granted.")
        return scopes

    def create_token_response(self) -> tuple[int, dict[str, Any], Any]:  # type: ignore[override]  # the stub is wrong
        """The next tokens."""
        return 200, self._tokens(self._scopes), self.TOKEN_RESPONSE_HEADER
