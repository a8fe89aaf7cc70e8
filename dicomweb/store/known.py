"""What the index already holds of the studies, series and instances that a Store request names."""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import BindParameter, Row, Select, bindparam, select, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from dicomweb.attributes import DicomJson
from dicomweb.store.instances import Origin
from dicomweb.tables import Instance, Series, Study, StudyOverlay, Tombstone
from dicomweb.wire.instance import ParsedInstance
from server.kernel.rows import table_of

_STUDY, _SERIES, _INSTANCE = table_of(Study), table_of(Series), table_of(Instance)
_TOMBSTONE, _OVERLAY = table_of(Tombstone), table_of(StudyOverlay)


@dataclass(frozen=True, slots=True)
class KnownOverlay:
    """What a study was sent, of what it shows otherwise."""

    sent: Mapping[str, Any]
    patient_system: str | None
    patient_value: str | None


@dataclass(slots=True)
class KnownStudy:
    """A study of the index, or one that this transaction is making."""

    id: int
    patient_system: str | None
    patient_value: str | None
    patient_id: str | None
    attributes: DicomJson
    is_new: bool = False  # this transaction is making it
    is_merged: bool = False  # the same, and its Patient is merged into another
    added: int = 0  # instances this transaction added
    has_new_input: bool = False
    derived_classes: set[str] = field(default_factory=set)  # of received objects this transaction added
    new_attributes: DicomJson = field(default_factory=dict)  # that it was not sent before
    has_tombstones: bool = False
    overlay: KnownOverlay | None = None  # None: everything it says is as sent
    has_both: bool = False  # this transaction added an instance that names the Patient of a merge


@dataclass(slots=True)
class KnownSeries:
    """A series of the index, or one that this transaction is making."""

    id: int
    study_instance_uid: str
    patient_id: str | None  # of the study
    is_superseded: bool = False
    is_packed: bool = False  # its objects lie as they should, so packing would not look at it again


@dataclass(frozen=True, slots=True)
class KnownInstance:
    """An instance of the index, or one that this transaction is adding."""

    series_instance_uid: str
    data_set_sha256: bytes
    origin: Origin
    patient_id: str | None  # of the study


@dataclass(slots=True)
class Known:
    """The rows by UID."""

    studies: dict[str, KnownStudy] = field(default_factory=dict)
    series: dict[str, KnownSeries] = field(default_factory=dict)
    instances: dict[str, KnownInstance] = field(default_factory=dict)
    deleted: Mapping[str, Set[str]] = field(default_factory=dict)  # of a study: UIDs of any level

    def is_deleted(self, study_instance_uid: str, uid: str) -> bool:
        """Whether this study, or this series or instance of it, was deleted and is not released."""
        return uid in self.deleted.get(study_instance_uid, ())


async def load_known(connection: AsyncConnection, parsed: Sequence[ParsedInstance]) -> Known:
    """Read what the index holds of everything these instances name; one statement a level."""
    studies = await connection.execute(_STUDIES, _naming({i.study_instance_uid for i in parsed}))
    series = await connection.execute(_ALL_SERIES, _naming({i.series_instance_uid for i in parsed}))
    known = await connection.execute(_INSTANCES, _naming({i.sop_instance_uid for i in parsed}))
    found = {row.study_instance_uid: _study(row) for row in studies}
    await _load_overlays(connection, found)
    return Known(
        found,
        {row.series_instance_uid: _series(row) for row in series},
        {row.sop_instance_uid: _instance(row) for row in known},
        await _deleted(connection, {i.study_instance_uid for i in parsed}, found),
    )


async def _load_overlays(connection: AsyncConnection, studies: Mapping[str, KnownStudy]) -> None:
    overlaid = {study.id: study for study in studies.values() if study.overlay is not None}
    if overlaid:
        for row in await connection.execute(_OVERLAYS, {"keys": sorted(overlaid)}):
            sent = orjson.loads(row.sent)
            overlaid[row.study_id].overlay = KnownOverlay(sent, row.sent_system, row.sent_value)


