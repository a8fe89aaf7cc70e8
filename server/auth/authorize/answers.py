"""Answers of the authorization endpoint: redirects to the app (RFC 6749 §4.1.2, RFC 9207)."""

from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from server.auth.authorize.asked import Asked, RefusedRequest


def code_url(issuer: str, asked: Asked, code: str) -> str:
    """Where the browser takes a code."""
    return _url(issuer, asked.bound.redirect_uri, asked.state, [("code", code)])


def refusal_url(issuer: str, redirect_uri: str, state: str | None, refused: RefusedRequest) -> str:
    """Where the browser takes a refusal."""
    said = [("error", refused.error), ("error_description", str(refused))]
    return _url(issuer, redirect_uri, state, said)


def _url(issuer: str, redirect_uri: str, state: str | None, said: Sequence[tuple[str, str]]) -> str:
    parts = urlsplit(redirect_uri)
    known = parse_qsl(parts.query, keep_blank_values=True)
    told = [("iss", issuer)] if state is None else [("state", state), ("iss", issuer)]
    return urlunsplit(parts._replace(query=urlencode([*known, *said, *told])))
