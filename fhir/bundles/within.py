"""The door as a transaction sees it: reads of a Bundle see what its writes have done (http.html#trules)."""

from collections.abc import AsyncIterator, Callable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from fhir.interactions.door import Door
from server.kernel.audit import AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.look_up import LookUp, Values
from server.kernel.read_audit import ReadAudit


def within(unit: UnitOfWork, door: Door) -> Door:
    """A door that reads in this transaction, and audits in it."""
    database = _Within(unit, door.services.database)
    services = replace(door.services, database=database, read_audit=_AuditWithin(unit, database))
    return replace(door, services=services)


class _Within(Database):
    """Reading from one transaction."""

    def __init__(self, unit: UnitOfWork, database: Database) -> None:  # without connections of its own
        self._unit = unit
        self.is_sqlite = database.is_sqlite

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """The transaction's connection."""
        await self._unit.write()
        yield self._unit.connection

    async def look_up(self, look_up: LookUp, values: Values) -> Sequence[Any]:
        """The rows of a short SELECT."""
        return (await self._unit.execute(look_up.select, values)).all()

    def on_events(self, tell: Callable[[AbstractSet[str]], None]) -> None:
        """Tell nothing: who listens here is gone when the transaction has committed."""


class _AuditWithin(ReadAudit):
    """Audit of reads, durable with the transaction: its answer leaves after it."""

    def __init__(self, unit: UnitOfWork, database: Database) -> None:
        super().__init__(database)
        self._unit = unit

    async def record(self, entry: AuditEntry) -> None:
        """Write one entry with the transaction."""
        self._unit.audit(entry)

    async def record_retrieval(self, entry: AuditEntry) -> None:
        """The same."""
        self._unit.audit(entry)
