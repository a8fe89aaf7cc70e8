"""Rows that an earlier release indexed get the columns of this one (`dicomweb.store.columns.INDEX_VERSION`).

What they are made of, the attributes as sent, lies beside them. Until a row is done, its new keys match
nothing, and names match it literally. Of each study that is done an event tells, for who keeps something of
his own of it.
"""

import orjson
from sqlalchemy import Table, Update, bindparam, delete, insert, select, update

from dicomweb.attributes import DicomJson
from dicomweb.store.columns import INDEX_VERSION, series_columns, study_columns, study_names
from dicomweb.tables import Series, Study, StudyName
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.services import Services

# Outbox event; subject: Study Instance UID.
STUDY_REINDEXED = "study.reindexed"
ROWS_AT_ONCE = 500  # of one table in one transaction: a tenth of a second for the writer

_STUDY, _SERIES, _NAME = table_of(Study), table_of(Series), table_of(StudyName)


async def refresh_index(services: Services) -> int:
    """Bring some rows up to date, and say how many that were."""
    studies = await services.database.transact(_refresh_studies)
    return studies + await services.database.transact(_refresh_series)


async def _refresh_studies(unit: UnitOfWork) -> int:
    found = await _outdated(unit, _STUDY)
    if found:
        await unit.execute(_update(_STUDY), [{"key": key, **study_columns(a)} for key, a in found.items()])
        await unit.execute(delete(_NAME).where(_NAME.c.study_id.in_(found)))
        names = [{"study_id": key, **row} for key, a in found.items() for row in study_names(a)]
        if names:
            await unit.execute(insert(_NAME), names)
        uids = select(_STUDY.c.study_instance_uid).where(_STUDY.c.id.in_(found)).order_by(_STUDY.c.id)
        for uid in (await unit.execute(uids)).scalars().all():
            unit.emit(STUDY_REINDEXED, uid, {})
    return len(found)


async def _refresh_series(unit: UnitOfWork) -> int:
    found = await _outdated(unit, _SERIES)
    if found:
        await unit.execute(_update(_SERIES), [{"key": key, **series_columns(a)} for key, a in found.items()])
    return len(found)


async def _outdated(unit: UnitOfWork, table: Table) -> dict[int, DicomJson]:
    """Rows to be done, by key; those that a Store request is at are left for the next time."""
    c = table.c
    oldest = select(c.id, c.attributes).where(c.index_version < INDEX_VERSION).limit(ROWS_AT_ONCE)
    rows = await unit.execute(oldest.with_for_update(skip_locked=True))
    return {row.id: orjson.loads(row.attributes) for row in rows}


def _update(table: Table) -> Update:
    return update(table).where(table.c.id == bindparam("key"))  # what is set is among the parameters
