"""Which tables a backup carries, in which order, and what is particular to a few of them.

Every table is carried unless it stands here with a reason. All that is carried means the same on SQLite and
PostgreSQL: where the two differ (the outbox's order, the job queue) the backup has one form for both.
"""

from collections.abc import Mapping, Sequence

from sqlalchemy import Table

import server.migrations.tables  # noqa: F401  fills the metadata
from server.kernel.rows import Row

NOT_CARRIED: Mapping[str, str] = {
    "installation": "what is restored is an installation of its own, which another one's store refuses",
    "schema_floor": "made by the migrations, with the schema",
    "maintenance_hold": "by whoever works at the moment, the backup itself among them",
    "object_removal": "names objects of the store that the backup was made from",
    "object_walk": "how far a walk over that store has come",
    "damaged_object": "found in that store; the scrub of the new one looks for itself",
    "procrastinate_workers": "the runners of the queue, of which none is there after a restore",
    "procrastinate_events": "what became of jobs",
    "procrastinate_periodic_defers": "not used by us",
    "backup_repository": "what has backups of its own is the installation, not what is restored from them",
}
CARRIED_AS = {"procrastinate_jobs": "job"}  # the queue of PostgreSQL, in the form of SQLite's


def carried_tables() -> Sequence[Table]:
    """The tables of a backup; one comes after those that its rows refer to."""
    return [table for table in Row.metadata.sorted_tables if table.name not in NOT_CARRIED]
