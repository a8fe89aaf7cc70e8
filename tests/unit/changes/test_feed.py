"""The change feed: in order, page by page, skipping nothing, and refusing what may have missed something."""

import asyncio
from dataclasses import replace

import orjson
import pytest
from sqlalchemy import text

from server.kernel.database import UnitOfWork
from server.kernel.retention_policy import RetentionPolicy
from server.kernel.services import Services
from server.workflows.changes.feed import CursorInvalid, CursorTooOld, Page, change_of, read_changes
from tests.conformance.ps3_18.kit import ct_file, place
from tests.unit.deletion.conftest import Archive


def told(page: Page) -> list[tuple[str, str]]:
    changes = [change_of(event, orjson.loads(event.payload)) for event in page.events]
    return [(each["change"], each["studyInstanceUID"]) for each in changes]


async def test_changes_in_order_page_by_page(archive: Archive) -> None:
    for study in (1, 2):
        await archive.stow(ct_file(place(study=study)), ct_file(place(study=study, instance=2)))
    await archive.delete(place(1).study, place(1).series, place(1).instance)
    await archive.delete(place(2).study)
    first = await read_changes(archive.services, None, 3)
    assert told(first) == [
        ("changed", place(1).study),
        ("changed", place(2).study),
        ("changed", place(1).study),
    ]
    assert first.more
    second = await read_changes(archive.services, first.cursor, 3)
    assert told(second) == [("deleted", place(2).study)]
    assert not second.more
    assert told(await read_changes(archive.services, second.cursor, 3)) == []
    await archive.stow(ct_file(place(study=3)))
    third = await read_changes(archive.services, second.cursor, 3)
    assert told(third) == [("changed", place(3).study)]


async def test_what_commits_late_is_not_skipped(archive: Archive) -> None:
    """On PostgreSQL a transaction may take its number first and commit last; SQLite has one writer."""
    database, begun, go_on = archive.services.database, asyncio.Event(), asyncio.Event()

    async def slow(unit: UnitOfWork) -> None:
        unit.emit("study.changed", "late")
        await unit.flush()
        begun.set()
        if not database.is_sqlite:
            await go_on.wait()

    late = asyncio.create_task(database.transact(slow))
    await begun.wait()
    await archive.stow(ct_file(place(1)))
    page = await read_changes(archive.services, None, 10)
    go_on.set()
    await late
    rest = await read_changes(archive.services, page.cursor, 10)
    assert sorted(told(page) + told(rest)) == sorted([("changed", "late"), ("changed", place(1).study)])


@pytest.mark.parametrize("cursor", ["", "x", "a.b.c.d", "name.1.2", "name.1.2.99999999999999999999"])
async def test_what_is_no_cursor_is_refused(archive: Archive, cursor: str) -> None:
    with pytest.raises(CursorInvalid):
        await read_changes(archive.services, cursor, 1)


async def test_cursor_of_another_installation_is_refused(archive: Archive) -> None:
    cursor = (await read_changes(archive.services, None, 1)).cursor
    rename = text("UPDATE installation SET name = 'another'")
    await archive.services.database.transact(lambda unit: unit.execute(rename))
    with pytest.raises(CursorTooOld):
        await read_changes(archive.services, cursor, 1)


async def test_cursor_older_than_the_events_is_refused(archive: Archive) -> None:
    cursor = (await read_changes(archive.services, None, 1)).cursor
    forgetful: Services = replace(archive.services, retention=RetentionPolicy((), outbox_days=0))
    with pytest.raises(CursorTooOld):
        await read_changes(forgetful, cursor, 1)
