"""Bearer authentication before every door (RFC 6750, RFC 9728): a token becomes the `Access` of the request.

Rule: this file decides who asks, never what they may do; that is `Access.reach`, where the query is built.
A request under a protected prefix without an acceptable token goes no further. Refusals are audited, repeated
ones as counts, and in the words of the door that was knocked at (`answer`).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote_to_bytes

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.auth.terminology import VISITOR, is_of_terminology
from server.auth.tokens import AccessTokens
from server.kernel.access import ACCESS_KEY, FAILED_KEY, REFRESH_KEY, Access, Principal
from server.kernel.audit import Action, AuditEntry, Outcome
from server.kernel.faults import Fault, Forbidden, Unauthenticated
from server.kernel.read_audit import ReadAudit

Answer = Callable[[Scope, Fault], ASGIApp]  # the response of a fault, in the format of the door

PROTECTED = ("/fhir", "/dicom-web", "/admin/api", "/auth/userinfo")
OPEN = ("/fhir/metadata", "/fhir/.well-known")  # below a protected prefix, yet for everyone

ANONYMOUS = Principal("anonymous", "anonymous")
_BEARER = re.compile(r"bearer +([A-Za-z0-9\-._~+/]{1,512}=*) *", re.IGNORECASE)  # RFC 6750 §2.1, b64token


class MissingToken(Unauthenticated):
    """The request has no bearer token (RFC 6750 §3: the challenge then carries no error code)."""


class InvalidToken(Unauthenticated):
    """The token is malformed, unknown, expired or revoked (RFC 6750 §3.1, invalid_token)."""


class AmbiguousToken(Fault):
    """The token came in a way that is not accepted (RFC 6750 §3.1, invalid_request)."""


@dataclass(frozen=True, slots=True)
class Door:
    """What the middleware needs to know of the server."""

    tokens: AccessTokens
    read_audit: ReadAudit
    answer: Answer
    public_base: str  # without a final slash
    anonymous: Access | None = None  # what a request without token may do (`--no-auth`); None: nothing
    terminology_is_open: bool = False  # whether it may read definitions and ask the terminology service


class Authentication:
    """Pure ASGI middleware; puts `ACCESS_KEY` into the scope."""

    def __init__(self, app: ASGIApp, door: Door) -> None:
        self._app = app
        self._door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, if its token allows."""
        prefix = protected_prefix(scope["path"]) if scope["type"] in ("http", "websocket") else None
        if prefix is None:
            await self._app(scope, receive, send)
            return
        try:
            scope[ACCESS_KEY] = await self._authenticate(scope)
            scope[REFRESH_KEY] = partial(self._authenticate, scope)
        except Fault as fault:
            await self._refuse(fault, prefix, scope, receive, send)
            return
        await self._serve(prefix, scope, receive, send)

    async def _authenticate(self, scope: Scope) -> Access:
        token = bearer_token(scope)
        if token is None:
            if self._door.anonymous is not None:
                return await self._door.tokens.anonymous(self._door.anonymous)
            if self._door.terminology_is_open and is_of_terminology(scope):
                return VISITOR
            raise MissingToken("A bearer token is required.")
        access = await self._door.tokens.access_of(token)
        if access is None:
            raise InvalidToken("The bearer token is not valid, or no longer.")
        return access

    async def _refuse(self, fault: Fault, prefix: str, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(fault, InvalidToken | AmbiguousToken):
            scope[FAILED_KEY] = isinstance(fault, InvalidToken)
            fault = await self._audited(fault, _denial(ANONYMOUS, prefix))
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": "unauthenticated"})
            return
        challenge = self._challenge(fault, prefix)
        await self._door.answer(scope, fault)(scope, receive, _with_challenge(send, challenge))

    async def _serve(self, prefix: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the request in; a 403 that comes back is audited before it leaves."""
        replaced = False  # the 403 could not be audited: the hindrance was answered in its place

        async def watch(message: Message) -> None:
            nonlocal replaced
            if message["type"] == "http.response.start" and message["status"] == HTTPStatus.FORBIDDEN:
                denied = Forbidden("The token does not reach this far.")
                outcome = await self._audited(denied, _denial(scope[ACCESS_KEY].principal, prefix))
                replaced = outcome is not denied
                if replaced:
                    await self._door.answer(scope, outcome)(scope, receive, send)
                challenge = self._challenge_text(prefix, "insufficient_scope")
                message = _replacing(message, challenge)
            if not replaced:
                await send(message)

        try:
            await self._app(scope, receive, watch)
        except Forbidden as denied:  # no handler inside put it into words
            await self._door.answer(scope, denied)(scope, receive, watch)

    async def _audited(self, fault: Fault, entry: AuditEntry) -> Fault:
        """Audit a refusal; what cannot be audited is answered as what hindered it."""
        try:
            await self._door.read_audit.record_retrieval(entry)
        except Fault as hindrance:
            return hindrance
        return fault

    def _challenge(self, fault: Fault, prefix: str) -> tuple[bytes, bytes] | None:
        for kind, error in _ERROR_OF.items():
            if isinstance(fault, kind):
                return self._challenge_text(prefix, error)
        return None

    def _challenge_text(self, prefix: str, error: str | None) -> tuple[bytes, bytes]:
        parts = [
            'realm="isthmus"',
            f'resource_metadata="{resource_metadata_url(self._door.public_base, prefix)}"',
        ]
        if error is not None:
            parts.append(f'error="{error}"')
        return b"www-authenticate", f"Bearer {', '.join(parts)}".encode("latin-1")


_ERROR_OF: dict[type[Fault], str | None] = {  # RFC 6750 §3.1
    MissingToken: None,
    InvalidToken: "invalid_token",
    AmbiguousToken: "invalid_request",
}


def protected_prefix(path: str) -> str | None:
    """The protected prefix that a path lies under; None: the path is for everyone."""
    if any(_is_under(path, open_path) for open_path in OPEN):
        return None
    return next((prefix for prefix in PROTECTED if _is_under(path, prefix)), None)


def bearer_token(scope: Scope) -> str | None:
    """The bearer token of a request; None: it has none.

    Raises:
        AmbiguousToken: it came in the query string, or more than once.
        InvalidToken: the Authorization header is of another scheme, or malformed.
    """
    if _has_token_in_query(scope.get("query_string", b"")):
        raise AmbiguousToken("A token is accepted in the Authorization header only, never in the URL.")
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    if len(values) > 1:
        raise AmbiguousToken("The Authorization header came more than once.")
    if not values:
        return None
    match = _BEARER.fullmatch(values[0].decode("latin-1"))
    if match is None:
        raise InvalidToken("The Authorization header holds no bearer token.")
    return match.group(1)


def resource_metadata_url(public_base: str, prefix: str) -> str:
    """Where the metadata of a protected resource is (RFC 9728 §3.1)."""
    return f"{public_base}/.well-known/oauth-protected-resource{prefix}"


def _has_token_in_query(query: bytes) -> bool:
    if b"access_token" not in unquote_to_bytes(query):
        return False
    fields = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return any(name == "access_token" for name, _ in fields)


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _denial(principal: Principal, prefix: str) -> AuditEntry:
    return AuditEntry(principal, Action.EXECUTE, "denied", "door", prefix, outcome=Outcome.MINOR_FAILURE)


def _with_challenge(send: Send, challenge: tuple[bytes, bytes] | None) -> Send:
    async def challenged(message: Message) -> None:
        if challenge is not None and message["type"] == "http.response.start":
            message = _replacing(message, challenge)
        await send(message)

    return challenged


def _replacing(message: Message, challenge: tuple[bytes, bytes]) -> Message:
    """The message with this challenge in place of the door's own, which knows less."""
    kept = [header for header in message.get("headers", ()) if header[0].lower() != challenge[0]]
    return {**message, "headers": [*kept, challenge]}
