"""Others write while a release is imported."""

import pytest

from server.kernel.database import Database
from terminology.releases import pace
from terminology.releases.pace import FIRST_ROWS, MIN_ROWS, SQLITE_S, Pace


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What time it is, and how long was slept last."""
    times = [100.0, 0.0]

    async def sleep(seconds: float) -> None:
        times[1] = seconds

    monkeypatch.setattr(pace, "perf_counter", lambda: times[0])
    monkeypatch.setattr(pace.asyncio, "sleep", sleep)
    return times


# Who waits for SQLite asks again after 1, 2, 5, 10, 15, 20, 25, 25, 25, 50, 50 ms, and every 100 ms then.
DELAYS_S = (0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.025, 0.025, 0.05, 0.05, *[0.1] * 20)


async def test_a_pause_lets_in_who_waits(clock: list[float]) -> None:
    own = Pace(Database("sqlite+aiosqlite:///not-opened.db"))
    for lasted in (milliseconds / 1000 for milliseconds in range(1, 800)):
        own.ended(clock[0] - lasted)
        clock[0] += 0.004  # the next rows are made
        await own.let_others_write()
        asked, asks = 0.0, list(DELAYS_S)
        while asked <= lasted:
            asked += asks.pop(0)
        assert asked < lasted + 0.004 + clock[1], lasted


@pytest.mark.parametrize("url", ["sqlite+aiosqlite:///not-opened.db", "postgresql+asyncpg://not-opened/it"])
async def test_transactions_last_as_long_as_they_should(clock: list[float], url: str) -> None:
    own = Pace(Database(url))
    assert own.rows == FIRST_ROWS
    own.ended(clock[0] - SQLITE_S / 100)
    assert own.rows == 2 * FIRST_ROWS
    for _ in range(9):
        own.ended(clock[0] - 100 * SQLITE_S)
    assert own.rows == MIN_ROWS
    await own.let_others_write()
    assert (clock[1] > 0) == url.startswith("sqlite")
