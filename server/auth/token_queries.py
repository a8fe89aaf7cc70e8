"""Introspection and revocation (RFC 7662, RFC 7009): what a client may ask and say of its own tokens.

A token of a user stands and falls with its grant: to revoke one, access or refresh token, ends them all.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from server.auth.clients import RegisteredClient
from server.auth.grants.grant import Grant, end_grant, find_grant
from server.auth.grants.refresh import find_refresh_token
from server.auth.tokens import TokenRecord, hash_secret, revocation, select_token
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US

if TYPE_CHECKING:
    from server.auth.token_endpoint import FormRequest, TokenServer

METHODS = ("private_key_jwt", "client_secret_basic", "client_secret_post")
METHODS_OF_REVOCATION = ("none", *METHODS)  # who has no secret may still give up what they have


@dataclass(frozen=True, slots=True)
class BoundToken:
    """A token in use, with the questions that Authlib's endpoints ask of it."""

    client_id: str | None
    record: TokenRecord | None  # of an access token
    grant: Grant | None  # of a user
    expires_us: int

    def check_client(self, client: RegisteredClient) -> bool:
        """Whether the token was issued to this client."""
        return self.client_id == client.client_id

    def is_expired(self) -> bool:
        return False  # none that is, is found

    def is_revoked(self) -> bool:
        return False


class _TokenQueries:
    """What both share: any token of ours, whatever the hint (RFC 7009 §2.1)."""

    server: "TokenServer"

    def check_params(self, request: "FormRequest", client: RegisteredClient) -> None:  # noqa: ARG002  Authlib's signature
        if not request.form.get("token"):
            raise InvalidRequestError(description="The token parameter is required.")

    def query_token(self, token_string: str, token_type_hint: str | None) -> BoundToken | None:  # noqa: ARG002
        connection, now_us = self.server.connection, self.server.unit.now_us
        row = connection.execute(select_token(hash_secret(token_string), now_us)).one_or_none()
        if row is not None:
            record = TokenRecord(**row._mapping)
            grant = None if record.grant_id is None else find_grant(connection, record.grant_id, now_us)
            return BoundToken(record.client_id, record, grant, record.expires_us)
        refresh = find_refresh_token(connection, token_string)
        if refresh is None or refresh.used_us is not None or refresh.expires_us <= now_us:
            return None
        grant = find_grant(connection, refresh.grant_id, now_us)
        if grant is None or not (grant.is_offline or grant.is_online):
            return None
        return BoundToken(grant.client_id, None, grant, refresh.expires_us)


class Introspection(_TokenQueries, IntrospectionEndpoint):
    """RFC 7662: a client learns of its own tokens; every other token is `{"active": false}` to it."""

    CLIENT_AUTH_METHODS = METHODS

    def check_permission(self, token: BoundToken, client: RegisteredClient, request: object) -> bool:  # noqa: ARG002
        return token.check_client(client)

    def introspect_token(self, token: BoundToken) -> dict[str, Any]:
        told: dict[str, Any] = {
            "active": True,
            "iss": self.server.public_base,
            "client_id": token.client_id,
            "exp": token.expires_us // SECOND_US,
        }
        if token.grant is not None:
            told |= self._of_grant(token.grant)
        if token.record is not None:
            record = token.record
            told |= {"token_type": "Bearer", "sub": record.subject, "scope": record.scope}
            told["iat"] = record.issued_us // SECOND_US
            if record.patient_id is not None:
                told["patient"] = record.patient_id
        return told

    def _of_grant(self, grant: Grant) -> dict[str, Any]:
        """SMART 2.2, Token Introspection: the launch context, and who the user is."""
        told: dict[str, Any] = {"sub": grant.user.principal.id, "scope": grant.scopes.text}
        told |= grant.told_context(self.server.style_url)
        if grant.user.fhir_user is not None and "fhirUser" in grant.scopes.others:
            told["fhirUser"] = f"{self.server.public_base}/fhir/{grant.user.fhir_user}"
        return told


class Revocation(_TokenQueries, RevocationEndpoint):
    """RFC 7009: a client ends its own tokens; what is no token in use is answered 200 all the same."""

    CLIENT_AUTH_METHODS = METHODS_OF_REVOCATION

    def revoke_token(self, token: BoundToken, request: "FormRequest") -> None:  # noqa: ARG002  Authlib's signature
        server, record = self.server, token.record
        if token.grant is not None:
            server.revoked += end_grant(server.unit, server.connection, token.grant.id, "revoke")
        elif record is not None:
            server.connection.execute(revocation(record.token_hash, server.unit.now_us))
            server.revoked.append(record.token_hash)
            hashed = record.token_hash[:12]
            server.unit.audit(AuditEntry(record.principal, Action.UPDATE, "revoke", "token", hashed))
