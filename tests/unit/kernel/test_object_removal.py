from sqlalchemy import insert, select

from server.kernel.database import Database, UnitOfWork
from server.kernel.object_removal import Reason, is_removal_held, note_removals
from server.kernel.rows import table_of
from server.kernel.tables import MaintenanceHold, ObjectRemoval

_REMOVAL = table_of(ObjectRemoval)


async def noted(database: Database) -> dict[str, tuple[int, str]]:
    async with database.read() as connection:
        rows = await connection.execute(select(_REMOVAL))
        return {row.object_name: (row.due_us, row.reason) for row in rows}


async def test_the_earliest_instant_holds(database: Database) -> None:
    async def first(unit: UnitOfWork) -> None:
        await note_removals(unit, ["b", "a", "a"], 100, Reason.PACKED)

    async def second(unit: UnitOfWork) -> None:
        await note_removals(unit, ["a"], 50, Reason.DELETED)
        await note_removals(unit, ["b", "c"], 200, Reason.ORPHANED)

    await database.transact(first)
    await database.transact(second)
    assert await noted(database) == {"a": (50, "deleted"), "b": (100, "packed"), "c": (200, "orphaned")}


async def test_no_names_are_no_rows(database: Database) -> None:
    await database.transact(lambda unit: note_removals(unit, [], 1, Reason.DELETED))
    assert await noted(database) == {}


async def test_a_hold_is_in_force_until_its_instant(database: Database) -> None:
    async def hold(unit: UnitOfWork) -> None:
        await unit.execute(insert(table_of(MaintenanceHold)), {"name": "backup", "until_us": 100})

    async with database.read() as connection:
        assert not await is_removal_held(connection, 99)
    await database.transact(hold)
    async with database.read() as connection:
        assert await is_removal_held(connection, 99)
        assert not await is_removal_held(connection, 100)
