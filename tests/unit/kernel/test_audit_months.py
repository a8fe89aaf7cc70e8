"""The audit trail in months on PostgreSQL."""

import pytest
from sqlalchemy import select, text

from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.audit_months import Month, drop_audit_months, make_audit_months
from server.kernel.clock import now_us
from server.kernel.database import Database
from server.kernel.rows import table_of
from server.kernel.tables import AuditRow

AUDIT = table_of(AuditRow)
ENTRY = AuditEntry(Principal("client:a", "A"), Action.READ, "wado", "ImagingStudy", "1.2.3")

on_postgresql = pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)


async def partitions_of_rows(database: Database) -> list[str]:
    query = text("SELECT tableoid::regclass::text FROM audit_entry ORDER BY sequence")
    async with database.read() as connection:
        return list((await connection.execute(query)).scalars())


@pytest.mark.parametrize(
    ("month", "following"),
    [
        pytest.param(Month(2026, 11), Month(2026, 12), id="within a year"),
        pytest.param(Month(2026, 12), Month(2027, 1), id="over its end"),
    ],
)
def test_next_month(month: Month, following: Month) -> None:
    assert month.next == following
    assert Month.of(month.next.begins_us - 1) == month
    assert Month.of(month.next.begins_us) == following


@on_postgresql
async def test_rows_lie_in_the_partition_of_their_month(database: Database) -> None:
    await database.record([ENTRY])  # before any month was made
    assert await partitions_of_rows(database) == ["audit_entry_default"]
    assert await make_audit_months(database) == 3
    assert await make_audit_months(database) == 0
    await database.record([ENTRY])
    month = Month.of(now_us()).partition
    assert await partitions_of_rows(database) == [month, month]


@on_postgresql
async def test_months_that_have_ended_are_dropped(database: Database) -> None:
    await make_audit_months(database)
    await database.record([ENTRY])
    this = Month.of(now_us())
    assert await database.transact(lambda unit: drop_audit_months(unit, this.next.begins_us - 1)) == []
    assert len(await partitions_of_rows(database)) == 1
    assert await database.transact(lambda unit: drop_audit_months(unit, this.next.begins_us)) == [this]
    assert await partitions_of_rows(database) == []


async def test_entries_have_increasing_numbers(database: Database) -> None:
    await make_audit_months(database)
    for _ in range(3):
        await database.record([ENTRY])
    async with database.read() as connection:
        numbers = list((await connection.execute(select(AUDIT.c.sequence))).scalars())
    assert sorted(set(numbers)) == sorted(numbers)
    assert len(numbers) == 3
