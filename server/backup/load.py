"""Rows out of a repository into an empty database: all of them in one transaction."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import func, literal, select, table
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.tables import Instance, Series
from server.backup.faults import DamagedBackup, NotRestorable
from server.backup.manifest import Manifest, TableDump
from server.backup.progress import Report
from server.backup.refill import Places
from server.backup.repository import Repository
from server.backup.segments import read_segment
from server.kernel.bulk import copy_rows
from server.kernel.database import UnitOfWork
from server.kernel.job_rows import count_jobs, write_job_rows
from server.kernel.key_positions import set_positions
from server.kernel.object_store import is_our_name
from server.kernel.snapshot import take_its_time
from server.kernel.tables import JobRow
from terminology.releases.text_index import CONCEPT, index_all

Row = list[Any]
Change = Callable[[Row], None]


class Load:
    """Fills the tables of one database from one backup."""

    def __init__(self, repository: Repository, manifest: Manifest, places: Places, report: Report) -> None:
        self._repository, self._manifest, self._places = repository, manifest, places
        self._report = report
        self._rows = 0

    async def fill(self, unit: UnitOfWork) -> None:
        """Fill every table, then have the database go on numbering where it was.

        Raises:
            DamagedBackup: a segment is not what was written; nothing is restored.
        """
        self._rows = 0  # the transaction may be run again
        await take_its_time(unit.connection)
        for dump in self._manifest.tables:
            await self._fill_table(unit.connection, dump)
        if any(dump.name == CONCEPT.name for dump in self._manifest.tables):
            await index_all(unit.connection)
        await set_positions(
            unit.connection,
            {
                (dump.name, dump.key): dump.next_key
                for dump in self._manifest.tables
                if dump.key is not None and dump.next_key is not None
            },
        )

    async def _fill_table(self, connection: AsyncConnection, dump: TableDump) -> None:
        change = self._change(dump)
        for label in dump.segments:
            rows = await asyncio.to_thread(read_segment, self._repository, label)
            if change is not None:
                for row in rows:
                    change(row)
            if dump.name == JobRow.__tablename__:
                await write_job_rows(connection, dump.columns, rows)
            else:
                await copy_rows(connection, dump.name, dump.columns, rows)
            self._rows += len(rows)
            self._report("rows", self._rows, self._manifest.rows)
        found = await _count(connection, dump.name)
        if found != dump.rows:
            raise NotRestorable(f"Table {dump.name} has {found} rows now; the backup says {dump.rows}.")

    def _change(self, dump: TableDump) -> Change | None:
        """What is to be changed in the rows of a table; None: nothing."""
        at = {name: place for place, name in enumerate(dump.columns)}
        if dump.name == Instance.__tablename__:
            return lambda row: self._place(row, at)
        if dump.name == Series.__tablename__ and "pack_due_us" in at:
            return lambda row: row.__setitem__(
                at["pack_due_us"], 0
            )  # its instances lie in no pack of its own
        return None

    def _place(self, row: Row, at: Mapping[str, int]) -> None:
        """Where the bytes lie now; lost ones keep the name of an object that is not there."""
        stored = self._places.of(row[at["file_sha256"]])
        if stored is None and not is_our_name(row[at["object_name"]]):
            raise DamagedBackup("An instance names an object that no server of ours would make.")
        if stored is not None:
            names = ("object_name", "object_offset", "object_length")
            for name, value in zip(names, (stored.object_name, stored.offset, stored.length), strict=True):
                row[at[name]] = value


async def _count(connection: AsyncConnection, name: str) -> int:
    if name == JobRow.__tablename__:
        return await count_jobs(connection)
    return int((await connection.execute(select(func.count()).select_from(table(name)))).scalar_one())


async def require_no_rows(connection: AsyncConnection, tables: Sequence[str]) -> None:
    """Refuse a database with rows in one of these tables.

    Raises:
        NotRestorable: it has.
    """
    for name in tables:
        if (
            await connection.execute(select(literal(1)).select_from(table(name)).limit(1))
        ).first() is not None:
            raise NotRestorable(
                f"The database to restore to is not empty: table {name} has rows. Restore into a new one."
            )
