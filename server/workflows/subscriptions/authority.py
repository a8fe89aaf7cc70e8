"""What the authority behind a Subscription may do by now."""

from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.subscriptions.authority import AccessBy
from server.auth import standing
from server.auth.denials import Caller, bounded_by_denials
from server.kernel.access import Access, Origin, Principal, system_access
from server.kernel.services import Services


def authority_of(services: Services) -> AccessBy:
    """Asks the authorization server; who needed no token may do everything as long as nobody needs one."""

    async def access_by(
        connection: AsyncConnection, origin: Origin | None, principal: Principal
    ) -> Access | None:
        if origin is not None:
            return await standing.access_by(connection, origin, principal)
        if services.subscriptions.without_token:
            access = replace(system_access("anonymous"), principal=principal)
            return await bounded_by_denials(connection, access, Caller(), services.clock())
        return None

    return access_by
