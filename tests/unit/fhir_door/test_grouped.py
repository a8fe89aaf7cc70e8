"""Writes that wait at the same time share a transaction, and nothing else."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from sqlalchemy import select, text

from fhir.interactions.grouped import GroupedWrites
from fhir.interactions.write import Written
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import Database, UnitOfWork
from server.kernel.faults import Busy, Fault, NotFound
from server.kernel.request import ServedRequest, set_request
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow, OutboxEvent

SOMEBODY = Principal("client:a", "A")


@dataclass
class Announce:
    """A write that emits its name; `before` and `after` it fail with what they hold."""

    name: str
    locks: Sequence[str] = ()
    unresolved: Fault | None = None
    before: Exception | None = None
    after: Exception | None = None
    breaks: bool = False
    units: list[int] = field(default_factory=list)

    async def resolve(self, _unit: UnitOfWork) -> Sequence[str]:
        if self.unresolved:
            raise self.unresolved
        return []

    async def perform(self, unit: UnitOfWork) -> Written:
        self.units.append(unit.now_us)
        if self.before:
            raise self.before
        unit.emit("said", self.name)
        unit.audit(AuditEntry(SOMEBODY, Action.CREATE, "create", "Patient", self.name))
        if self.breaks:
            await unit.execute(text("INSERT INTO outbox_event (subject) VALUES (NULL)"))
        if self.after:
            raise self.after
        return Written(self.name, 1, True, unit.now_us, b"")


async def said(database: Database) -> list[str]:
    async with database.read() as connection:
        return sorted((await connection.execute(select(table_of(OutboxEvent).c.subject))).scalars())


async def carry_out(database: Database, *writes: Announce) -> list[object]:
    """All at the same time: the id that each wrote, or what it failed with."""
    grouped = GroupedWrites(database)
    outcomes = await asyncio.gather(*map(grouped.carry_out, writes), return_exceptions=True)
    return [outcome.id if isinstance(outcome, Written) else type(outcome) for outcome in outcomes]


async def test_writes_that_wait_share_a_transaction(database: Database) -> None:
    writes = [Announce(str(number)) for number in range(5)]
    assert await carry_out(database, *writes) == ["0", "1", "2", "3", "4"]
    assert len({unit for each in writes for unit in each.units}) == 1
    assert await said(database) == ["0", "1", "2", "3", "4"]


async def test_writes_of_one_name_come_one_after_the_other(database: Database) -> None:
    writes = [Announce(str(number), locks=["same"]) for number in range(3)]
    assert await carry_out(database, *writes) == ["0", "1", "2"]
    assert len({unit for each in writes for unit in each.units}) == 3


@pytest.mark.parametrize(
    "refused",
    [
        pytest.param(Announce("refused", unresolved=NotFound()), id="by its condition"),
        pytest.param(Announce("refused", before=NotFound()), id="before it wrote"),
        pytest.param(Announce("refused", after=NotFound()), id="after it wrote"),
    ],
)
async def test_one_that_is_refused_takes_nobody_along(database: Database, refused: Announce) -> None:
    assert await carry_out(database, Announce("1"), refused, Announce("2")) == ["1", NotFound, "2"]
    assert await said(database) == ["1", "2"]


async def test_one_that_breaks_the_transaction_fails_alone(database: Database) -> None:
    outcomes = await carry_out(database, Announce("1"), Announce("broken", breaks=True), Announce("2"))
    assert outcomes[0::2] == ["1", "2"]
    assert outcomes[1] != "broken"
    assert await said(database) == ["1", "2"]


async def test_when_the_database_is_busy_all_are_told(database: Database) -> None:
    outcomes = await carry_out(database, Announce("1"), Announce("busy", before=Busy()), Announce("2"))
    assert outcomes == [Busy, Busy, Busy]
    assert await said(database) == []


async def test_audit_names_the_request_of_each(database: Database) -> None:
    grouped = GroupedWrites(database)

    async def request(name: str) -> None:
        set_request(ServedRequest(f"request {name}"))
        await grouped.carry_out(Announce(name))

    await asyncio.gather(*(request(str(number)) for number in range(4)))
    columns = table_of(AuditRow).c
    async with database.read() as connection:
        rows = (await connection.execute(select(columns.resource_id, columns.request_id))).all()
    assert {tuple(row) for row in rows} == {(str(number), f"request {number}") for number in range(4)}
