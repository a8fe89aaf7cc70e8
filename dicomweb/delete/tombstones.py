"""Tombstones: who deleted what, and why; storing it again is refused until one is released (DESIGN §5)."""

from collections.abc import Sequence

from sqlalchemy import RowMapping, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.delete.doomed import Doomed
from dicomweb.tables import Tombstone
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.rows import table_of

_TOMBSTONE = table_of(Tombstone)


async def bury(unit: UnitOfWork, doomed: Doomed, principal: Principal, reason: str) -> None:
    """Leave a tombstone of what is deleted: one row, which covers all below it."""
    row = {
        "uid": doomed.uid,
        "level": doomed.level.name.lower(),
        "study_instance_uid": doomed.study["study_instance_uid"],
        "instances": len(doomed.sop_instance_uids),
        "deleted_by": principal.id,
        "reason": reason,
        "deleted_us": unit.now_us,
    }
    await unit.execute(insert(_TOMBSTONE), [row])


async def release_tombstone(unit: UnitOfWork, uid: str, principal: Principal) -> None:
    """Let what was deleted under this UID be stored again; its deletion stays written.

    Raises:
        NotFound: nothing of that UID is deleted, or it is released already.
    """
    c = _TOMBSTONE.c
    standing = update(_TOMBSTONE).where(c.uid == uid, c.released_us.is_(None))
    released = await unit.execute(standing.values(released_us=unit.now_us, released_by=principal.id))
    if not released.rowcount:
        raise NotFound("No tombstone of that UID is in force.")
    unit.audit(AuditEntry(principal, Action.UPDATE, "release-tombstone", "ImagingStudy", uid))


async def list_tombstones(connection: AsyncConnection, after: int, limit: int) -> Sequence[RowMapping]:
    """Tombstones, released ones too, by their key."""
    query = select(_TOMBSTONE).where(_TOMBSTONE.c.id > after).order_by(_TOMBSTONE.c.id).limit(limit)
    return (await connection.execute(query)).mappings().all()
