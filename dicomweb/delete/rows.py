"""The archive's rows of what is deleted go at once; the objects they lay in are noted for removal."""

from sqlalchemy import ColumnElement, Table, delete, exists, insert, select, update

from dicomweb.delete.doomed import Doomed
from dicomweb.store.index import STUDY_CHANGED
from dicomweb.tables import DeletedStudy, Instance, InstanceMetadata, Series, SeriesRequest, Study
from server.kernel.database import UnitOfWork
from server.kernel.object_removal import Reason, note_removals
from server.kernel.rows import table_of
from server.kernel.tables import DamagedObject

_STUDY, _SERIES, _REQUEST = table_of(Study), table_of(Series), table_of(SeriesRequest)
_INSTANCE, _METADATA, _DAMAGED = table_of(Instance), table_of(InstanceMetadata), table_of(DamagedObject)
_DELETED = table_of(DeletedStudy)

# Outbox event of a study that is gone as a whole; subject: Study Instance UID. Payload: how many `instances`.
STUDY_DELETED = "study.deleted"


async def remove_rows(unit: UnitOfWork, doomed: Doomed) -> None:
    """Take everything doomed out of the index, with the series and the study that it leaves empty.

    Their bytes go when the objects they lie in are removed, due at once (`server/kernel/object_removal.py`).
    """
    ids = select(_INSTANCE.c.id).where(doomed.criterion)
    for table in (_METADATA, _DAMAGED):
        await unit.execute(delete(table).where(table.c.instance_id.in_(ids)))
    await unit.execute(delete(_INSTANCE).where(doomed.criterion))
    of_study = _SERIES.c.study_id == doomed.study["id"]
    emptied = select(_SERIES.c.id).where(of_study, ~_has(_INSTANCE))
    await unit.execute(delete(_REQUEST).where(_REQUEST.c.series_id.in_(emptied)))
    await unit.execute(delete(_SERIES).where(of_study, ~_has(_INSTANCE)))
    if doomed.is_whole_study:
        await _remove_study(unit, doomed)
    else:
        await _touch_study(unit, doomed)
    await note_removals(unit, doomed.object_names, unit.now_us, Reason.DELETED)


async def _remove_study(unit: UnitOfWork, doomed: Doomed) -> None:
    study = doomed.study
    await unit.execute(delete(_STUDY).where(_STUDY.c.id == study["id"]))
    row = {name: study[name] for name in ("study_instance_uid", "patient_id", "identified_id")}
    await unit.execute(delete(_DELETED).where(_DELETED.c.study_instance_uid == row["study_instance_uid"]))
    await unit.execute(insert(_DELETED), [row | {"deleted_us": unit.now_us}])
    unit.emit(STUDY_DELETED, row["study_instance_uid"], {"instances": len(doomed.sop_instance_uids)})


async def _touch_study(unit: UnitOfWork, doomed: Doomed) -> None:
    """What is left of the study has changed: rules look at it again when it lost input."""
    study_id, now = doomed.study["id"], unit.now_us
    current = _has(_INSTANCE, _INSTANCE.c.superseded_us.is_(None))
    outdated = update(_SERIES).where(_SERIES.c.study_id == study_id, _SERIES.c.superseded_us.is_(None))
    await unit.execute(outdated.where(~current).values(superseded_us=now))
    changed = {"changed_us": now, "has_tombstones": True} | (
        {"input_changed_us": now} if doomed.has_input else {}
    )
    await unit.execute(update(_STUDY).where(_STUDY.c.id == study_id).values(changed))
    payload = {"instances": 0, "input": doomed.has_input, "derived": []}
    unit.emit(STUDY_CHANGED, doomed.study["study_instance_uid"], payload)


def _has(table: Table, *more: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether the series has a row in `table`."""
    return exists().where(table.c.series_id == _SERIES.c.id, *more)
