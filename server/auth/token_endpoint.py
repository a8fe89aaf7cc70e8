"""The token, introspection and revocation endpoints (RFC 6749, RFC 7662, RFC 7009; SMART 2.2).

Authlib's core is synchronous: it runs inside `run_sync` on the connection of one transaction, so a call is
wholly done or not at all, and a `TokenServer` lives for one call. What Authlib leaves open is closed here:
scopes are cut to the client's, every failed authentication sounds the same, two credentials are one too many.
"""

import base64
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    ClientMixin,
    InvalidClientError,
    InvalidRequestError,
    InvalidScopeError,
    OAuth2Error,
    OAuth2Payload,
    OAuth2Request,
)
from authlib.oauth2.rfc6749.grants import ClientCredentialsGrant
from sqlalchemy import Connection, insert

from server.auth.assertions import (
    AssertionRules,
    ClientAssertion,
    RefusedAssertion,
    burn_jti,
    drop_expired_jtis,
)
from server.auth.client_keys import ClientKeys
from server.auth.clients import RegisteredClient, select_client
from server.auth.grants.token_grants import CodeGrant, RefreshGrant
from server.auth.scopes import InvalidScope
from server.auth.signing import Sign, SigningKeys
from server.auth.tables import AccessToken
from server.auth.token_queries import METHODS, Introspection, Revocation
from server.auth.tokens import IssuedToken, TokenRequest, issued_entry, new_token
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.outbound_policy import OutboundPolicy
from server.kernel.rows import table_of

_TOKEN = table_of(AccessToken)

logging.getLogger("authlib").setLevel(logging.INFO)  # its grants log whole tokens at DEBUG

TOKEN_TTL_S = 300  # SMART 2.2 Backend Services: expires_in should not exceed five minutes
MAX_FIELDS = 50  # of a form
NOT_AUTHENTICATED = "The client could not be authenticated."  # one sentence for every cause: no oracle


@dataclass(frozen=True, slots=True)
class Form:
    """A form post as it came."""

    media_type: str  # without parameters, lower case
    body: bytes
    authorization: Sequence[str]  # the Authorization headers


