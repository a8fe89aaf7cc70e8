"""Which objects are to go from the store, noted in the transaction that makes them useless.

Whoever deletes or moves instances notes the objects they lay in: those that the deleting statement returns,
or that were read under the lock of the study, for packing may move an instance meanwhile. When a row is due,
the removal step packs away what still lives in the object, then removes it.
"""

from collections.abc import Iterable
from enum import Enum

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.tables import MaintenanceHold, ObjectRemoval

NAMES_PER_STATEMENT = 500  # rows of one insert

_REMOVAL, _HOLD = table_of(ObjectRemoval), table_of(MaintenanceHold)


class Reason(Enum):
    """Why an object is to go."""

    DELETED = "deleted"  # instances in it were deleted: their bytes must go
    PACKED = "packed"  # what lay in it lies elsewhere by now
    ORPHANED = "orphaned"  # nothing refers to it


async def note_removals(unit: UnitOfWork, names: Iterable[str], due_us: int, reason: Reason) -> None:
    """Have these objects removed at `due_us`; one that is to go earlier anyway keeps its earlier instant."""
    dialect = sqlite if unit.connection.dialect.name == "sqlite" else postgresql
    statement = dialect.insert(_REMOVAL)
    new = statement.excluded
    sooner = statement.on_conflict_do_update(
        index_elements=["object_name"],
        set_={"due_us": new.due_us, "reason": new.reason, "problem": None},
        where=_REMOVAL.c.due_us > new.due_us,
    )
    row = {"due_us": due_us, "noted_us": unit.now_us, "reason": reason.value}
    wanted = sorted(set(names))
    for start in range(0, len(wanted), NAMES_PER_STATEMENT):
        some = wanted[start : start + NAMES_PER_STATEMENT]
        await unit.execute(sooner, [row | {"object_name": name} for name in some])


async def is_removal_held(connection: AsyncConnection, now_us: int) -> bool:
    """Whether somebody, such as a backup under way, needs every object to stay for now."""
    held = select(_HOLD.c.name).where(_HOLD.c.until_us > now_us).limit(1)
    return (await connection.execute(held)).first() is not None
