"""A snapshot shows one instant, whole, in values of the right types, and hinders nobody."""

from typing import Any

from sqlalchemy import delete, func, insert, select

from fhir.tables import FhirResource
from server.kernel.database import Database, UnitOfWork
from server.kernel.rows import table_of
from server.kernel.snapshot import ROWS_AT_ONCE

RESOURCE = table_of(FhirResource)


def rows(first: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "type": "Patient",
            "id": str(number),
            "version_id": 1,
            "last_updated_us": number,
            "deleted": number % 2 == 0,
            "body": b"\x00\xff",
        }
        for number in range(first, first + count)
    ]


async def write(database: Database, statement: Any, values: Any = None) -> None:
    async def work(unit: UnitOfWork) -> None:
        await unit.execute(statement, values)

    await database.transact(work)


async def test_snapshot_does_not_see_what_is_written_meanwhile(database: Database) -> None:
    await write(database, insert(RESOURCE), rows(0, 3 * ROWS_AT_ONCE + 1))
    seen: list[tuple[Any, ...]] = []
    async with database.snapshot() as snapshot:
        await write(database, insert(RESOURCE), rows(9000, 1))
        query = select(RESOURCE).order_by(RESOURCE.c.rid)
        async for some in snapshot.stream(query):
            seen += some
            assert len(some) <= ROWS_AT_ONCE
            if len(seen) == ROWS_AT_ONCE:
                await write(database, delete(RESOURCE))
        count = (await snapshot.connection.execute(select(func.count()).select_from(RESOURCE))).scalar_one()
    assert len(seen) == count == 3 * ROWS_AT_ONCE + 1
    assert seen[1][1:] == ("Patient", "1", 1, 1, False, b"\x00\xff", 0)
    assert [type(row[5]) for row in seen[:2]] == [bool, bool]
    async with database.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(RESOURCE))).scalar_one() == 0
