"""How many rows one transaction of an import writes, so that others are not held up.

SQLite has one writer. Who waits for it asks again every 1 to 25 ms during the first tenth of a second, and
every 100 ms later: a pause as long as that lets everybody in.
"""

import asyncio

from server.kernel.database import Database

SQLITE_S, POSTGRESQL_S = 0.06, 0.3  # that one transaction is made to last
PAUSE_S, LONG_PAUSE_S = 0.025, 0.11  # between two, on SQLite; the second after one that lasted long
LONG_S = 0.1
MIN_ROWS, FIRST_ROWS, MAX_ROWS = 200, 1_000, 50_000


class Pace:
    """The pace of writing into one table."""

    def __init__(self, database: Database) -> None:
        self.rows = FIRST_ROWS
        self._transaction_s = SQLITE_S if database.is_sqlite else POSTGRESQL_S
        self._pauses = database.is_sqlite

    async def keep(self, lasted_s: float) -> None:
        """After a transaction: let others write, and take more rows or fewer the next time."""
        factor = min(2.0, max(0.25, self._transaction_s / max(lasted_s, 1e-6)))
        self.rows = max(MIN_ROWS, min(MAX_ROWS, int(self.rows * factor)))
        if self._pauses:
            await let_others_write(lasted_s)


async def let_others_write(lasted_s: float) -> None:
    """Pause after a transaction on SQLite that took so long."""
    await asyncio.sleep(LONG_PAUSE_S if lasted_s > LONG_S else PAUSE_S)
