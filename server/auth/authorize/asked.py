"""What an app asks at the authorization endpoint, judged (RFC 6749 §4.1.1, RFC 7636, SMART 2.2 App Launch).

Rule (RFC 6749 §4.1.2.1): what is wrong with the client or its redirect URI is told to the user and to nobody
else; everything else goes back to the app.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from server.auth.clients import RegisteredClient
from server.auth.grants.code import CHALLENGE, Bound
from server.auth.scopes import MAX_SCOPE_TEXT, InvalidScope, Scopes, intersect, parse_scopes
from server.kernel.faults import Fault

MAX_TEXT = 4096  # characters of state, nonce and a launch handle


class NotAnswerable(Fault):
    """The request cannot be answered to the app: it may not be the app's."""


class RefusedRequest(Fault):
    """The app is told what is wrong (RFC 6749 §4.1.2.1)."""

    def __init__(self, error: str, description: str) -> None:
        super().__init__(description)
        self.error = error


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that makes sense."""

    client_id: str
    scopes: Scopes  # as far as the client may have them
    bound: Bound
    state: str | None = None
    launch: str | None = None  # the handle of an EHR launch
    prompt: str | None = None  # OpenID Connect Core §3.1.2.1: none, login, consent
    max_age_s: int | None = None


def redirect_uri_of(client: RegisteredClient | None, fields: Mapping[str, Sequence[str]]) -> str:
    """Where the answer goes.

    Raises:
        NotAnswerable: the client is not known, or the URI is not one of its own.
    """
    if client is None:
        raise NotAnswerable("The app that sent you here is not registered.")
    given = fields.get("redirect_uri", ())
    if len(given) != 1 or not client.check_redirect_uri(given[0]):
        raise NotAnswerable("The app wants its answer at an address that is not registered for it.")
    return given[0]


def read_asked(
    client: RegisteredClient, fields: Mapping[str, Sequence[str]], audiences: frozenset[str]
) -> Asked:
    """The request, once it is known where its answer goes.

    Args:
        client: who asks.
        fields: the parameters, each as often as it came.
        audiences: what `aud` may be: the FHIR base (SMART 2.2).

    Raises:
        RefusedRequest: it makes no sense, or asks for what is not offered.
    """
    if repeated := sorted(name for name, values in fields.items() if len(values) > 1):
        raise RefusedRequest(
            "invalid_request", f"Parameters came more than once: {', '.join(repeated)[:200]}."
        )
    said = {name: values[0] for name, values in fields.items()}
    if any("\x00" in value for value in said.values()):
        raise RefusedRequest("invalid_request", "A parameter holds NUL.")
    _require_offered(client, said)
    scopes = _scopes(client, said.get("scope", ""))
    audience = said.get("aud", said.get("resource"))
    if not (audience is None and _only_identifies(scopes)) and (audience or "").rstrip("/") not in audiences:
        raise RefusedRequest("invalid_request", "aud must be the FHIR base URL of this server.")
    challenge = said.get("code_challenge", "")
    if said.get("code_challenge_method") != "S256" or not CHALLENGE.fullmatch(challenge):
        raise RefusedRequest(
            "invalid_request", "A code_challenge with code_challenge_method S256 is required."
        )
    if too_long := [name for name in ("state", "nonce", "launch") if len(said.get(name, "")) > MAX_TEXT]:
        raise RefusedRequest("invalid_request", f"{too_long[0]} is longer than {MAX_TEXT} characters.")
    return Asked(
        client.client_id,
        scopes,
        Bound(said["redirect_uri"], challenge, said.get("nonce")),
        said.get("state"),
        said.get("launch") or None,
        said.get("prompt"),
        _max_age(said.get("max_age")),
    )


def _require_offered(client: RegisteredClient, said: Mapping[str, str]) -> None:
    if said.get("response_type") != "code":
        raise RefusedRequest("unsupported_response_type", "response_type must be code.")
    if not client.check_response_type("code"):
        raise RefusedRequest("unauthorized_client", "The client is not registered for this grant.")
    if said.get("response_mode", "query") != "query":
        raise RefusedRequest("invalid_request", "response_mode must be query.")
    for name in ("request", "request_uri"):
        if name in said:
            raise RefusedRequest(f"{name}_not_supported", f"{name} is not supported.")
    if said.get("prompt", "login") not in ("none", "login", "consent", "login consent"):
        raise RefusedRequest("invalid_request", "prompt must be none, login or consent.")


def _scopes(client: RegisteredClient, text: str) -> Scopes:
    """What the client may have of the scopes; those that this server does not know count for nothing."""
    if len(text) > MAX_SCOPE_TEXT:
        raise RefusedRequest("invalid_scope", f"scope is longer than {MAX_SCOPE_TEXT} characters.")
    known = []
    for token in text.split():
        try:
            parse_scopes(token)
        except InvalidScope:
            continue
        known.append(token)
    try:
        scopes = intersect(parse_scopes(" ".join(known)), client.registered_scopes())
    except InvalidScope as fault:
        raise RefusedRequest("invalid_scope", str(fault)) from fault
    if not scopes:
        raise RefusedRequest("invalid_scope", "None of these scopes can be granted to this client.")
    return scopes


def _only_identifies(scopes: Scopes) -> bool:
    """Whether only who the user is, is asked for: of no FHIR base (OpenID Connect Core §3.1.2.1)."""
    return not scopes.resources and not any(each.startswith("launch") for each in scopes.others)


def _max_age(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise RefusedRequest("invalid_request", "max_age is a number of seconds.")
    return int(text)