@dataclass(slots=True)
class Reply:
    """What the endpoint says, for the route to send."""

    status: int
    body: Mapping[str, Any]
    headers: Sequence[tuple[str, str]]
    revoked: list[str] = field(default_factory=list)  # hashes of tokens that caches must forget

    @property
    def is_refused_client(self) -> bool:
        """Whether somebody failed to authenticate."""
        return self.body.get("error") == "invalid_client"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who answers at these endpoints."""

    database: Database
    public_base: str
    keys: SigningKeys
    style_url: str | None = None  # smart_style_url of a token response
    client_keys: ClientKeys = field(default_factory=lambda: ClientKeys(OutboundPolicy()))  # at a jwks_uri


@dataclass(frozen=True, slots=True)
class Beforehand:
    """What a call may need that is not had inside a transaction."""

    sign: Sign | None  # of id_tokens; None: there will be none
    key_sets: Mapping[str, str]  # JWK Sets by the `jwks_uri` they are published at


async def answer(issuer: Issuer, endpoint: str, form: Form) -> Reply:
    """Serve one call of an endpoint ("token", "introspection", "revocation") in one transaction."""
    try:
        request = FormRequest(f"{issuer.public_base}/auth/{endpoint}", form)
    except OAuth2Error as error:
        return Reply(*error())
    is_of_user = request.form.get("grant_type") == CodeGrant.GRANT_TYPE
    sign = await issuer.keys.signer() if is_of_user else None
    key_sets = await issuer.client_keys.of_request(issuer.database, request.form)  # before the transaction

    async def work(unit: UnitOfWork) -> Reply:
        return await unit.connection.run_sync(
            lambda c: TokenServer(unit, c, issuer, Beforehand(sign, key_sets)).serve(endpoint, request)
        )

    return await issuer.database.transact(work)


class FormPayload(OAuth2Payload):
    """The fields of the form."""

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = fields

    @property
    def data(self) -> dict[str, str]:
        return self._fields

    @property
    def datalist(self) -> dict[str, list[Any]]:
        return {name: [value] for name, value in self._fields.items()}


class FormRequest(OAuth2Request):
    """A form post as Authlib's core wants it.

    Raises:
        InvalidRequestError: it is not one form, repeats a field, or carries more than one credential.
    """

    def __init__(self, uri: str, form: Form) -> None:
        if len(form.authorization) > 1:
            raise InvalidRequestError(description="The Authorization header came more than once.")
        headers = {"Authorization": form.authorization[0]} if form.authorization else {}
        super().__init__("POST", uri, headers=headers)
        self._fields = read_form(form)
        self.payload = FormPayload(self._fields)
        credentials = [name for name in ("client_secret", "client_assertion") if name in self._fields]
        if len(credentials) + len(form.authorization) > 1:
            raise InvalidRequestError(description="The client must authenticate in one way only.")
        if form.authorization and not _is_basic(form.authorization[0]):
            raise InvalidClientError(description=NOT_AUTHENTICATED, status_code=401)

    @property
    def form(self) -> dict[str, str]:
        return self._fields


class TokenServer(AuthorizationServer):
    """Authlib's core for one call, in one transaction."""

    def __init__(
        self, unit: UnitOfWork, connection: Connection, issuer: Issuer, beforehand: Beforehand
    ) -> None:
        super().__init__()
        self.unit = unit
        self.connection = connection
        self.public_base = issuer.public_base
        self.style_url = issuer.style_url
        self.sign = beforehand.sign
        self._key_sets = beforehand.key_sets
        self.revoked: list[str] = []
        self._issued: IssuedToken | None = None
        rules = AssertionRules(f"{self.public_base}/auth/token", unit.now_us / SECOND_US, self._burn)
        self.register_client_auth_method(ClientAssertion.CLIENT_AUTH_METHOD, ClientAssertion(rules))
        for grant in (BackendServices, CodeGrant, RefreshGrant):
            self.register_grant(grant)
        for queries in (Introspection, Revocation):
            self.register_endpoint(queries)

    def serve(self, endpoint: str, request: FormRequest) -> Reply:
        """Answer one request."""
        if endpoint == "token":
            reply: Any = self.create_token_response(request)
        else:
            reply = self.create_endpoint_response(endpoint, request)  # type: ignore[no-untyped-call]  # untyped stub
        assert isinstance(reply, Reply)
        return reply

    def authenticate_client(
        self, request: OAuth2Request, methods: Collection[str], endpoint: str = "token"
    ) -> ClientMixin:
        """The client of a request, which names no other one beside its credentials (RFC 7521 §4.2)."""
        client = super().authenticate_client(request, methods, endpoint)
        assert isinstance(request, FormRequest)
        assert isinstance(client, RegisteredClient)
        if request.form.get("client_id", client.client_id) != client.client_id:
            raise InvalidRequestError(description="client_id is not that of the client.")
        return client

    def query_client(self, client_id: str) -> RegisteredClient | None:  # type: ignore[override]  # None is Authlib's "unknown"
        row = None if "\x00" in client_id else self.connection.execute(select_client(client_id)).one_or_none()
        if row is None:
            return None
        kept = dict(row._mapping)
        if row.jwks_uri is not None:
            kept["jwks"] = self._key_sets.get(row.jwks_uri)
        return RegisteredClient(kept)

    def issue(self, request: TokenRequest) -> str:
        """A new access token, kept and audited; returns its text."""
        issued = new_token(request, self.unit.now_us)
        self.connection.execute(insert(_TOKEN), [issued.row])
        self.unit.audit(issued_entry(issued))
        return issued.text

    def generate_token(  # noqa: PLR0913, PLR0917  Authlib's signature
        self,
        grant_type: str,  # noqa: ARG002
        client: RegisteredClient,  # type: ignore[override]  # the only kind of client there is
        user: object = None,  # noqa: ARG002
        scope: str | None = None,
        expires_in: int | None = None,
        include_refresh_token: bool = True,  # noqa: ARG002
    ) -> dict[str, str | int]:
        """A new token for the part of the scope that the client may have."""
        ttl_s = expires_in or TOKEN_TTL_S
        request = TokenRequest(client.principal_id, client.granted(scope), ttl_s, client.client_id)
        self._issued = new_token(request, self.unit.now_us)
        return {
            "access_token": self._issued.text,
            "token_type": "bearer",
            "expires_in": ttl_s,
            "scope": request.scopes.text,
        }

    def save_token(self, token: dict[str, str | int], request: OAuth2Request) -> None:  # noqa: ARG002  Authlib's signature
        assert self._issued is not None
        self.connection.execute(insert(_TOKEN), [self._issued.row])
        self.unit.audit(issued_entry(self._issued))

    def create_oauth2_request(self, request: FormRequest) -> OAuth2Request:
        return request

    def handle_response(self, status: int, body: Mapping[str, object], headers: Any) -> Reply:
        return Reply(status, body, list(headers), self.revoked)

    def handle_error_response(self, request: OAuth2Request, error: OAuth2Error) -> object:
        if isinstance(error, InvalidClientError) and not isinstance(error, RefusedAssertion):
            status = 401 if request.headers else 400  # RFC 6749 §5.2: 401 where the header was used
            error = InvalidClientError(description=NOT_AUTHENTICATED, status_code=status)
        return super().handle_error_response(request, error)

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens."""

    def _burn(self, issuer: str, jti: str, expires_us: int) -> bool:
        drop_expired_jtis(self.connection, self.unit.now_us)
        return burn_jti(self.connection, issuer, jti, expires_us)


class BackendServices(ClientCredentialsGrant):
    """Client credentials (RFC 6749 §4.4) as SMART Backend Services profiles them."""

    TOKEN_ENDPOINT_AUTH_METHODS = METHODS

    def validate_requested_scope(self) -> None:
        """Refuse a scope of which nothing can be granted."""
        try:
            self.client.granted(self.request.payload.scope if self.request.payload else None)
        except InvalidScope as fault:
            raise InvalidScopeError(description=str(fault)) from fault


def read_form(form: Form) -> dict[str, str]:
    """The fields of a form post (RFC 6749 Appendix B).

    Raises:
        InvalidRequestError: it is no form, has too many fields, or repeats one (RFC 6749 §3.2).
    """
    if form.media_type != "application/x-www-form-urlencoded":
        raise InvalidRequestError(description="The body must be application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(form.body.decode("ascii"), max_num_fields=MAX_FIELDS)
    except ValueError as error:
        raise InvalidRequestError(description="The form cannot be read.") from error
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise InvalidRequestError(description="A parameter came more than once.")
    return fields


def _is_basic(authorization: str) -> bool:
    """Whether the header holds readable Basic credentials (RFC 7617 §2); Authlib fails on others."""
    scheme, _, credentials = authorization.partition(" ")
    try:
        return scheme.lower() == "basic" and ":" in base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        return False
