import asyncio
import re
from collections.abc import Callable
from pathlib import Path

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, inspect, text

import server.migrations
from server.kernel.database import Database
from server.kernel.rows import Row
from server.migrations import HEAD, current_revision, upgrade
from server.migrations.tables import MODULES


def include(_thing: object, name: str | None, kind: str, *_: object) -> bool:
    """All but what no table class can say: the job library's tables, partitions, the indexes of words."""
    made_by_hand = {
        "table": ("procrastinate_", "audit_entry_", "fhir_search_words", "terminology_words"),
        "index": ("ix_fhir_search_text_",),
    }
    return not (name or "").startswith(made_by_hand.get(kind, ("-",)))


VERSIONS = Path(server.migrations.__file__).parent / "versions"


def revision_files() -> dict[str, str | None]:
    chain: dict[str, str | None] = {}
    for path in VERSIONS.glob("*.py"):
        text = path.read_text()
        revision = re.search(r'^revision = "(.+)"$', text, re.MULTILINE)
        parent = re.search(r'^down_revision = (?:"(.+)"|None)$', text, re.MULTILINE)
        assert revision is not None, path
        assert parent is not None, path
        chain[revision[1]] = parent[1]
    return chain


def test_head_is_the_newest_revision() -> None:
    chain = revision_files()
    assert set(chain) - set(chain.values()) == {HEAD}


def test_every_module_of_tables_is_known() -> None:
    """A backup carries what is in the metadata, whatever else the process has imported."""
    root = Path(server.__file__).parent.parent
    packages = ("ai_engine", "dicomweb", "fhir", "server", "terminology")
    found = {path for package in packages for path in (root / package).rglob("tables.py")}
    declaring = {path for path in found if "table=True" in path.read_text()}
    assert {Path(str(module.__file__)) for module in MODULES} == declaring


async def test_upgrade_reaches_head_and_is_idempotent(empty_database_url: str) -> None:
    assert await current_revision(empty_database_url) is None
    await upgrade(empty_database_url)
    await upgrade(empty_database_url)
    assert await current_revision(empty_database_url) == HEAD


async def test_parallel_upgrades_both_succeed(empty_database_url: str) -> None:
    await asyncio.gather(upgrade(empty_database_url), upgrade(empty_database_url))
    assert await current_revision(empty_database_url) == HEAD


async def test_migrations_and_tables_agree(database: Database) -> None:
    def differences(connection: Connection) -> list[object]:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_object": include}
        )
        return list(compare_metadata(context, Row.metadata))

    async with database.read() as connection:
        assert await connection.run_sync(lambda sync: inspect(sync).has_table("alembic_version"))
        assert await connection.run_sync(differences) == []
        if connection.dialect.name == "sqlite":
            ours = {t.name for t in Row.metadata.tables.values() if t.kwargs.get("sqlite_autoincrement")}
            query = text("SELECT name FROM sqlite_master WHERE type = 'table' AND sql LIKE '%AUTOINCREMENT%'")
            assert set((await connection.execute(query)).scalars()) == ours


async def test_migration_waits_in_turns_and_holds_up_no_request(
    new_postgresql: Callable[[bool], str],
) -> None:
    url = new_postgresql(False)
    await upgrade(url, "0004")
    database = Database(url)
    query = text("SELECT count(*) FROM workitem")  # revision 0005 adds a column to it
    async with database.snapshot() as long_reader:
        await long_reader.connection.execute(query)
        upgrading = asyncio.create_task(upgrade(url))
        for _ in range(
            20
        ):  # without turns, the first one behind the migration would wait for the long reader
            async with asyncio.timeout(5), database.read() as connection:
                await connection.execute(query)
            await asyncio.sleep(0.05)
        assert not upgrading.done()
    await upgrading
    assert await current_revision(url) == HEAD
    await database.close()
