"""Fixtures that every test may use: real databases and a real object store, each test its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.kernel.database import Database
from server.kernel.local_store import LocalObjectStore
from server.kernel.read_audit import ReadAudit
from server.kernel.services import Services
from server.migrations import upgrade


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """The URL of an empty database."""
    return f"sqlite+aiosqlite:///{tmp_path}/isthmus.db"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A database with the newest schema."""
    await upgrade(database_url)
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[LocalObjectStore]:
    """An empty object store on local disk."""
    store = LocalObjectStore(tmp_path / "objects")
    yield store
    await store.close()


@pytest.fixture
def services(database: Database, objects: LocalObjectStore) -> Services:
    """The floor's services over the test's database and store."""
    return Services(database, objects, ReadAudit(database), "http://testserver")
