"""The chain of seals looked at without being asked: the newest part often, all of it once a day (DESIGN §8).

A step looks at a bounded number of seals. What it finds stays in a row, which metrics tell; only a later pass
over the same part that finds nothing takes it back. `isthmus audit verify` says the same to a person at once.
"""

from dataclasses import replace
from enum import Enum
from typing import Any

import structlog
from sqlalchemy import insert, select, update

from server.audit.tables import AuditCheck
from server.audit.verify import Part, verify_part
from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork
from server.kernel.envelope import Keyring
from server.kernel.metrics import Fact
from server.kernel.rows import table_of

NEWEST_S, WHOLE_S = 300, 24 * 3600  # between two looks
NEWEST_SEALS = 5  # of up to 1000 entries
WHOLE_SEALS = 20  # of one step

log = structlog.get_logger(__name__)

_CHECK = table_of(AuditCheck)


class Checked(Enum):
    """A part of the chain."""

    NEWEST = "newest"
    WHOLE = "whole"


async def check_newest(database: Database, keys: Keyring) -> int:
    """Look at the end of the chain, which only ever grows; returns 0: that was all."""
    known = await _position(database, Checked.NEWEST)
    part = await verify_part(database, keys, None, NEWEST_SEALS)
    if part.finding is None and part.last < known:
        part = replace(part, finding=f"There was a seal {known}, and the chain ends before it.")
    await _note(database, Checked.NEWEST, part, known if part.finding else part.last)
    return 0


async def check_whole(database: Database, keys: Keyring) -> int:
    """Look at the next seals of this pass; returns how many there may be to come, 0: it has ended."""
    part = await verify_part(database, keys, await _position(database, Checked.WHOLE), WHOLE_SEALS)
    await _note(database, Checked.WHOLE, part, 0 if part.ended else part.last)
    return 0 if part.ended else WHOLE_SEALS


async def audit_facts(database: Database) -> list[Fact]:
    """Whether each part is as it was sealed, and when it was last looked at."""
    async with database.read() as connection:
        rows = (await connection.execute(select(_CHECK.c.part, _CHECK.c.checked_us, _CHECK.c.finding))).all()
    damaged = [((row.part,), float(row.finding is not None)) for row in rows]
    checked = [((row.part,), row.checked_us / SECOND_US) for row in rows]
    return [
        Fact(
            "isthmus_audit_chain_damaged", "Whether the sealed audit trail was changed.", ("part",), damaged
        ),
        Fact(
            "isthmus_audit_chain_checked_timestamp_seconds",
            "When a part of the chain was last looked at to its end, Unix time; 0: never.",
            ("part",),
            checked,
        ),
    ]


async def _position(database: Database, which: Checked) -> int:
    query = select(_CHECK.c.position).where(_CHECK.c.part == which.value)
    async with database.read() as connection:
        return (await connection.execute(query)).scalar_one_or_none() or 0


async def _note(database: Database, which: Checked, part: Part, position: int) -> None:
    """Keep what came of a step."""
    if part.finding is not None:
        log.error("the audit trail is damaged", part=which.value, finding=part.finding)

    async def work(unit: UnitOfWork) -> None:
        values: dict[str, Any] = {"position": position}
        if part.ended:
            values |= {"checked_us": unit.now_us, "finding": part.finding}
        row = _CHECK.c.part == which.value
        if not (await unit.execute(update(_CHECK).where(row).values(values))).rowcount:
            await unit.execute(
                insert(_CHECK), [{"part": which.value, "checked_us": 0, "finding": None, **values}]
            )

    await database.transact(work)
