"""Whether the authority of something that goes on still stands, and what it opens by now.

A Subscription acts for who asked for it, long after the token of that request has expired. What a client may
do is the client's: it stands as long as the client is in use, and reaches no further than the client's scope
does by now. What a user allowed stands as long as the grant does, too. A token that an administrator
issued stands for itself: when it ends, its authority does.
"""

from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from server.auth.clients import select_client
from server.auth.denials import Caller, bounded_by_denials
from server.auth.scopes import InvalidScope, Scopes, access_from, intersect, parse_scopes
from server.auth.tokens import bounded_by_role, select_role, select_token
from server.auth.users.roles import Role
from server.kernel.access import Access, Origin, Principal
from server.kernel.clock import now_us
from server.kernel.patient_merge import patients_opened_by


async def access_by(connection: AsyncConnection, origin: Origin, principal: Principal) -> Access | None:
    """What the bearer of a token, which may have expired, may do by now; None: nothing any more."""
    user = None
    if origin.grant_id is not None:
        user = (await connection.execute(select_role(origin.grant_id, now_us()))).one_or_none()
        if user is None or (f"user:{user.name}", user.client_id) != (principal.id, origin.client_id):
            return None
    client = None
    if origin.client_id is not None:
        client = (await connection.execute(select_client(origin.client_id))).first()
    scopes = await _scopes(connection, origin, client)
    if scopes is None or not scopes.resources:
        return None
    patient_ids = None
    if origin.patient_id is not None:
        patient_ids = await patients_opened_by(connection, origin.patient_id)
    access = replace(access_from(principal, scopes, patient_ids), origin=origin)
    if user is not None:
        access = bounded_by_role(access, Role(user.role))
    represents = None if client is None or user is not None else client.represents
    caller = Caller(None if user is None else user.fhir_user, represents)  # what is sent is disclosed
    return await bounded_by_denials(connection, access, caller, now_us())


async def _scopes(connection: AsyncConnection, origin: Origin, client: Any) -> Scopes | None:
    granted = parse_scopes(origin.scope)
    if origin.client_id is None:
        stands = (await connection.execute(select_token(origin.token_hash, now_us()))).first()
        return granted if stands is not None else None
    try:
        return intersect(granted, parse_scopes(client.scope)) if client is not None else None
    except InvalidScope:
        return None
