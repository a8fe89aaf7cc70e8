"""The external OpenID provider, as the settings name it. A value; `provider_link` talks to it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from server.auth.users.roles import Role
from server.kernel.outbound_policy import OutboundPolicy

CALLBACK = "/auth/federation/callback"


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What of the provider's claims counts here, beside `iss` and `sub`."""

    role_claim: tuple[str, ...] = ()  # the claim's name, and names within it; (): roles are ours to give
    roles: Mapping[str, Role] = field(default_factory=dict)  # the first value that somebody has, counts
    fhir_user_claim: str | None = None
    makes_accounts: bool = False  # whether a first login makes an account


@dataclass(frozen=True, slots=True)
class Provider:
    """Who it is, who we are there, and what we believe."""

    issuer: str
    client_id: str
    client_secret: str = field(repr=False)
    name: str  # for people: it stands on the button
    scopes: str
    outbound: OutboundPolicy  # where its endpoints may be
    rules: ClaimRules = field(default_factory=ClaimRules)
    local_passwords: bool = True  # whether others than administrators still log in by a password of ours
