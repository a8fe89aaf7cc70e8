"""No table is forgotten, and none that holds a place in the object store or in the outbox's order."""

from sqlalchemy import Connection, inspect

from server.backup.tables import CARRIED_AS, NOT_CARRIED, carried_tables
from server.kernel.database import Database

MADE_BY_MIGRATIONS = {"alembic_version"}
WORDS = ("fhir_search_words", "terminology_words")  # indexes of words on SQLite, kept by triggers
OF_POSTGRESQL = "procrastinate_"
PARTITIONS = "audit_entry_"  # of audit_entry, which is read as a whole


def tables_of(connection: Connection) -> set[str]:
    return set(inspect(connection).get_table_names())


async def test_every_table_of_the_database_is_carried_or_has_a_reason(database: Database) -> None:
    async with database.read() as connection:
        found = await connection.run_sync(tables_of)
    found = {name for name in found if not name.startswith((PARTITIONS, *WORDS))} - MADE_BY_MIGRATIONS
    known = {table.name for table in carried_tables()} | set(NOT_CARRIED) | set(CARRIED_AS)
    assert found == {name for name in known if not (database.is_sqlite and name.startswith(OF_POSTGRESQL))}


def test_tables_come_after_those_they_refer_to() -> None:
    seen: set[str] = set()
    for table in carried_tables():
        assert {key.column.table.name for key in table.foreign_keys} <= seen
        seen.add(table.name)


def test_places_in_the_store_and_in_the_outbox_are_known() -> None:
    """A restore rewrites these columns; a new table with such a column has to be taught to it."""
    places = {table.name for table in carried_tables() if "object_name" in table.columns}
    positions = {table.name for table in carried_tables() if "xact" in table.columns}
    assert places == {"instance"}
    assert positions == {"outbox_event", "outbox_cursor"}
