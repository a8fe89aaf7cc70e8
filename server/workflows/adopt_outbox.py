"""The first start after a release without jobs: what its loops had not read of the outbox becomes jobs.

Their cursors go with that; they would hold the outbox's pruning back for ever. While a server of that release
still runs, its loops begin anew and read everything once more, which changes nothing.
"""

from collections.abc import Mapping

import orjson
from sqlalchemy import delete, select

from dicomweb.patients import PATIENT_CHANGED
from dicomweb.store.index import STUDY_CHANGED
from dicomweb.worklist.change import CHANGED as WORKITEM_CHANGED
from fhir.interactions.write import CHANGED as RESOURCE_CHANGED
from server.kernel.database import Database, UnitOfWork
from server.kernel.jobs import Emitted, jobs_after
from server.kernel.outbox import Event, Position, read_events
from server.kernel.rows import table_of
from server.kernel.tables import OutboxCursor
from server.workflows import record_jobs, settle

# The loops of that release, and what they read.
READERS: Mapping[str, str] = {
    "project-studies": STUDY_CHANGED,
    "project-tasks": WORKITEM_CHANGED,
    "project-orders": RESOURCE_CHANGED,
    "follow-patients": PATIENT_CHANGED,
    "settle": STUDY_CHANGED,
}

_CURSOR = table_of(OutboxCursor)


async def adopt_outbox(database: Database) -> None:
    """Turn what those readers had before them into jobs, once."""
    async with database.read() as connection:
        rows = await connection.execute(select(_CURSOR).where(_CURSOR.c.reader.in_(READERS)))
        cursors = {row.reader: Position(row.xact, row.sequence) for row in rows}
    for reader, position in cursors.items():
        await _adopt(database, reader, position)
    if cursors:
        await database.transact(settle.look_at_settling)


async def _adopt(database: Database, reader: str, position: Position) -> None:
    subscriptions = settle.SUBSCRIPTIONS if reader == "settle" else record_jobs.SUBSCRIPTIONS

    async def work(unit: UnitOfWork) -> Position | None:
        events = await read_events(unit.connection, position, [READERS[reader]])
        for event in events:
            for job in jobs_after(_emitted(event), subscriptions):
                unit.defer(job)
        if events:
            return events[-1].position
        await unit.execute(delete(_CURSOR).where(_CURSOR.c.reader == reader))
        return None

    while (reached := await database.transact(work)) is not None:
        position = reached


def _emitted(event: Event) -> Emitted:
    return Emitted(event.kind, event.subject, orjson.loads(event.payload))
