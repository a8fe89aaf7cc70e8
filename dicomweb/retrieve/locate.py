"""Where the instances of a resource lie, for one caller (PS3.18 10.4.1; DESIGN §8).

A superseded instance is found by its own UID only. What is out of reach is not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, bindparam, select

from dicomweb.reach import within_reach
from dicomweb.tables import Instance, InstanceMetadata, Series, Study
from server.kernel.access import Reach
from server.kernel.database import Database
from server.kernel.faults import NotFound
from server.kernel.object_store import StoredRange
from server.kernel.rows import table_of

_STUDY, _SERIES = table_of(Study), table_of(Series)
_INSTANCE, _METADATA = table_of(Instance), table_of(InstanceMetadata)

DELETED = "It was deleted while it was asked for."


@dataclass(frozen=True, slots=True)
class Resource:
    """A study, series or instance by the UIDs of its path."""

    study: str
    series: str | None = None
    instance: str | None = None


@dataclass(frozen=True, slots=True)
class Located:
    """One stored instance."""

    key: int
    patient_id: str | None
    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    file_sha256: bytes
    stored: StoredRange


@dataclass(frozen=True, slots=True)
class InstanceDetail:
    """What frames and bulk data need: columns of `InstanceMetadata`."""

    pixel_layout: bytes | None
    bulk_values: str | None


def select_located(resource: Resource, reach: Reach) -> Select[Any]:
    """The instances of `resource` within `reach`, series by series in the order of their numbers."""
    statement = _SELECT.where(within_reach(reach))
    if resource.series is not None:
        statement = statement.where(_OF_SERIES)
    statement = statement.where(_CURRENT if resource.instance is None else _OF_INSTANCE)
    return statement.params(study=resource.study, series=resource.series, instance=resource.instance)


async def locate(database: Database, resource: Resource, reach: Reach) -> list[Located]:
    """Every instance of `resource`.

    Raises:
        NotFound: there is none, or none within reach.
    """
    async with database.read() as connection:
        rows = (await connection.execute(select_located(resource, reach))).all()
    if not rows:
        raise NotFound("There is no such study, series or instance.")
    return [_located(row) for row in rows]


_SELECT = (  # built once: that costs more than to execute it
    select(
        _INSTANCE.c.id.label("key"),
        _STUDY.c.patient_id,
        _STUDY.c.study_instance_uid,
        _SERIES.c.series_instance_uid,
        _INSTANCE.c.sop_instance_uid,
        _INSTANCE.c.transfer_syntax_uid,
        _INSTANCE.c.file_sha256,
        _INSTANCE.c.object_name,
        _INSTANCE.c.object_offset,
        _INSTANCE.c.object_length,
    )
    .join_from(_INSTANCE, _SERIES, _INSTANCE.c.series_id == _SERIES.c.id)
    .join(_STUDY, _INSTANCE.c.study_id == _STUDY.c.id)
    .where(_STUDY.c.study_instance_uid == bindparam("study"))
    .order_by(
        _INSTANCE.c.series_id,
        _INSTANCE.c.instance_number.is_(None),
        _INSTANCE.c.instance_number,
        _INSTANCE.c.id,
    )
)
_OF_SERIES = _SERIES.c.series_instance_uid == bindparam("series")
_OF_INSTANCE = _INSTANCE.c.sop_instance_uid == bindparam("instance")
_CURRENT = _INSTANCE.c.superseded_us.is_(None)


async def read_detail(database: Database, located: Located) -> InstanceDetail:
    """Where the frames and bulk values of an instance lie in its file.

    Raises:
        NotFound: it was deleted since it was located.
    """
    c = _METADATA.c
    query = select(c.pixel_layout, c.bulk_values).where(c.instance_id == located.key)
    async with database.read() as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        raise NotFound(DELETED)
    return InstanceDetail(row.pixel_layout, row.bulk_values)


async def read_packed_metadata(database: Database, keys: Sequence[int]) -> dict[int, bytes]:
    """The packed DICOM JSON of instances, by their key.

    Raises:
        NotFound: some were deleted since they were located.
    """
    c = _METADATA.c
    query = select(c.instance_id, c.dicom_json).where(c.instance_id.in_(keys))
    async with database.read() as connection:
        found = {row.instance_id: row.dicom_json for row in await connection.execute(query)}
    if len(found) < len(keys):
        raise NotFound(DELETED)
    return found


def _located(row: Row[Any]) -> Located:
    return Located(
        key=row.key,
        patient_id=row.patient_id,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        file_sha256=row.file_sha256,
        stored=StoredRange(row.object_name, row.object_offset, row.object_length),
    )
