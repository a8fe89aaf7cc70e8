"""The claims of a user, in id_tokens and at the userinfo endpoint (OpenID Connect Core §5.1; SMART 2.2)."""

from collections.abc import Collection
from typing import Any

from server.auth.users.accounts import User


def identity(user: User, scopes: Collection[str], public_base: str) -> dict[str, Any]:
    """Who a user is, as far as these scopes tell."""
    claims = {"sub": user.principal.id}
    if user.fhir_user is not None and ("fhirUser" in scopes or "profile" in scopes):
        claims["fhirUser"] = f"{public_base}/fhir/{user.fhir_user}"
    if "profile" in scopes:
        claims["name"] = user.display
    return claims