async def _deleted(
    connection: AsyncConnection, uids: Iterable[str], studies: Mapping[str, KnownStudy]
) -> Mapping[str, Set[str]]:
    """What was deleted of these studies; a study that is there, and of which nothing was, costs nothing."""
    suspect = [uid for uid in uids if uid not in studies or studies[uid].has_tombstones]
    deleted: dict[str, set[str]] = {}
    if suspect:
        for row in await connection.execute(_DELETED, _naming(suspect)):
            deleted.setdefault(row.study_instance_uid, set()).add(row.uid)
    return deleted


async def is_any_known(connection: AsyncConnection, parsed: Sequence[ParsedInstance]) -> bool:
    """Whether any of these is in the index, or anything of their studies was deleted."""
    studies = sorted({i.study_instance_uid for i in parsed})
    named = _naming({i.sop_instance_uid for i in parsed}) | {"studies": studies}
    return (await connection.execute(_ANY_INSTANCE, named)).first() is not None


def _study(row: Row[Any]) -> KnownStudy:
    return KnownStudy(
        row.id,
        row.patient_system,
        row.patient_value,
        row.patient_id,
        orjson.loads(row.attributes),
        has_tombstones=row.has_tombstones,
        overlay=None if row.overlaid_us is None else _NOT_LOADED,
    )


def _series(row: Row[Any]) -> KnownSeries:
    return KnownSeries(
        row.id,
        row.study_instance_uid,
        row.patient_id,
        row.superseded_us is not None,
        row.pack_due_us is None,
    )


def _instance(row: Row[Any]) -> KnownInstance:
    return KnownInstance(row.series_instance_uid, row.data_set_sha256, Origin(row.origin), row.patient_id)


def _naming(uids: Iterable[str]) -> dict[str, list[str]]:
    return {"uids": sorted(uids)}


_NOT_LOADED = KnownOverlay({}, None, None)

# Built once: that costs more than to execute them.
_OVERLAYS = select(_OVERLAY.c.study_id, _OVERLAY.c.sent, _OVERLAY.c.sent_system, _OVERLAY.c.sent_value).where(
    _OVERLAY.c.study_id.in_(bindparam("keys", expanding=True))
)
_UIDS: BindParameter[str] = bindparam("uids", expanding=True)
_OF_STUDIES: BindParameter[str] = bindparam("studies", expanding=True)
_STANDING = _TOMBSTONE.c.released_us.is_(None)
_ANY_INSTANCE = union_all(
    select(_INSTANCE.c.id).where(_INSTANCE.c.sop_instance_uid.in_(_UIDS)),
    select(_TOMBSTONE.c.id).where(_TOMBSTONE.c.study_instance_uid.in_(_OF_STUDIES), _STANDING),
).limit(1)
_DELETED = select(_TOMBSTONE.c.study_instance_uid, _TOMBSTONE.c.uid).where(
    _TOMBSTONE.c.study_instance_uid.in_(_UIDS), _STANDING
)
_STUDIES: Select[Any] = select(
    _STUDY.c.study_instance_uid,
    _STUDY.c.id,
    _STUDY.c.patient_system,
    _STUDY.c.patient_value,
    _STUDY.c.patient_id,
    _STUDY.c.attributes,
    _STUDY.c.has_tombstones,
    _STUDY.c.overlaid_us,
).where(_STUDY.c.study_instance_uid.in_(_UIDS))
_ALL_SERIES: Select[Any] = (
    select(
        _SERIES.c.series_instance_uid,
        _SERIES.c.id,
        _SERIES.c.superseded_us,
        _SERIES.c.pack_due_us,
        _STUDY.c.study_instance_uid,
        _STUDY.c.patient_id,
    )
    .join_from(_SERIES, _STUDY, _SERIES.c.study_id == _STUDY.c.id)
    .where(_SERIES.c.series_instance_uid.in_(_UIDS))
)
_INSTANCES: Select[Any] = (
    select(
        _INSTANCE.c.sop_instance_uid,
        _SERIES.c.series_instance_uid,
        _INSTANCE.c.data_set_sha256,
        _INSTANCE.c.origin,
        _STUDY.c.patient_id,
    )
    .join_from(_INSTANCE, _SERIES, _INSTANCE.c.series_id == _SERIES.c.id)
    .join(_STUDY, _INSTANCE.c.study_id == _STUDY.c.id)
    .where(_INSTANCE.c.sop_instance_uid.in_(_UIDS))
)
