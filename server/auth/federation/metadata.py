"""What the provider says of itself (OpenID Connect Discovery 1.0 §3 and §4, RFC 8414). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from server.auth.published_keys import require_fetchable
from server.kernel.faults import Fault, FaultKind
from server.kernel.outbound_policy import DestinationRefused, OutboundPolicy

MAX_METADATA_BYTES = 64 << 10
_WELL_KNOWN = "/.well-known/openid-configuration"


class UnusableProvider(Fault):
    """The provider's document is not what it must be; the message says what, for the log."""

    kind = FaultKind.BUSY


@dataclass(frozen=True, slots=True)
class Metadata:
    """Its endpoints, and how it wants to be talked to."""

    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    end_session_endpoint: str | None  # None: it announces no logout
    names_itself: bool  # whether its answers carry `iss` (RFC 9207)
    secret_in_form: bool  # client_secret_post, else client_secret_basic


def discovery_url(issuer: str) -> str:
    """Where the document is (Discovery §4: a slash at the end of the issuer goes)."""
    return issuer.removesuffix("/") + _WELL_KNOWN


def read_metadata(document: bytes, issuer: str, policy: OutboundPolicy) -> Metadata:
    """The document, held to the issuer that was asked, character by character (Discovery §4.3).

    Raises:
        UnusableProvider: it is another issuer's, or names an endpoint that may not be used.
    """
    try:
        said = orjson.loads(document)
    except ValueError as error:
        raise UnusableProvider("the document is no JSON") from error
    if not isinstance(said, dict) or said.get("issuer") != issuer:
        raise UnusableProvider("the document is another issuer's")
    ends = said.get("end_session_endpoint")
    return Metadata(
        authorization_endpoint=_endpoint(said, "authorization_endpoint", policy),
        token_endpoint=_endpoint(said, "token_endpoint", policy),
        jwks_uri=_endpoint(said, "jwks_uri", policy),
        end_session_endpoint=None if ends is None else _endpoint(said, "end_session_endpoint", policy),
        names_itself=said.get("authorization_response_iss_parameter_supported") is True,
        secret_in_form=_secret_in_form(said),
    )


def _endpoint(said: Mapping[str, Any], name: str, policy: OutboundPolicy) -> str:
    """An endpoint that may be used: browsers, too, go to hosts of the settings only."""
    url = said.get(name)
    try:
        require_fetchable(url if isinstance(url, str) else "", policy)
    except DestinationRefused as refused:
        raise UnusableProvider(f"{name}: {refused}") from refused
    return str(url)


def _secret_in_form(said: Mapping[str, Any]) -> bool:
    """In the form where it may be: how Basic writes what is no letter or digit, peers do not agree on."""
    methods = said.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    for method in ("client_secret_post", "client_secret_basic"):
        if isinstance(methods, list) and method in methods:
            return method == "client_secret_post"
    raise UnusableProvider("the token endpoint takes no client secret")
