from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.kernel.database import Database
from tests.unit.worklist.kit import make_schema


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/t.db")
    await make_schema(database)
    yield database
    await database.close()
