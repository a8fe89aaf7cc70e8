"""An event that commits late is late, never skipped (DESIGN §5, Order)."""

import asyncio
from collections.abc import Sequence

import pytest

from server.kernel.database import Database, UnitOfWork
from server.kernel.outbox import START, Event, consume, read_end, read_events

KIND = "thing.changed"


def emit(subject: str, *, entered: asyncio.Event | None = None, leave: asyncio.Event | None = None) -> object:
    """Work that writes its event at once and commits when told."""

    async def work(unit: UnitOfWork) -> None:
        unit.emit(KIND, subject)
        await unit.flush()
        if entered is not None and leave is not None:
            entered.set()
            await leave.wait()

    return work


async def read_all(database: Database) -> list[str]:
    seen: list[str] = []

    async def handle(_unit: UnitOfWork, events: Sequence[Event]) -> None:
        seen.extend(event.subject for event in events)

    while await consume(database, "reader", [KIND], handle):
        pass
    return seen


@pytest.mark.parametrize("new_database", ["postgresql"], indirect=True)
async def test_event_that_commits_late_is_not_skipped(database: Database) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()
    late = asyncio.create_task(database.transact(emit("late", entered=entered, leave=leave)))  # type: ignore[arg-type]
    await entered.wait()
    await database.transact(emit("early"))  # type: ignore[arg-type]  numbered later, committed first
    before = await read_all(database)
    leave.set()
    await late
    after = await read_all(database)
    assert before + after == ["late", "early"]


async def test_many_writers_lose_nothing(database: Database) -> None:
    seen: list[str] = []

    async def handle(_unit: UnitOfWork, events: Sequence[Event]) -> None:
        seen.extend(event.subject for event in events)

    async def write(number: int) -> None:
        await database.transact(emit(str(number)))  # type: ignore[arg-type]

    async def read() -> None:
        while len(seen) < 60:
            await consume(database, "reader", [KIND], handle)
            await asyncio.sleep(0)

    await asyncio.gather(*map(write, range(60)), read())
    assert sorted(map(int, seen)) == list(range(60))


async def test_a_reader_from_now_on_sees_only_what_comes(database: Database) -> None:
    async with database.read() as connection:
        assert await read_end(connection, [KIND]) == START
    await database.transact(emit("before"))  # type: ignore[arg-type]
    async with database.read() as connection:
        position = await read_end(connection, [KIND])
    await database.transact(emit("after"))  # type: ignore[arg-type]
    async with database.read() as connection:
        events = await read_events(connection, position, [KIND])
    assert [event.subject for event in events] == ["after"]
    assert events[0].position > position
