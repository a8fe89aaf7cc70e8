"""How much of the database one process takes; a value of the settings, which import no driver."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatabaseLimits:
    """How much of the database one process takes."""

    connections: int = 10  # SQLite: that read, beside the one that writes; PostgreSQL: of the pool
    statement_timeout_s: float = 30.0  # SQLite: of one that reads; PostgreSQL: of any, a lock's wait, an
    # idle transaction; 0: none
    wait_s: float = 10.0  # for a free connection, before the answer is Busy


DEFAULT_LIMITS = DatabaseLimits()
