"""Redirect URIs: where the answer to an app may go (RFC 9700 §2.1, RFC 8252 §7)."""

import re
from urllib.parse import urlsplit

from server.kernel.faults import Fault

MAX_REDIRECT = 2000  # characters
_PRIVATE_SCHEME = re.compile(
    r"[a-z][a-z0-9+\-]*(?:\.[a-z0-9+\-]+)+"
)  # RFC 8252 §7.1: a domain name, reversed
_LOOPBACK = frozenset({"127.0.0.1", "::1"})
_ON_LOOPBACK = re.compile(
    r"http://(?P<host>127\.0\.0\.1|\[::1\])(?::[0-9]{1,5})?(?P<rest>(?:[/?][\x21-\x22\x24-\x7e]*)?)"
)


class InvalidRedirect(Fault):
    """No answer may go there."""


def is_same_uri(registered: str, given: str) -> bool:
    """Whether an answer may go to a redirect URI (RFC 9700 §2.1): character by character.

    Only the port of a loopback address is free: a native app gets another one each time (RFC 8252 §7.3).
    """
    if registered == given:
        return True
    one, other = _ON_LOOPBACK.fullmatch(registered), _ON_LOOPBACK.fullmatch(given)
    return one is not None and other is not None and one.groups() == other.groups()


def require_redirect_uri(uri: str) -> None:
    """Let pass a URI that an app may register.

    Raises:
        InvalidRedirect: it is none that an answer could safely go to.
    """
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise InvalidRedirect("A redirect URI cannot be read.") from None
    is_text = uri.isascii() and uri.isprintable() and " " not in uri and "\\" not in uri
    if not is_text or len(uri) > MAX_REDIRECT or "#" in uri or "*" in uri or "@" in parts.netloc:
        raise InvalidRedirect("A redirect URI is absolute, without fragment, user, wildcard or spaces.")
    is_web = parts.scheme == "https" and bool(host)
    is_local = parts.scheme == "http" and host in (*_LOOPBACK, "localhost")
    is_native = _PRIVATE_SCHEME.fullmatch(parts.scheme) is not None and bool(parts.path)
    if not (is_web or is_local or is_native):
        raise InvalidRedirect(
            "A redirect URI is https, http to this machine, or of a private scheme (com.example.app:/back)."
        )
