"""What a deletion takes away, read under the study's lock."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, RowMapping, func, select

from dicomweb.attributes import Level
from dicomweb.reach import within_reach
from dicomweb.retrieve.locate import Resource
from dicomweb.store.classes import is_derived
from dicomweb.store.instances import Origin
from dicomweb.store.replace import is_version_of
from dicomweb.tables import Instance, Series, Study
from server.kernel.access import Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import NotFound
from server.kernel.rows import table_of

_STUDY, _SERIES, _INSTANCE = table_of(Study), table_of(Series), table_of(Instance)


@dataclass(frozen=True, slots=True)
class Doomed:
    """A study, series or instance that is there and about to go, with all below it."""

    level: Level
    uid: str
    study: RowMapping  # its row of the study table
    criterion: ColumnElement[bool]  # its instances, among the rows of the instance table
    sop_instance_uids: frozenset[str]
    object_names: frozenset[str]
    is_whole_study: bool  # nothing of the study is left
    has_input: bool  # for analysis


async def find_doomed(unit: UnitOfWork, resource: Resource, reach: Reach) -> Doomed:
    """Everything of `resource`, superseded and replaced too. The caller holds the lock `study:<UID>`.

    The study's row is held until the transaction ends: whose the study is stays so.

    Raises:
        NotFound: there is none, or none within reach.
    """
    c = _STUDY.c
    of_uid = select(_STUDY).where(c.study_instance_uid == resource.study, within_reach(reach))
    study = (await unit.execute(of_uid.with_for_update())).mappings().one_or_none()
    rows = [] if study is None else (await unit.execute(_select(study["id"], resource))).all()
    if study is None or not rows:
        raise NotFound("There is no such study, series or instance.")
    counted = select(func.count()).where(_INSTANCE.c.study_id == study["id"])
    level, uid, criterion = _aimed_at(resource, rows)
    return Doomed(
        level,
        uid,
        study,
        criterion,
        frozenset(row.sop_instance_uid for row in rows),
        frozenset(row.object_name for row in rows),
        is_whole_study=(await unit.execute(counted)).scalar_one() == len(rows),
        has_input=any(map(_is_input, rows)),
    )


def _select(study_id: int, resource: Resource) -> Any:
    c = _INSTANCE.c
    query = (
        select(
            c.id,
            c.study_id,
            c.series_id,
            c.sop_instance_uid,
            c.sop_class_uid,
            c.origin,
            c.object_name,
            _SERIES.c.modality,
        )
        .join(_SERIES, _SERIES.c.id == c.series_id)
        .where(c.study_id == study_id)
    )
    if resource.series is not None:
        query = query.where(_SERIES.c.series_instance_uid == resource.series)
    return query if resource.instance is None else query.where(is_version_of(resource.instance))


def _aimed_at(resource: Resource, rows: Sequence[Row[Any]]) -> tuple[Level, str, ColumnElement[bool]]:
    c = _INSTANCE.c
    if resource.instance is not None:
        return Level.INSTANCE, resource.instance, c.id.in_([row.id for row in rows])
    if resource.series is not None:
        return Level.SERIES, resource.series, c.series_id == rows[0].series_id
    return Level.STUDY, resource.study, c.study_id == rows[0].study_id


def _is_input(row: Row[Any]) -> bool:
    return row.origin == Origin.RECEIVED.value and not is_derived(row.modality, row.sop_class_uid)
