"""Reading the outbox: every committed event once per reader, in order.

A reader's effects and its cursor are written in one transaction, so an event is handled once even when the
process dies in between.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.tables import OutboxCursor, OutboxEvent

_EVENT = table_of(OutboxEvent)
_CURSOR = table_of(OutboxCursor)

BATCH = 500  # events handled in one transaction


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the outbox; `payload` is JSON text."""

    sequence: int
    kind: str
    subject: str
    payload: str
    occurred_us: int


Handler = Callable[[UnitOfWork, Sequence[Event]], Awaitable[None]]


async def consume(database: Database, reader: str, kinds: Sequence[str], handle: Handler) -> int:
    """Hand the next batch of events of these kinds to `handle`; returns how many there were.

    `handle` runs in the transaction that moves the cursor.
    """
    async with database.read() as connection:
        waiting = await connection.execute(_after(await _cursor(connection, reader), kinds).limit(1))
        if waiting.first() is None:
            return 0

    async def work(unit: UnitOfWork) -> int:
        await unit.lock([f"outbox:{reader}"])
        cursor = await _cursor(unit.connection, reader)
        rows = (await unit.execute(_after(cursor, kinds).limit(BATCH))).all()
        events = [Event(**row._mapping) for row in rows]
        if events:
            await handle(unit, events)
            await _advance(unit, reader, events[-1].sequence)
        return len(events)

    return await database.transact(work)


def _after(sequence: int, kinds: Sequence[str]) -> Select[Any]:
    c = _EVENT.c
    return (
        select(c.sequence, c.kind, c.subject, c.payload, c.occurred_us)
        .where(c.sequence > sequence, c.kind.in_(kinds))
        .order_by(c.sequence)
    )


async def _cursor(connection: AsyncConnection, reader: str) -> int:
    query = select(_CURSOR.c.sequence).where(_CURSOR.c.reader == reader)
    return (await connection.execute(query)).scalar_one_or_none() or 0


async def _advance(unit: UnitOfWork, reader: str, sequence: int) -> None:
    moved = await unit.execute(update(_CURSOR).where(_CURSOR.c.reader == reader).values(sequence=sequence))
    if moved.rowcount == 0:
        await unit.execute(insert(_CURSOR), [{"reader": reader, "sequence": sequence}])
