"""Reading the outbox: every committed event once per reader, in order.

The order is that of `Position`. SQLite commits one transaction after another, so its events are numbered in
the order in which they became visible. On PostgreSQL a transaction may commit after one that numbered its
events later; there an event is read only once every transaction that began writing before its own has ended
(`pg_snapshot_xmin`), and in the order of transactions: what commits late is late, and never skipped.

A reader's effects and its cursor are written in one transaction, so an event is handled once even when the
process dies in between.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    insert,
    literal,
    literal_column,
    select,
    tuple_,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database, UnitOfWork
from server.kernel.metrics import LONG_S, Fact, histogram
from server.kernel.rows import table_of
from server.kernel.tables import OutboxCursor, OutboxEvent

_EVENT = table_of(OutboxEvent)
_CURSOR = table_of(OutboxCursor)
_OLDEST_WRITER: ColumnElement[int] = literal_column("pg_snapshot_xmin(pg_current_snapshot())::text::bigint")

BATCH = 500  # events handled in one transaction

_DELAY = histogram(
    "isthmus_outbox_delay_seconds",
    "From an event to the commit of what a reader made of it.",
    ("reader",),
    LONG_S,
)
_readers: dict[str, tuple[str, ...]] = {}  # the readers of this process, and the kinds they read


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a reader is: everything up to here was read."""

    xact: int  # of the writing transaction; 0 on SQLite
    sequence: int


START = Position(0, 0)


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the outbox; `payload` is JSON text."""

    xact: int
    sequence: int
    kind: str
    subject: str
    payload: str
    occurred_us: int

    @property
    def position(self) -> Position:
        """Where a reader is after this event."""
        return Position(self.xact, self.sequence)


Handler = Callable[[UnitOfWork, Sequence[Event]], Awaitable[None]]


async def consume(database: Database, reader: str, kinds: Sequence[str], handle: Handler) -> int:
    """Hand the next batch of events of these kinds to `handle`; returns how many there were.

    `handle` runs in the transaction that moves the cursor.
    """
    _readers[reader] = tuple(kinds)
    async with database.read() as connection:
        if not await read_events(connection, await _cursor(connection, reader), kinds, 1):
            return 0

    async def work(unit: UnitOfWork) -> Sequence[Event]:
        await unit.lock([f"outbox:{reader}"])
        events = await read_events(unit.connection, await _cursor(unit.connection, reader), kinds)
        if events:
            await handle(unit, events)
            await _advance(unit, reader, events[-1].position)
        return events

    handled = await database.transact(work)
    for event in handled:
        _DELAY.labels(reader).observe(age_s(event))
    return len(handled)


PASS_BY_US = 60 * SECOND_US  # so old the oldest event is when a reader that wants none passes by them


async def pass_by(
    database: Database, reader: str, kinds: Sequence[str], wants: Callable[[UnitOfWork], Awaitable[bool]]
) -> None:
    """Move a reader that wants nothing now past what there is, now and then, so that it holds up no pruning.

    `wants` is asked in the transaction, after the end was read: what somebody comes to want at the same time
    lies behind it.
    """
    async with database.read() as connection:
        first = await read_events(connection, await _cursor(connection, reader), kinds, 1)
    if not first or first[0].occurred_us > now_us() - PASS_BY_US:
        return

    async def work(unit: UnitOfWork) -> None:
        await unit.lock([f"outbox:{reader}"])
        end = await read_end(unit.connection, kinds)
        if not await wants(unit):
            await _advance(unit, reader, max(end, await _cursor(unit.connection, reader)))

    await database.transact(work)


def age_s(event: Event) -> float:
    """Seconds since an event."""
    return max(0, now_us() - event.occurred_us) / SECOND_US


async def outbox_facts(database: Database) -> list[Fact]:
    """How long the oldest event has waited for each reader of this process; 0: none waits."""
    waits: list[tuple[tuple[str, ...], float]] = []
    async with database.read() as connection:
        for reader, kinds in _readers.items():
            first = await read_events(connection, await _cursor(connection, reader), kinds, 1)
            waits.append(((reader,), age_s(first[0]) if first else 0.0))
    text = "Age of the oldest event not handled."
    return [Fact("isthmus_outbox_waiting_seconds", text, ("reader",), waits)]


async def read_events(
    connection: AsyncConnection, after: Position, kinds: Sequence[str], limit: int = BATCH
) -> list[Event]:
    """The next events of these kinds, for a reader that keeps its position itself."""
    query = _select(connection, kinds).where(
        tuple_(_EVENT.c.xact, _EVENT.c.sequence)
        > tuple_(literal(after.xact, BigInteger), literal(after.sequence, BigInteger))
    )
    rows = await connection.execute(query.order_by(_EVENT.c.xact, _EVENT.c.sequence).limit(limit))
    return [Event(**row._mapping) for row in rows]


async def oldest_position(connection: AsyncConnection) -> Position | None:
    """Where the reader is that is furthest behind; None: there is no reader."""
    query = select(_CURSOR.c.xact, _CURSOR.c.sequence).order_by(_CURSOR.c.xact, _CURSOR.c.sequence).limit(1)
    row = (await connection.execute(query)).first()
    return Position(row.xact, row.sequence) if row is not None else None


async def read_end(connection: AsyncConnection, kinds: Sequence[str]) -> Position:
    """Where a reader begins that wants only what comes from now on."""
    newest = _select(connection, kinds).order_by(_EVENT.c.xact.desc(), _EVENT.c.sequence.desc()).limit(1)
    row = (await connection.execute(newest)).first()
    return Position(row.xact, row.sequence) if row is not None else START


def _select(connection: AsyncConnection, kinds: Sequence[str]) -> Select[Any]:
    c = _EVENT.c
    query = select(c.xact, c.sequence, c.kind, c.subject, c.payload, c.occurred_us).where(c.kind.in_(kinds))
    return query if connection.dialect.name == "sqlite" else query.where(c.xact < _OLDEST_WRITER)


async def _cursor(connection: AsyncConnection, reader: str) -> Position:
    query = select(_CURSOR.c.xact, _CURSOR.c.sequence).where(_CURSOR.c.reader == reader)
    row = (await connection.execute(query)).first()
    return Position(row.xact, row.sequence) if row is not None else START


async def _advance(unit: UnitOfWork, reader: str, position: Position) -> None:
    moved = {"xact": position.xact, "sequence": position.sequence}
    known = await unit.execute(update(_CURSOR).where(_CURSOR.c.reader == reader).values(moved))
    if known.rowcount == 0:
        await unit.execute(insert(_CURSOR), [{"reader": reader, **moved}])
