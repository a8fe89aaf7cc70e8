"""Where the instances of a resource lie, for one caller (PS3.18 10.4.1; DESIGN §8).

A superseded instance is found by its own UID only. What is out of reach is not found.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from hashlib import sha256
from typing import Any, NamedTuple

from sqlalchemy import Row, Select, bindparam, func, select

from dicomweb.overlay.load import NONE, Overlays, load_overlays
from dicomweb.reach import UNLESS_DENIED, WITHIN_PATIENTS, denials_of, opened_by, patients_of
from dicomweb.tables import Instance, InstanceMetadata, Series, Study
from dicomweb.wire.instance import is_uid
from dicomweb.wire.overlay import Overlay
from server.kernel.access import Reach
from server.kernel.database import Database
from server.kernel.faults import NotFound
from server.kernel.look_up import LookUp
from server.kernel.object_store import StoredRange
from server.kernel.rows import table_of

_STUDY, _SERIES = table_of(Study), table_of(Series)
_INSTANCE, _METADATA = table_of(Instance), table_of(InstanceMetadata)

ABSENT = "There is no such study, series or instance."
DELETED = "It was deleted while it was asked for."
KEPT_NARROWED = 200  # statements of granular scopes: a viewer asks by the same ones hundreds of times


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
    file_xxh3: bytes | None  # None: received before reads were proven by it
    stored: StoredRange
    overlay: Overlay | None = None  # None: it is shown as sent

    @property
    def version(self) -> bytes:
        """What tells apart what is shown of this instance at different times."""
        if self.overlay is None:
            return self.file_sha256
        return sha256(self.file_sha256 + self.overlay.digest).digest()


@dataclass(frozen=True, slots=True)
class InstanceDetail:
    """What frames and bulk data need: columns of `InstanceMetadata`."""

    pixel_layout: bytes | None
    bulk_values: str | None


async def locate(database: Database, resource: Resource, reach: Reach) -> list[Located]:
    """Every instance of `resource`, series by series in the order of their numbers.

    Raises:
        NotFound: there is none, or none within reach.
    """
    rows, overlays = await _rows(database, resource, reach, is_detailed=False)
    return [_located(row, overlays) for row in rows]


async def locate_with_detail(
    database: Database, resource: Resource, reach: Reach
) -> tuple[Located, InstanceDetail]:
    """One instance, and where its frames and bulk values lie in its file.

    Raises:
        NotFound: it is not there, or not within reach.
    """
    (row, *_), overlays = await _rows(database, resource, reach, is_detailed=True)
    return _located(row, overlays), InstanceDetail(row.pixel_layout, row.bulk_values)


async def _rows(
    database: Database, resource: Resource, reach: Reach, *, is_detailed: bool
) -> tuple[Sequence[Any], Overlays]:
    kind = _Kind(
        resource.series is not None,
        resource.instance is not None,
        reach.is_confined and not reach.narrowed,
        reach.denials is not None,
        is_detailed,
    )
    named = {"study": resource.study, "series": resource.series, "instance": resource.instance}
    given = {name: uid for name, uid in named.items() if uid is not None}
    if not all(map(is_uid, given.values())):  # names nothing, and may be text that the database does not take
        raise NotFound(ABSENT)
    values, overlays = given | patients_of(reach) | denials_of(reach), NONE
    look_up = _narrowed_look_up(kind, replace(reach, denials=None)) if reach.narrowed else _look_up(kind)
    rows = await database.look_up(look_up, values)
    if any(row.overlaid_us is not None for row in rows):
        async with database.read() as connection:  # both as of one instant
            rows = (await connection.execute(look_up.select, values)).all()
            overlays = await load_overlays(connection, [resource.study])
    if not rows:
        raise NotFound(ABSENT)
    return rows, overlays


class _Kind(NamedTuple):
    """What tells the statements apart."""

    names_series: bool
    names_instance: bool
    is_confined: bool
    is_denied: bool  # whether something is
    is_detailed: bool


@cache
def _look_up(kind: _Kind) -> LookUp:
    """The statement; built once: that costs more than to execute it."""
    statement = _SELECT.where(_OF_INSTANCE if kind.names_instance else _CURRENT)
    if kind.names_series:
        statement = statement.where(_OF_SERIES)
    if kind.is_confined:
        statement = statement.where(WITHIN_PATIENTS)
    if kind.is_denied:
        statement = statement.where(UNLESS_DENIED)
    if kind.is_detailed:
        columns = (_METADATA.c.pixel_layout, _METADATA.c.bulk_values)
        statement = statement.add_columns(*columns).join(_METADATA, _METADATA.c.instance_id == _INSTANCE.c.id)
    return LookUp(statement)


@lru_cache(maxsize=KEPT_NARROWED)
def _narrowed_look_up(kind: _Kind, reach: Reach) -> LookUp:
    """The same for a reach that criteria narrow, with its values."""
    return LookUp(_look_up(kind).select.where(opened_by(reach)))


_SELECT = (
    select(
        _INSTANCE.c.id.label("key"),
        _STUDY.c.patient_id,
        _STUDY.c.study_instance_uid,
        _SERIES.c.series_instance_uid,
        _INSTANCE.c.sop_instance_uid,
        _INSTANCE.c.transfer_syntax_uid,
        _INSTANCE.c.file_sha256,
        _INSTANCE.c.file_xxh3,
        _INSTANCE.c.object_name,
        _INSTANCE.c.object_offset,
        _INSTANCE.c.object_length,
        func.coalesce(_STUDY.c.overlaid_us, _SERIES.c.overlaid_us).label("overlaid_us"),
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


async def read_details(database: Database, keys: Sequence[int]) -> dict[int, InstanceDetail]:
    """Where the frames and bulk values of instances lie, by their key; raises as `read_metadata`."""
    rows = await read_metadata(database, keys, ("pixel_layout", "bulk_values"))
    return {key: InstanceDetail(row.pixel_layout, row.bulk_values) for key, row in rows.items()}


async def read_packed_metadata(database: Database, keys: Sequence[int]) -> dict[int, bytes]:
    """The packed DICOM JSON of instances, by their key; raises as `read_metadata`."""
    rows = await read_metadata(database, keys, ("dicom_json",))
    return {key: row.dicom_json for key, row in rows.items()}


async def read_metadata(database: Database, keys: Sequence[int], columns: tuple[str, ...]) -> dict[int, Any]:
    """Rows of `InstanceMetadata`, by the key of their instance.

    Raises:
        NotFound: some were deleted since they were located.
    """
    if len(keys) == 1:
        rows = await database.look_up(_metadata_of_one(columns), {"key": keys[0]})
    else:
        async with database.read() as connection:
            rows = (await connection.execute(_metadata_of_many(columns), {"keys": keys})).all()
    if len(rows) < len(keys):
        raise NotFound(DELETED)
    return {row.instance_id: row for row in rows}


@cache
def _metadata_of_one(columns: tuple[str, ...]) -> LookUp:
    owner = _METADATA.c.instance_id
    return LookUp(select(owner, *(_METADATA.c[name] for name in columns)).where(owner == bindparam("key")))


@cache
def _metadata_of_many(columns: tuple[str, ...]) -> Select[Any]:
    owner = _METADATA.c.instance_id
    return select(owner, *(_METADATA.c[name] for name in columns)).where(
        owner.in_(bindparam("keys", expanding=True))
    )


def _located(row: Row[Any], overlays: Overlays) -> Located:
    return Located(
        key=row.key,
        patient_id=row.patient_id,
        study_instance_uid=row.study_instance_uid,
        series_instance_uid=row.series_instance_uid,
        sop_instance_uid=row.sop_instance_uid,
        transfer_syntax_uid=row.transfer_syntax_uid,
        file_sha256=row.file_sha256,
        file_xxh3=row.file_xxh3,
        stored=StoredRange(row.object_name, row.object_offset, row.object_length),
        overlay=overlays.of(row.study_instance_uid, row.series_instance_uid),
    )
