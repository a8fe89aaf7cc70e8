"""Readers of the outbox go on after a restore: nothing twice, nothing skipped, in the order of before."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from server.kernel.outbox import Event, consume
from server.kernel.rows import table_of
from server.kernel.tables import OutboxCursor, OutboxEvent

EVENT, CURSOR = table_of(OutboxEvent), table_of(OutboxCursor)
TO_EITHER = [("postgresql", "sqlite"), ("postgresql", "postgresql")]


async def read(installed: Any, reader: str) -> list[str]:
    found: list[str] = []

    async def handle(_unit: Any, events: Sequence[Event]) -> None:
        found.extend(event.subject for event in events)

    while await consume(installed.database, reader, ["test"], handle):
        pass
    return found


def event(sequence: int, xact: int) -> dict[str, Any]:
    subject = f"transaction {xact}, number {sequence}"
    return {
        "sequence": sequence,
        "kind": "test",
        "subject": subject,
        "payload": "{}",
        "occurred_us": 0,
        "xact": xact,
    }


# In the order in which they are read. Number 12 was given before 10 and 11 were committed.
EVENTS = [event(10, 5), event(12, 5), event(11, 6), event(15, 7), event(13, 8)]
CURSORS = {
    "has read nothing": (0, 0),
    "is in between": (5, 12),
    "is ahead of the lowest": (4, 99),
    "has read all": (8, 13),
}


@pytest.mark.parametrize("kinds", TO_EITHER, ids="-to-".join)
async def test_readers_go_on_where_they_were(
    source: Any, target: Any, repository: Path, kinds: Sequence[str]
) -> None:
    await source.execute(insert(EVENT).values(EVENTS))
    rows = [
        {"reader": reader, "xact": xact, "sequence": number} for reader, (xact, number) in CURSORS.items()
    ]
    await source.execute(insert(CURSOR).values(rows))
    taken = await source.back_up(repository)
    await target.restore(repository, taken.id)

    async def emit(unit: Any) -> None:
        unit.emit("test", "new")

    await target.database.transact(emit)
    subjects = [str(each["subject"]) for each in EVENTS]
    assert await read(target, "has no cursor") == [*subjects, "new"]
    assert await read(target, "has read nothing") == [*subjects, "new"]
    assert await read(target, "is ahead of the lowest") == [*subjects, "new"]
    assert await read(target, "is in between") == [*subjects[2:], "new"]
    assert await read(target, "has read all") == ["new"]


@pytest.mark.parametrize("kinds", TO_EITHER, ids="-to-".join)
async def test_cursor_stays_when_the_events_are_gone(
    source: Any, target: Any, repository: Path, kinds: Sequence[str]
) -> None:
    async def emit(unit: Any) -> None:
        unit.emit("test", "first")

    await source.database.transact(emit)
    assert await read(source, "reader") == ["first"]
    await source.execute(EVENT.delete())
    taken = await source.back_up(repository)
    await target.restore(repository, taken.id)
    await target.database.transact(emit)
    assert await read(target, "reader") == ["first"]
