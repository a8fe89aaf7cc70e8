"""Who somebody is by the provider's word: name, role, fhirUser (OpenID Connect Core §5.1). Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.auth.federation.provider import ClaimRules
from server.auth.users.accounts import MAX_DISPLAY, is_person
from server.auth.users.roles import Role


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who has logged in at the provider; `issuer` and `subject` name them, nothing else does."""

    issuer: str
    subject: str
    display: str | None  # None: the provider tells none that we take
    role: Role | None  # None: none of theirs means one of ours
    fhir_user: str | None  # relative; None: it tells none that is here


def read_person(claims: Mapping[str, Any], rules: ClaimRules, fhir_base: str) -> Person:
    """What verified claims say."""
    return Person(
        issuer=claims["iss"],
        subject=claims["sub"],
        display=_display(claims),
        role=_role(claims, rules),
        fhir_user=_fhir_user(claims, rules, fhir_base),
    )


def _display(claims: Mapping[str, Any]) -> str | None:
    for name in ("name", "preferred_username"):
        text = claims.get(name)
        if isinstance(text, str) and text.strip() and text.isprintable():
            return text.strip()[:MAX_DISPLAY]
    return None


def _role(claims: Mapping[str, Any], rules: ClaimRules) -> Role | None:
    """The role of the first value in the settings that they have."""
    found: Any = claims if rules.role_claim else None
    for name in rules.role_claim:
        found = found.get(name) if isinstance(found, dict) else None
    held = found if isinstance(found, list) else [found]
    return next((role for value, role in rules.roles.items() if value in held), None)


def _fhir_user(claims: Mapping[str, Any], rules: ClaimRules, fhir_base: str) -> str | None:
    """A resource of this server, relative or with its base; what lies elsewhere is not theirs here."""
    text = claims.get(rules.fhir_user_claim) if rules.fhir_user_claim else None
    if not isinstance(text, str):
        return None
    relative = text.removeprefix(f"{fhir_base}/")
    return relative if is_person(relative) else None
