"""The userinfo endpoint (OpenID Connect Core §5.3)."""

from typing import Any

from server.auth.grants.grant import find_grant
from server.auth.scopes import parse_scopes
from server.auth.token_endpoint import Issuer
from server.auth.users.claims import identity
from server.kernel.access import Access
from server.kernel.clock import now_us
from server.kernel.faults import Forbidden


async def claims_of(issuer: Issuer, access: Access) -> dict[str, Any]:
    """What the bearer of a token may know of its user.

    Raises:
        Forbidden: no user stands behind it, or `openid` was not granted.
    """
    origin = access.origin
    if origin is None or origin.grant_id is None:
        raise Forbidden("No user stands behind this token.")
    grant_id = origin.grant_id
    async with issuer.database.read() as connection:
        grant = await connection.run_sync(lambda c: find_grant(c, grant_id, now_us()))
    scopes = parse_scopes(origin.scope).others  # of this token, which may be fewer than the grant's
    if grant is None or "openid" not in scopes:
        raise Forbidden("The token does not have the scope openid.")
    return identity(grant.user, scopes, issuer.public_base)
