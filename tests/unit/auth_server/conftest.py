"""A database with the tables of the authorization server, and a clock that the test moves."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from server.auth import tables  # noqa: F401  registers the tables
from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database
from server.kernel.rows import Row


class MovableClock:
    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> int:
        return now_us() + int(self.offset_s * SECOND_US)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    made = Database(f"sqlite+aiosqlite:///{tmp_path}/auth.db")
    async with made._writer.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    yield made
    await made.close()
