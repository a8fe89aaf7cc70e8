"""Audit of reads: durable before the first byte leaves, many requests per commit.

Retrievals of the same study by the same principal, client, purpose and address are coalesced for `WINDOW_US`:
the first is written at once, the later ones are counted and written as one entry when the window ends or the
server stops. With a purpose the token counts too: what was done in one emergency is told by its token.
"""

import asyncio
from dataclasses import dataclass, replace

from server.kernel.audit import AuditEntry
from server.kernel.clock import SECOND_US, Clock, now_us
from server.kernel.database import Database
from server.kernel.faults import Busy
from server.kernel.metrics import counter, histogram

WINDOW_US = 60 * SECOND_US
MAX_OPEN_WINDOWS = 10_000  # bounds memory; beyond it every read is written singly


_SECONDS = histogram("isthmus_audit_seconds", "Time to make one batch of audit entries of reads durable.")
_FAILURES = counter("isthmus_audit_failures", "Batches of audit entries that could not be written.")


class AuditUnavailable(Busy):
    """The audit trail cannot be written now, so nothing may be read."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("The access could not be audited; retry later.")
        self.__cause__ = cause


@dataclass(slots=True)
class _Window:
    entry: AuditEntry
    ends_us: int
    unwritten: int = 0


class ReadAudit:
    """Writes the audit entries of reads, in group commits."""

    def __init__(self, database: Database, clock: Clock = now_us) -> None:
        self._database = database
        self._clock = clock
        self._waiting: list[tuple[AuditEntry, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None
        self._windows: dict[tuple[str, ...], _Window] = {}

    async def record(self, entry: AuditEntry) -> None:
        """Write one entry and return when it is durable.

        Raises:
            AuditUnavailable: it could not be written; the read must fail.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, done))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write_waiting())
        await done

    async def record_retrieval(self, entry: AuditEntry) -> None:
        """Write one retrieval, or count it when the same one was written within the window."""
        who = entry.principal
        by = (who.id, who.client or "", who.purpose or "", who.token or "" if who.purpose else "")
        key = (*by, entry.address or "", entry.interaction, entry.resource_type, entry.resource_id or "")
        window = self._windows.get(key)
        if window is not None and window.ends_us > self._clock():
            window.unwritten += 1
            return
        await self.close_ended()
        await self.record(entry)
        if len(self._windows) < MAX_OPEN_WINDOWS:
            self._windows[key] = _Window(entry, self._clock() + WINDOW_US)

    async def close(self) -> None:
        """Write what is still only counted."""
        await self._write_counts(list(self._windows.values()))
        self._windows.clear()

    async def close_ended(self) -> int:
        """Write the counts of windows that have ended; returns how many windows that were."""
        now = self._clock()
        ended = [key for key, window in self._windows.items() if window.ends_us <= now]
        await self._write_counts([self._windows.pop(key) for key in ended])
        return len(ended)

    async def _write_counts(self, windows: list[_Window]) -> None:
        entries = [replace(w.entry, occurrences=w.unwritten, request_id=None) for w in windows if w.unwritten]
        if entries:
            await self._database.record(entries)

    async def _write_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            entries = [entry for entry, _ in batch]
            try:
                with _SECONDS.time():
                    await self._database.record(entries)
            except Exception as error:  # noqa: BLE001  every waiter must learn of it, whatever it is
                _FAILURES.inc()
                for _, done in batch:
                    if not done.done():
                        done.set_exception(AuditUnavailable(error))
            else:
                for _, done in batch:
                    if not done.done():
                        done.set_result(None)
