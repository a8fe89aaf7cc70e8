"""Opens the queue that a database has; PostgreSQL's driver is loaded only where it is used."""

from collections.abc import Sequence

from server.kernel.database import Database
from server.kernel.jobs import Beats, JobQueue
from server.kernel.sqlite_jobs import SqliteJobs


def job_queue(database: Database, queues: Sequence[str], beats: Beats) -> JobQueue:
    """The queue of a database for a runner of these queues; the runner opens and closes it."""
    if database.is_sqlite:
        return SqliteJobs(database, beats)
    from server.kernel.procrastinate_jobs import ProcrastinateJobs

    return ProcrastinateJobs(database.url, beats, queues)
