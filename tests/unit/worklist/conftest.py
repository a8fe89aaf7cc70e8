from collections.abc import AsyncIterator

import pytest

from server.kernel.database import Database
from tests.unit.worklist.kit import make_schema


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    await make_schema(database)
    yield database
    await database.close()
