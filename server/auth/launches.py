"""Launches that an EHR prepares: a handle that one client redeems once (SMART 2.2, EHR launch)."""

from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.auth.clients import RegisteredClient, select_client
from server.auth.grants.context import LaunchContext, read_context
from server.auth.tables import Launch
from server.auth.tokens import hash_secret
from server.auth.users.accounts import User
from server.kernel.access import Access, Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.rows import table_of
from server.kernel.uids import new_secret

_LAUNCH = table_of(Launch)

LAUNCH_US = 300 * SECOND_US


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a launch brings."""

    client_id: str
    user_id: int | None  # None: whoever logs in
    patient_id: str | None
    context: LaunchContext


@dataclass(frozen=True, slots=True)
class Redeemed:
    """A launch that was redeemed just now."""

    id: int
    prepared: Prepared


async def prepare_launch(database: Database, prepared: Prepared, by: Principal) -> str:
    """Keep a launch; returns its handle, for the `launch` parameter of the app's launch URL.

    Raises:
        NotFound: there is no such client in use.
    """
    handle = new_secret()

    async def work(unit: UnitOfWork) -> None:
        row = (await unit.execute(select_client(prepared.client_id))).one_or_none()
        if row is None or not RegisteredClient(dict(row._mapping)).check_grant_type("authorization_code"):
            raise NotFound("There is no such app.")
        kept = {
            "handle_hash": hash_secret(handle),
            "client_id": prepared.client_id,
            "user_id": prepared.user_id,
            "patient_id": prepared.patient_id,
            "context": prepared.context.to_json(),
            "expires_us": unit.now_us + LAUNCH_US,
        }
        await unit.execute(insert(_LAUNCH), [kept])
        patient = prepared.patient_id
        unit.audit(AuditEntry(by, Action.EXECUTE, "launch", "client", prepared.client_id, patient))

    await database.transact(work)
    return handle


async def require_launcher(database: Database, access: Access) -> Principal:
    """Who asks, if they may prepare launches: an EHR's client that was allowed to, or an administrator.

    Raises:
        Forbidden: it is neither.
    """
    origin = access.origin
    if origin is not None and origin.client_id is not None and origin.grant_id is None:
        async with database.read() as connection:
            row = (await connection.execute(select_client(origin.client_id))).one_or_none()
        if row is not None and row.may_launch:
            return access.principal
    access.require_administrator()
    return access.principal


async def redeem_launch(unit: UnitOfWork, handle: str, client_id: str) -> Redeemed | None:
    """Use a handle up, in the caller's transaction; None: it is not this client's, used, or too old."""
    fresh = (
        update(_LAUNCH)
        .where(_LAUNCH.c.handle_hash == hash_secret(handle), _LAUNCH.c.client_id == client_id)
        .where(_LAUNCH.c.used_us.is_(None), _LAUNCH.c.expires_us > unit.now_us)
        .values(used_us=unit.now_us)
        .returning(_LAUNCH.c.id)
    )
    launch_id = (await unit.execute(fresh)).scalar()
    return None if launch_id is None else await find_launch(unit.connection, launch_id)


async def find_launch(connection: AsyncConnection, launch_id: int) -> Redeemed:
    """A launch that was redeemed."""
    row = (await connection.execute(select(_LAUNCH).where(_LAUNCH.c.id == launch_id))).one()
    prepared = Prepared(row.client_id, row.user_id, row.patient_id, read_context(row.context))
    return Redeemed(row.id, prepared)


def may_use(prepared: Prepared, user: User) -> bool:
    """Whether a launch is for whoever has logged in."""
    return prepared.user_id is None or prepared.user_id == user.id
