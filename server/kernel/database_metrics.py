"""What the database is asked for and how it answers: duration, waits for a connection, retries, faults."""

import time
from dataclasses import dataclass
from types import TracebackType

from server.kernel.faults import Busy, StorageFull
from server.kernel.metrics import counter, gauge, histogram
from server.kernel.tracing import Kind, Span, child_span

_SECONDS = histogram(
    "isthmus_database_seconds",
    "Time a connection was in use: for a read, a transaction committed, one rolled back.",
    ("use",),
)
_WAIT = histogram("isthmus_database_wait_seconds", "Time until there was a connection to use.", ("pool",))
_CONNECTIONS = gauge(
    "isthmus_database_connections", "Connections in use, and callers that wait for one.", ("pool", "state")
)
RETRIES = counter("isthmus_database_retries", "Transactions run again at the database's wish.")
_FAULTS = counter(
    "isthmus_database_faults", "What the database refused: busy or gone, or out of room.", ("fault",)
)
_BUSY, _FULL = _FAULTS.labels("busy"), _FAULTS.labels("full")


def counted(fault: Busy) -> Busy:
    """The same fault of the database's, counted."""
    (_FULL if isinstance(fault, StorageFull) else _BUSY).inc()
    return fault


class PoolWatch:
    """Watches the users of one pool of connections."""

    def __init__(self, pool: str, success: str, failure: str) -> None:
        self.name = pool
        self.waiting = self.in_use = 0
        self.wait = _WAIT.labels(pool)
        self.success, self.failure = _SECONDS.labels(success), _SECONDS.labels(failure)
        self._gauges = _CONNECTIONS.labels(pool, "waiting"), _CONNECTIONS.labels(pool, "in_use")

    def use(self) -> "_Use":
        """A context manager around one use; `taken` is to be called once there is a connection."""
        return _Use(self)

    def report(self) -> None:
        """Bring the gauges up to date: sampled, because keeping them exact would cost more than it tells."""
        for one, value in zip(self._gauges, (self.waiting, self.in_use), strict=True):
            one.set(value)


@dataclass(slots=True)
class _Use:
    pool: PoolWatch
    begun: float = 0.0
    is_taken: bool = False
    span: Span | None = None

    def __enter__(self) -> "_Use":
        self.span = child_span(f"database {self.pool.name}", kind=Kind.CLIENT)
        self.span.__enter__()
        self.pool.waiting += 1
        self.begun = time.perf_counter()
        return self

    def taken(self) -> None:
        """There is a connection now."""
        self.pool.waiting -= 1
        self.pool.in_use += 1
        self.is_taken = True
        now = time.perf_counter()
        self.pool.wait.observe(now - self.begun)
        self.begun = now

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.span is not None:
            self.span.__exit__(kind, error, trace)
        if not self.is_taken:
            self.pool.waiting -= 1
            return
        self.pool.in_use -= 1
        (self.pool.success if error is None else self.pool.failure).observe(time.perf_counter() - self.begun)
