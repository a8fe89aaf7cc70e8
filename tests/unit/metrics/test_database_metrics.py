"""The database's signals: what was committed, rolled back, read, refused, run again."""

import pytest
from sqlalchemy import text

from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Busy, NotFound
from server.kernel.metrics import REGISTRY
from server.kernel.read_audit import AuditUnavailable, ReadAudit


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Change:
    """How much a sample grew."""

    def __init__(self, name: str, **labels: str) -> None:
        self.name, self.labels, self.before = name, labels, value(name, **labels)

    def __call__(self) -> float:
        return value(self.name, **self.labels) - self.before


async def test_reads_commits_and_rollbacks_are_told_apart(database: Database) -> None:
    reads, commits, rollbacks = (
        Change("isthmus_database_seconds_count", use=use) for use in ("read", "commit", "rollback")
    )
    faults = Change("isthmus_database_faults_total", fault="busy")

    async def fail(unit: UnitOfWork) -> None:
        raise NotFound("nothing by that name")

    async def do(unit: UnitOfWork) -> None:
        await unit.execute(text("SELECT 1"))

    async with database.read() as connection:
        await connection.execute(text("SELECT 1"))
    await database.transact(do)
    with pytest.raises(NotFound):
        await database.transact(fail)
    assert (reads(), commits(), rollbacks(), faults()) == (1, 1, 1, 0)


async def test_connections_in_use_are_sampled(database: Database) -> None:
    async with database.read():
        database.report()
        assert value("isthmus_database_connections", pool="read", state="in_use") == 1
    database.report()
    assert value("isthmus_database_connections", pool="read", state="in_use") == 0
    assert value("isthmus_database_connections", pool="read", state="waiting") == 0


async def test_database_that_is_gone_is_counted() -> None:
    faults = Change("isthmus_database_faults_total", fault="busy")
    database = Database("postgresql+asyncpg://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Busy):
        async with database.read():
            pass
    database.report()
    assert value("isthmus_database_connections", pool="read", state="waiting") == 0
    await database.close()
    assert faults() == 1


class Refusing:
    """A database without room."""

    async def record(self, _entries: object) -> None:
        raise Busy("Later.")


async def test_audit_that_cannot_be_written_is_counted() -> None:
    entry = AuditEntry(Principal("user:1", "A"), Action.READ, "read", "Patient")
    failures = Change("isthmus_audit_failures_total")
    with pytest.raises(AuditUnavailable):
        await ReadAudit(Refusing()).record(entry)  # type: ignore[arg-type]
    assert failures() == 1
