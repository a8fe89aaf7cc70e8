"""Up to which time everything that was written can be seen: `last_updated_us` alone is no cursor.

A transaction takes its time when it begins and is seen when it commits; one that takes long is seen after
others with later times. SQLite has one writer, whose times follow its commits.
"""

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

# How long a transaction may have no transaction id and still write later: it waits for a lock, as long as
# a statement may take. Readers, such as a backup, have none for hours and hold nothing up.
MAX_WAIT_S = 120

# xact_start is before the time that the transaction took (`server.kernel.postgresql.read_clock`).
_OLDEST = text(
    "SELECT (extract(epoch FROM coalesce(min(xact_start), clock_timestamp())) * 1000000)::bigint"
    " FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    " AND backend_type IS DISTINCT FROM 'autovacuum worker'"  # it writes nothing that is read here
    " AND (backend_xid IS NOT NULL OR xact_start > clock_timestamp() - make_interval(secs => :longest))"
).bindparams(longest=MAX_WAIT_S)


async def settled_before_us(connection: AsyncConnection) -> int | None:
    """The time before which no more writes will appear; None: all that can be seen is settled."""
    if connection.dialect.name == "sqlite":
        return None
    return int((await connection.execute(_OLDEST)).scalar_one())
