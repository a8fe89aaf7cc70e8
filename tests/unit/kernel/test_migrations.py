import asyncio
import re
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect

import server.migrations
from server.kernel.rows import Row
from server.migrations import HEAD, current_revision, upgrade

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


async def test_upgrade_reaches_head_and_is_idempotent(database_url: str) -> None:
    assert await current_revision(database_url) is None
    await upgrade(database_url)
    await upgrade(database_url)
    assert await current_revision(database_url) == HEAD


async def test_parallel_upgrades_both_succeed(database_url: str) -> None:
    await asyncio.gather(upgrade(database_url), upgrade(database_url))
    assert await current_revision(database_url) == HEAD


async def test_migrations_and_tables_agree(database_url: str) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    await upgrade(database_url)

    def differences(connection: Connection) -> list[object]:
        assert inspect(connection).has_table("alembic_version")
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return list(compare_metadata(context, Row.metadata))

    engine = create_engine(database_url.replace("+aiosqlite", ""))
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()
