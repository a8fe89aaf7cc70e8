"""A clock that the test moves, and a database with the tables of the authorization server."""

from collections.abc import AsyncIterator

import pytest

from server.auth import tables  # noqa: F401  registers the tables
from server.kernel.clock import SECOND_US, now_us
from server.kernel.database import Database
from server.kernel.rows import Row


class MovableClock:
    """The wall clock, put ahead by `offset_s`."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def __call__(self) -> int:
        return now_us() + int(self.offset_s * SECOND_US)


@pytest.fixture
def clock() -> MovableClock:
    return MovableClock()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The tables as declared; migrating to them would cost these many small tests most of their time."""
    made = Database(database_url)
    async with made._writer.begin() as connection:
        await connection.run_sync(Row.metadata.create_all)
    yield made
    await made.close()
