"""From every earlier revision, with data in it, to the newest; and two versions on one schema."""

import asyncio
from typing import Any

import pytest
from sqlalchemy import Connection, MetaData, Table, insert, inspect, select, text
from sqlalchemy.types import BigInteger, Boolean, Double, Float, Integer, LargeBinary

import server.migrations
from server.kernel.database import Database, UnitOfWork
from server.kernel.outbox import consume
from server.migrations import HEAD, HERE, SchemaTooNew, known_revisions, upgrade
from tests.conftest import sqlite_first

EARLIER = sorted(known_revisions() - {HEAD})
ALWAYS = {EARLIER[0], EARLIER[-1]}  # the others ran when they were new, and run in `make test-all`
ROWS = 3


def tables_in(connection: Connection) -> list[Table]:
    """The tables that a schema has, parents first, without those that it does not itself declare."""
    metadata = MetaData()
    metadata.reflect(connection)
    ours = [
        t
        for t in metadata.sorted_tables
        if not t.name.startswith(
            ("procrastinate_", "alembic_", "audit_entry_", "fhir_search_words", "terminology_words")
        )
    ]
    return [t for t in ours if t.name != "schema_floor"]


def value_for(column: Any, number: int) -> Any:
    kind = column.type
    if column.foreign_keys:
        return number
    if isinstance(kind, Boolean):
        return bool(number % 2)
    if isinstance(kind, Integer | BigInteger):
        return number
    if isinstance(kind, Float | Double):
        return number + 0.5
    if isinstance(kind, LargeBinary):
        return b"\x00\xff" * number
    return f"{column.name} {number} – ä"


def fill(connection: Connection) -> dict[str, list[dict[str, Any]]]:
    """Some rows into every table; returns them."""
    filled = {}
    for table in tables_in(connection):
        rows = [{c.name: value_for(c, number) for c in table.columns} for number in range(1, ROWS + 1)]
        connection.execute(insert(table), rows)
        filled[table.name] = rows
    return filled


def read(connection: Connection, rows: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The rows of these tables, of the columns they had then."""
    found = {}
    for table in tables_in(connection):
        if table.name in rows:
            names = rows[table.name][0].keys()
            query = select(*(table.c[name] for name in names)).order_by(*list(table.primary_key))
            found[table.name] = [dict(row._mapping) for row in connection.execute(query)]
    return found


@pytest.mark.parametrize(
    "revision", [pytest.param(each, marks=() if each in ALWAYS else pytest.mark.slow) for each in EARLIER]
)
async def test_rows_of_an_earlier_revision_are_kept(empty_database_url: str, revision: str) -> None:
    await upgrade(empty_database_url, revision)
    database = Database(empty_database_url)
    async with database._writer.begin() as connection:
        rows = await connection.run_sync(fill)
    assert len(rows) > 10
    await upgrade(empty_database_url)
    async with database.read() as connection:
        assert await connection.run_sync(lambda sync: read(sync, rows)) == rows
        assert await connection.run_sync(server.migrations._revision) == HEAD
    await database.close()


async def test_what_waits_in_the_outbox_is_read_after_the_upgrade(empty_database_url: str) -> None:
    await upgrade(empty_database_url, "0001")
    event = "INSERT INTO outbox_event (kind, subject, payload, occurred_us) VALUES ('k', '{}', '[]', 1)"
    database = Database(empty_database_url)

    async def before(unit: UnitOfWork) -> None:
        for subject in ("seen", "waiting"):
            await unit.execute(text(event.format(subject)))
        await unit.execute(text("INSERT INTO outbox_cursor (reader, sequence) VALUES ('r', 1)"))

    await database.transact(before)
    await upgrade(empty_database_url)
    seen: list[str] = []

    async def handle(_unit: UnitOfWork, events: Any) -> None:
        seen.extend(each.subject for each in events)

    async def after(unit: UnitOfWork) -> None:
        unit.emit("k", "new")

    await database.transact(after)
    while await consume(database, "r", ["k"], handle):
        pass
    assert seen == ["waiting", "new"]
    await database.close()


async def make_newer(database_url: str, floor: str | None) -> None:
    """What the next release does to the schema: a revision that nobody here knows."""
    database = Database(database_url)

    async def work(unit: UnitOfWork) -> None:
        await unit.execute(text("ALTER TABLE study ADD COLUMN of_the_future VARCHAR"))
        await unit.execute(text("UPDATE alembic_version SET version_num = '9000'"))
        if floor is not None:
            await unit.execute(text("INSERT INTO schema_floor VALUES (:floor)"), {"floor": floor})

    await database.transact(work)
    await database.close()


@pytest.mark.parametrize("floor", [None, "0001", HEAD])
async def test_a_newer_schema_that_only_adds_is_worked_on(database_url: str, floor: str | None) -> None:
    await make_newer(database_url, floor)
    await upgrade(database_url)
    assert await server.migrations.current_revision(database_url) == "9000"


async def test_a_newer_schema_that_took_something_away_is_refused(database_url: str) -> None:
    await make_newer(database_url, "8999")
    with pytest.raises(SchemaTooNew, match="revision 9000, for programs of revision 8999"):
        await upgrade(database_url)


@sqlite_first
async def test_an_upgrade_that_is_killed_leaves_the_earlier_schema(empty_database_url: str) -> None:
    """A revision is one transaction: half of it never stays."""
    await upgrade(empty_database_url, "0001")
    engine = server.migrations._engine(empty_database_url)

    def run_and_die(connection: Connection) -> None:
        server.migrations._upgrade_once(connection)
        assert inspect(connection).has_table("schema_floor")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with engine.begin() as connection:
            await connection.run_sync(run_and_die)
    await engine.dispose()
    assert await server.migrations.current_revision(empty_database_url) == "0001"
    await asyncio.gather(upgrade(empty_database_url), upgrade(empty_database_url))
    assert await server.migrations.current_revision(empty_database_url) == HEAD


CONTRACTING = (
    "drop_table",
    "drop_column",
    "rename_table",
    "alter_column",
    "DROP TABLE",
    "DROP COLUMN",
    "SET NOT NULL",
)


def test_revisions_take_nothing_away_without_saying_so() -> None:
    """A revision that contracts must raise the floor; the first release is the beginning."""
    for path in sorted((HERE / "versions").glob("[0-9]*.py")):
        source = path.read_text()
        takes = [word for word in CONTRACTING if word in source]
        assert not takes or "schema_floor" in source, (path.name, takes)
