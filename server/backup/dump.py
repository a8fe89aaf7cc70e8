"""Rows into a repository: whole tables, as one snapshot shows them."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, RowMapping, Select, Table, func, literal, select, tuple_

from server.backup.manifest import TableDump
from server.backup.progress import Report
from server.backup.repository import Repository
from server.backup.rows import Cutter, Values
from server.backup.segments import keep_segment
from server.backup.tables import carried_tables
from server.kernel.job_rows import read_jobs
from server.kernel.key_positions import read_position
from server.kernel.rows import table_of
from server.kernel.snapshot import Snapshot
from server.kernel.tables import AuditRow, JobRow, OutboxCursor, OutboxEvent

_EVENT, _CURSOR = table_of(OutboxEvent), table_of(OutboxCursor)
_AUDIT, _JOB = table_of(AuditRow), table_of(JobRow)

ORDER: Mapping[str, Sequence[ColumnElement[Any]]] = {  # where it is not that of the primary key
    _AUDIT.name: (_AUDIT.c.recorded_us, _AUDIT.c.sequence),  # PostgreSQL's partitions have no other index
}


class Dump:
    """The tables of one backup as they are written."""

    def __init__(self, repository: Repository, report: Report) -> None:
        self._repository, self._report = repository, report
        self.new_bytes = 0
        self._rows = 0

    async def write_all(self, snapshot: Snapshot) -> tuple[TableDump, ...]:
        """Write every table that a backup carries."""
        return tuple([await self._write(snapshot, table) for table in carried_tables()])

    async def _write(self, snapshot: Snapshot, table: Table) -> TableDump:
        cutter, labels, count = Cutter(), list[str](), 0
        async for rows in rows_of(snapshot, table):
            complete = [segment for row in rows if (segment := cutter.add(row))]
            labels += [await self._keep(segment) for segment in complete]
            count += len(rows)
            self._rows += len(rows)
            self._report("rows", self._rows, None)
        if segment := cutter.end():
            labels.append(await self._keep(segment))
        key = table.autoincrement_column
        next_key = await read_position(snapshot.connection, table)
        return TableDump(
            str(table.name),
            tuple(map(str, table.columns.keys())),
            count,
            tuple(labels),
            str(key.name) if key is not None and next_key is not None else None,
            next_key,
        )

    async def _keep(self, segment: bytes) -> str:
        label, new_bytes = await asyncio.to_thread(keep_segment, self._repository, segment)
        self.new_bytes += new_bytes
        return label


async def rows_of(snapshot: Snapshot, table: Table) -> AsyncIterator[Sequence[Values]]:
    """The rows of a table in the one form that both databases' backups have."""
    in_order = ORDER.get(table.name, table.primary_key.columns.values())
    query: Select[Any] = select(table).order_by(*in_order)
    if snapshot.connection.dialect.name != "sqlite" and table is _EVENT:
        query = _events_in_reading_order()
    if snapshot.connection.dialect.name != "sqlite" and table is _CURSOR:
        yield await _positions_in_reading_order(snapshot)
        return
    if table is _JOB:
        async for rows in read_jobs(snapshot):
            yield rows
        return
    async for rows in snapshot.stream(query):
        yield rows


def _events_in_reading_order() -> Select[Any]:
    """The events of PostgreSQL numbered in the order in which they are read.

    There the writing transaction comes before the number (`server/kernel/outbox.py`), and another database
    has other transactions. So the first event read gets the lowest number, and none needs its transaction.
    """
    c = _EVENT.c
    rank = func.row_number().over(order_by=(c.xact, c.sequence)).label("rank")
    read = select(_EVENT, rank).subquery()
    place = func.row_number().over(order_by=c.sequence).label("rank")
    numbers = select(c.sequence, place).subquery()
    ours = {"sequence": numbers.c.sequence, "xact": literal(0).label("xact")}
    columns = [ours[name] if name in ours else read.c[name] for name in c.keys()]  # noqa: SIM118
    return select(*columns).join_from(read, numbers, read.c.rank == numbers.c.rank).order_by(read.c.rank)


async def _positions_in_reading_order(snapshot: Snapshot) -> list[Values]:
    """How far each reader has come, by those numbers."""
    names = _CURSOR.columns.keys()
    rows = (await snapshot.connection.execute(select(_CURSOR).order_by(_CURSOR.c.reader))).mappings().all()
    moved = [{**row, "sequence": await _number_at(snapshot, row), "xact": 0} for row in rows]
    return [[row[name] for name in names] for row in moved]


async def _number_at(snapshot: Snapshot, position: RowMapping) -> int:
    """The number of the last event that a reader at this position has read."""
    c, connection = _EVENT.c, snapshot.connection
    read = select(func.count()).where(
        tuple_(c.xact, c.sequence) <= tuple_(literal(position["xact"]), literal(position["sequence"]))
    )
    count = (await connection.execute(read.select_from(_EVENT))).scalar_one()
    last = select(c.sequence).order_by(c.sequence).offset(max(count - 1, 0)).limit(1)
    number = (await connection.execute(last)).scalar_one_or_none()
    if number is None:  # there are no events any more; those to come have higher numbers
        return int(position["sequence"])
    return int(number if count else number - 1)
