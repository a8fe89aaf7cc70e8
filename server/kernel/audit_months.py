"""The audit trail in months, on PostgreSQL: an old month goes by dropping its partition, not row by row.

A partition is made before its month begins; rows of a month that has none lie in the default partition and
move when it is made. Months are UTC's. SQLite has one table.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import text

from server.kernel.clock import SECOND_US
from server.kernel.database import Database, UnitOfWork

AHEAD = 2  # months made before they begin
LOCK = "audit-months"
PATIENCE_S = 1  # for readers of the trail, before a month is dropped another time


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of the calendar, UTC."""

    year: int
    number: int

    @classmethod
    def of(cls, instant_us: int) -> "Month":
        """The month of an instant."""
        moment = datetime.fromtimestamp(instant_us / SECOND_US, UTC)
        return cls(moment.year, moment.month)

    @property
    def next(self) -> "Month":
        """The month after."""
        return Month(self.year + self.number // 12, self.number % 12 + 1)

    @property
    def begins_us(self) -> int:
        """Its first instant."""
        return int(datetime(self.year, self.number, 1, tzinfo=UTC).timestamp()) * SECOND_US

    @property
    def partition(self) -> str:
        """The name of its table."""
        return f"audit_entry_{self.year:04}_{self.number:02}"


async def make_audit_months(database: Database) -> int:
    """Make the partitions of this month and the next ones; returns how many were missing."""
    if database.is_sqlite:
        return 0
    return await database.transact(_make_missing)


async def drop_audit_months(unit: UnitOfWork, before_us: int) -> list[Month]:
    """Drop the months that end by `before_us`, with all that was audited in them; returns which."""
    await unit.lock([LOCK])
    ended = [month for month in await _made(unit) if month.next.begins_us <= before_us]
    # Who audits queues up behind this; a backup that reads the trail makes it Busy, and a later try succeeds.
    await unit.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE_S}s'"))
    for month in ended:
        await unit.execute(text(f"DROP TABLE {month.partition}"))
    return ended


async def delete_outside_months(unit: UnitOfWork, before_us: int, limit: int) -> Sequence[int]:
    """Delete the oldest entries that lie in no month, from before there were any; returns their times."""
    statement = text(
        "DELETE FROM audit_entry_default WHERE sequence IN (SELECT sequence FROM audit_entry_default"
        " WHERE recorded_us < :before ORDER BY recorded_us LIMIT :limit) RETURNING recorded_us"
    )
    return (await unit.execute(statement, {"before": before_us, "limit": limit})).scalars().all()


async def _make_missing(unit: UnitOfWork) -> int:
    await unit.lock([LOCK])
    made = await _made(unit)
    missing = [month for month in _wanted(unit.now_us) if month not in made]
    for month in missing:
        await _make(unit, month)
    return len(missing)


def _wanted(now_us: int) -> Iterator[Month]:
    month = Month.of(now_us)
    for _ in range(1 + AHEAD):
        yield month
        month = month.next


async def _made(unit: UnitOfWork) -> set[Month]:
    names = text("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'audit_entry'::regclass")
    partitions = (await unit.execute(names)).scalars()
    parts = [
        name.removeprefix("audit_entry_").split("_") for name in partitions if name != "audit_entry_default"
    ]
    return {Month(int(year), int(number)) for year, number in parts}


async def _make(unit: UnitOfWork, month: Month) -> None:
    """Make one month, with the rows of it that lie in the default partition."""
    await unit.execute(
        text("LOCK TABLE audit_entry_default IN SHARE ROW EXCLUSIVE MODE")
    )  # it gets no rows now
    low, high, name = month.begins_us, month.next.begins_us, month.partition
    await unit.execute(text(f"CREATE TABLE {name} (LIKE audit_entry INCLUDING DEFAULTS INCLUDING INDEXES)"))
    rows = f"recorded_us >= {low} AND recorded_us < {high}"
    moved = f"DELETE FROM audit_entry_default WHERE {rows} RETURNING *"  # noqa: S608  our own names and numbers
    await unit.execute(text(f"WITH moved AS ({moved}) INSERT INTO {name} SELECT * FROM moved"))  # noqa: S608
    values = f"FOR VALUES FROM ({low}) TO ({high})"
    await unit.execute(text(f"ALTER TABLE audit_entry ATTACH PARTITION {name} {values}"))
