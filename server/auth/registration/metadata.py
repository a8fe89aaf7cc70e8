"""What an app says of itself, judged (RFC 7591 §2, RFC 7592 §2.2). Pure.

Rule: what is not known counts for nothing, and is not in the answer, by which the app learns of it (§2).
Who registers by itself is an app that users allow: never `system/` scopes, never tokens without a user.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from server.auth.clients import SECRET_METHODS, InvalidClientMetadata, Wanted, write_jwks
from server.auth.redirects import InvalidRedirect
from server.auth.scopes import MAX_SCOPE_TEXT, InvalidScope, parse_scopes
from server.kernel.access import Context

METHODS = frozenset({"none", "private_key_jwt", *SECRET_METHODS})
NOT_SENT = frozenset(  # RFC 7592 §2.2: an update must not have them
    {
        "registration_access_token",
        "registration_client_uri",
        "client_secret_expires_at",
        "client_id_issued_at",
    }
)


class Metadata(msgspec.Struct, frozen=True):
    """The members of RFC 7591 §2 that mean something here."""

    redirect_uris: tuple[str, ...] = ()
    token_endpoint_auth_method: str = "client_secret_basic"  # noqa: S105  RFC 7591 §2's default
    grant_types: tuple[str, ...] = ("authorization_code",)
    response_types: tuple[str, ...] = ("code",)
    client_name: str | None = None
    scope: str = ""
    jwks: dict[str, Any] | None = None
    jwks_uri: str | None = None
    client_id: str | None = None  # of an update
    client_secret: str | None = None  # of an update


def read_metadata(body: bytes, *, is_update: bool = False) -> Metadata:
    """The metadata in a JSON object; a null is as if it were not there (RFC 7592 §2.2).

    Raises:
        InvalidClientMetadata: it is none, or a member is of another kind.
    """
    try:
        said = msgspec.json.decode(body, type=dict[str, Any])
        given = {name: value for name, value in said.items() if value is not None}
        metadata = msgspec.convert(given, Metadata)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error) if isinstance(error, msgspec.ValidationError) else "it is no JSON"
        raise InvalidClientMetadata(f"The metadata cannot be taken: {reason}.") from error
    if is_update and (wrong := sorted(NOT_SENT & said.keys())):
        raise InvalidClientMetadata(f"An update has no {wrong[0]}.")
    return metadata


def wanted_of(metadata: Metadata) -> Wanted:
    """The client that it asks for, as far as this server goes along.

    Raises:
        InvalidRedirect: there is no redirect URI.
        InvalidClientMetadata: it asks for what is not offered, or lacks what is needed.
    """
    method = metadata.token_endpoint_auth_method
    if method not in METHODS:
        raise InvalidClientMetadata(f"token_endpoint_auth_method is one of {', '.join(sorted(METHODS))}.")
    if "authorization_code" not in metadata.grant_types or "code" not in metadata.response_types:
        raise InvalidClientMetadata(
            "An app registers for the grant authorization_code, and the response code."
        )
    if not metadata.redirect_uris:
        raise InvalidRedirect("redirect_uris must have a redirect URI.")
    is_by_keys = method == "private_key_jwt"
    if is_by_keys and metadata.jwks is None and metadata.jwks_uri is None:
        raise InvalidClientMetadata("private_key_jwt needs jwks or jwks_uri.")
    return Wanted(
        metadata.client_name or _name_from(metadata.redirect_uris[0]),
        _scope(metadata.scope),
        write_jwks(metadata.jwks) if is_by_keys and metadata.jwks is not None else None,
        metadata.redirect_uris,
        is_confidential=method in SECRET_METHODS,
        secret_method=method if method in SECRET_METHODS else "client_secret_basic",
        jwks_uri=metadata.jwks_uri if is_by_keys else None,
    )


def _scope(text: str) -> str:
    """What an app may ever be allowed of a scope parameter."""
    if len(text) > MAX_SCOPE_TEXT:
        raise InvalidClientMetadata(f"scope is longer than {MAX_SCOPE_TEXT} characters.")
    known = []
    for token in text.split():
        try:
            scopes = parse_scopes(token)
        except InvalidScope:
            continue
        if not scopes.in_context(Context.SYSTEM):
            known.append(token)
    if not known:
        raise InvalidClientMetadata("scope must have one that users can allow an app.")
    return " ".join(known)


def _name_from(redirect_uri: str) -> str:
    """What the pages call an app without a name."""
    try:
        parts = urlsplit(redirect_uri)
    except ValueError:
        raise InvalidRedirect("A redirect URI cannot be read.") from None
    return parts.hostname or parts.scheme or "app"
