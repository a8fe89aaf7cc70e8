"""A login at the provider, from the button to the session (OpenID Connect Core §3.1, RFC 9700, RFC 9207).

What the provider's answers say in words is shown to nobody: it may be anybody who wrote it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

import structlog

from server.auth.assertions import LEEWAY_S, numeric_date
from server.auth.authorize.pending import NotPending, Pending
from server.auth.federation.back_channel import end_elsewhere
from server.auth.federation.claims import read_person
from server.auth.federation.id_tokens import Claims, Expected, RefusedToken, provider_session, verify_id_token
from server.auth.federation.logout_tokens import verify_logout_token
from server.auth.federation.metadata import Metadata
from server.auth.federation.people import NotLetIn, log_in_person, record_failure
from server.auth.federation.provider import CALLBACK, Provider
from server.auth.federation.provider_link import ProviderFailed, ProviderLink, Tokens
from server.auth.federation.state import challenge_of, new_state, nonce_of, use_state, verifier_of
from server.auth.users.sessions import LoginElsewhere
from server.kernel.clock import SECOND_US
from server.kernel.faults import Fault, FaultKind
from server.kernel.services import Services

MAX_CODE = 8192  # characters; Entra's have two thousand

log = structlog.get_logger(__name__)

Fields = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Offer:
    """The button on the login page."""

    name: str
    is_up: bool
    local_passwords: bool


class LoginFailed(Fault):
    """A login at the provider that came to nothing; the message is for its user."""

    kind = FaultKind.FORBIDDEN


class BrokenOff(LoginFailed):
    """The user did not log in."""


class NotReached(LoginFailed):
    """The provider is down."""

    kind = FaultKind.BUSY


class FederatedLogin:
    """Logins at the provider of one installation."""

    def __init__(self, services: Services, provider: Provider) -> None:
        self._database = services.database
        self._clock = services.clock
        self._base = services.public_base
        self._provider = provider
        self._link = ProviderLink(provider, services.clock)

    @property
    def name(self) -> str:
        """What people call the provider."""
        return self._provider.name

    @property
    def local_passwords(self) -> bool:
        """Whether others than administrators log in by a password of ours, too."""
        return self._provider.local_passwords

    async def offer(self) -> Offer:
        """What the login page says of it."""
        metadata = await self._metadata()
        return Offer(self.name, metadata is not None, self.local_passwords)

    async def begin(self, pending: Pending, handle: str, browser: str) -> str:
        """Where the browser goes to log in (§3.1.2.1).

        Raises:
            NotReached: it leads nowhere.
        """
        metadata = await self._metadata()
        if metadata is None:
            raise NotReached(f"{self._provider.name} cannot be reached. Try again later.")
        state = await new_state(self._database, pending, handle)
        asked = {
            "response_type": "code",
            "client_id": self._provider.client_id,
            "redirect_uri": f"{self._base}{CALLBACK}",
            "scope": self._provider.scopes,
            "state": state,
            "nonce": nonce_of(browser, state),
            "code_challenge": challenge_of(verifier_of(browser, state)),
            "code_challenge_method": "S256",
            **_freshness(pending),
        }
        return _with_query(metadata.authorization_endpoint, asked)

    async def finish(self, pending: Pending, said: Fields, browser: str) -> str:
        """Take the provider's answer; returns the text of the session's cookie.

        Raises:
            NotPending: no such login is under way with this browser, or it was answered before.
            LoginFailed: nobody is logged in.
        """
        state = said["state"][0]
        if not await use_state(self._database, pending, state):
            raise NotPending("This login is no longer under way. Go back to the app and begin again.")
        try:
            code = await self._code(said)
            claims = await self._claims(pending, code, state, browser)
            person = read_person(claims, self._provider.rules, f"{self._base}/fhir")
            elsewhere = LoginElsewhere(person.issuer, provider_session(claims), _authenticated_us(claims))
            return await log_in_person(self._database, person, self._provider.rules, elsewhere)
        except NotLetIn as fault:
            raise LoginFailed(str(fault)) from fault
        except (ProviderFailed, RefusedToken) as fault:
            log.warning("login at the OpenID provider failed", rule=type(fault).__name__, reason=str(fault))
            await record_failure(self._database)
            raise LoginFailed(f"{self._provider.name} could not log you in. Try again later.") from fault

    async def logout_url(self) -> str | None:
        """Where the user logs off at the provider, too (RP-Initiated Logout 1.0 §2); None: nowhere."""
        metadata = await self._metadata()
        if metadata is None or metadata.end_session_endpoint is None:
            return None
        back = {
            "client_id": self._provider.client_id,
            "post_logout_redirect_uri": f"{self._base}/auth/logout",
        }
        return _with_query(metadata.end_session_endpoint, back)

    async def end_elsewhere(self, logout_token: str) -> None:
        """End what the provider says has ended there (Back-Channel Logout 1.0 §2.6).

        Raises:
            RefusedToken: it is not the provider's word, or was used before.
            ProviderFailed: its keys cannot be had.
        """
        jwks = await self._link.keys_for(logout_token)
        now_s = self._clock() / SECOND_US
        ended = verify_logout_token(logout_token, jwks, self._provider, now_s)
        await end_elsewhere(self._database, self._provider.issuer, ended)

    async def _metadata(self) -> Metadata | None:
        try:
            return await self._link.metadata()
        except ProviderFailed:
            return None

    async def _code(self, said: Fields) -> str:
        """The code of an answer that is the provider's (RFC 9207 §2.4)."""
        metadata, issuers = await self._link.metadata(), said.get("iss", ())
        if any(len(values) > 1 for values in said.values()):
            raise RefusedToken("a parameter came twice")
        if (metadata.names_itself or issuers) and list(issuers) != [self._provider.issuer]:
            raise RefusedToken("iss of the answer")  # a mix-up
        if said.get("error", [""])[0] == "access_denied":
            raise BrokenOff(f"The login at {self._provider.name} was not completed.")
        code = said.get("code", [""])[0]
        if "error" in said or not 0 < len(code) <= MAX_CODE:
            raise ProviderFailed("its answer has no code")
        return code

    async def _claims(self, pending: Pending, code: str, state: str, browser: str) -> Claims:
        """What the provider says of the user, verified."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": f"{self._base}{CALLBACK}",
            "code_verifier": verifier_of(browser, state),
        }
        tokens: Tokens = await self._link.redeem(form)
        jwks = await self._link.keys_for(tokens.id_token)
        now_s = self._clock() / SECOND_US
        expected = Expected(
            issuer=self._provider.issuer,
            client_id=self._provider.client_id,
            nonce=nonce_of(browser, state),
            now_s=now_s,
            access_token=tokens.access_token,
            login_since_s=_login_since_s(pending, now_s),
        )
        return verify_id_token(tokens.id_token, jwks, expected)


def _freshness(pending: Pending) -> dict[str, str]:
    """What our app asks of the login, passed on; with `max_age` the id_token must have `auth_time`."""
    asked, passed = pending.asked, {}
    if asked.prompt is not None and "login" in asked.prompt:
        passed = {"prompt": "login", "max_age": "0"}
    if asked.max_age_s is not None:
        passed.setdefault("max_age", str(asked.max_age_s))
    return passed


def _login_since_s(pending: Pending, now_s: float) -> float | None:
    """The oldest login that does; one after our app asked is always new enough. None: any does."""
    asked, begun_s = pending.asked, pending.begun_us / SECOND_US - LEEWAY_S
    if asked.prompt is not None and "login" in asked.prompt:
        return begun_s
    return None if asked.max_age_s is None else min(begun_s, now_s - asked.max_age_s - LEEWAY_S)


def _authenticated_us(claims: Claims) -> int | None:
    logged_in = numeric_date(claims.get("auth_time"))
    return int(logged_in * SECOND_US) if logged_in >= 0 else None


def _with_query(url: str, query: Mapping[str, str]) -> str:
    return f"{url}{'&' if '?' in url else '?'}{urlencode(query)}"
