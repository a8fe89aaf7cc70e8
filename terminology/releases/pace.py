"""How many rows one transaction of an import writes, so that others are not held up.

SQLite has one writer. Who waits for it asks again after 1 to 25 ms as long as it has waited for less than an
eighth of a second, then every 50 ms, and every 100 ms later: a pause as long as that lets everybody in. What
an import does between two transactions anyway is part of the pause.
"""

import asyncio
from time import perf_counter

from server.kernel.database import Database

SQLITE_S, POSTGRESQL_S = 0.1, 0.3  # that one transaction is made to last
PAUSES_S = ((0.125, 0.027), (0.225, 0.052))  # on SQLite, after one that lasted up to so long
LONG_PAUSE_S = 0.105
MIN_ROWS, FIRST_ROWS, MAX_ROWS = 200, 1_000, 50_000


class Pace:
    """The pace of writing into one table."""

    def __init__(self, database: Database) -> None:
        self.rows = FIRST_ROWS
        self._transaction_s = SQLITE_S if database.is_sqlite else POSTGRESQL_S
        self._pauses = database.is_sqlite
        self._ended_s = self._lasted_s = 0.0

    def ended(self, began_s: float) -> None:
        """A transaction that began then has ended now: take more rows or fewer the next time."""
        self._ended_s = perf_counter()
        self._lasted_s = self._ended_s - began_s
        factor = min(2.0, max(0.25, self._transaction_s / max(self._lasted_s, 1e-6)))
        self.rows = max(MIN_ROWS, min(MAX_ROWS, int(self.rows * factor)))

    async def let_others_write(self) -> None:
        """Before the next transaction: what is left of the pause after the last."""
        if self._pauses:
            pause_s = next((pause for most, pause in PAUSES_S if self._lasted_s <= most), LONG_PAUSE_S)
            await asyncio.sleep(self._ended_s + pause_s - perf_counter())
