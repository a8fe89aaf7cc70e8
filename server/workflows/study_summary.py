"""What routing looks at in a study, read from the archive's index."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import orjson
from sqlalchemy import RowMapping, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

from ai_engine.attributes import ASKABLE
from ai_engine.routing import InstanceSummary, SeriesSummary
from dicomweb.attributes import Json, text, values
from dicomweb.metadata import unpack_metadata
from dicomweb.store.instances import Origin
from dicomweb.tables import Instance, InstanceMetadata, Series, Study
from dicomweb.wire.dictionary import key_of
from server.kernel.rows import table_of

_STUDY, _SERIES = table_of(Study).c, table_of(Series).c
_INSTANCE, _METADATA = table_of(Instance).c, table_of(InstanceMetadata).c

_IMAGE_TYPE, _ORIENTATION = key_of("ImageType"), key_of("ImageOrientationPatient")
_THICKNESS, _BODY_PART = key_of("SliceThickness"), key_of("BodyPartExamined")
_SHARED, _PER_FRAME = key_of("SharedFunctionalGroupsSequence"), key_of("PerFrameFunctionalGroupsSequence")
_ASKABLE = {keyword: key_of(keyword) for keyword in sorted(ASKABLE)}
_OF_FRAMES = {key_of("EchoTime"): key_of("EffectiveEchoTime")}  # → the name it has in functional groups


@dataclass(frozen=True, slots=True)
class StudyState:
    """Whose study it is, and when it last changed."""

    study_instance_uid: str
    patient_id: str | None
    changed_us: int


async def read_state(connection: AsyncConnection, study_instance_uid: str) -> StudyState | None:
    """The state of a study; None: there is no such study."""
    query = select(_STUDY.study_instance_uid, _STUDY.patient_id, _STUDY.changed_us).where(
        _STUDY.study_instance_uid == study_instance_uid
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else StudyState(**row._mapping)


async def read_instances(connection: AsyncConnection, study_instance_uid: str) -> Sequence[RowMapping]:
    """The current instances of a study, series by series, for `summarise`."""
    query = (
        select(
            _SERIES.series_instance_uid,
            _SERIES.modality,
            _INSTANCE.sop_instance_uid,
            _INSTANCE.sop_class_uid,
            _INSTANCE.number_of_frames,
            _INSTANCE.origin,
            _METADATA.dicom_json,
            case((_SERIES.overlaid_us.is_not(None), _SERIES.attributes)).label("corrected"),
        )
        .join(table_of(Study), _STUDY.id == _INSTANCE.study_id)
        .join(table_of(Series), _SERIES.id == _INSTANCE.series_id)
        .join(table_of(InstanceMetadata), _METADATA.instance_id == _INSTANCE.id)
        .where(_STUDY.study_instance_uid == study_instance_uid, _INSTANCE.superseded_us.is_(None))
        .order_by(_SERIES.id, _INSTANCE.instance_number, _INSTANCE.sop_instance_uid)
    )
    return (await connection.execute(query)).mappings().all()


def summarise(rows: Sequence[RowMapping]) -> list[SeriesSummary]:
    """The series of a study. CPU-bound for large studies: call it in a thread."""
    groups = groupby(rows, key=lambda row: row["series_instance_uid"])
    return [_series(list(members)) for _, members in groups]


def _series(rows: Sequence[RowMapping]) -> SeriesSummary:
    """A series, its instances read one after the other: no more than one is held as a whole."""
    first = rows[0]
    attributes = orjson.loads(first["corrected"]) if first["corrected"] is not None else _parsed(first)
    return SeriesSummary(
        series_instance_uid=first["series_instance_uid"],
        modality=first["modality"],
        instances=tuple(_summary(row, _parsed(row)) for row in rows),
        body_part=text(attributes, _BODY_PART) or None,
    )


def _parsed(row: RowMapping) -> dict[str, Json]:
    dicom_json: dict[str, Json] = orjson.loads(unpack_metadata(row["dicom_json"], ""))
    return dicom_json


def _summary(row: RowMapping, stored: dict[str, Json]) -> InstanceSummary:
    dicom_json = _with_first_frame(stored) if _PER_FRAME in stored else stored
    thickness = values(dicom_json, _THICKNESS)
    return InstanceSummary(
        sop_instance_uid=row["sop_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        image_type=tuple(map(str, values(dicom_json, _IMAGE_TYPE))),
        orientation_lps=_numbers(values(dicom_json, _ORIENTATION)),
        slice_thickness_mm=next(iter(_numbers(thickness)), None),
        frames=row["number_of_frames"] or 1,
        is_ours=row["origin"] == Origin.ENGINE.value,
        attributes=_attributes(dicom_json),
    )


def _with_first_frame(dicom_json: dict[str, Json]) -> dict[str, Json]:
    """The attributes of a multi-frame image with those that its first frame has in functional groups."""
    nested: dict[str, Json] = {}
    for groups in (dicom_json.get(_SHARED), dicom_json.get(_PER_FRAME)):
        for group in ((groups or {}).get("Value") or ())[:1]:
            for macro in group.values():
                if macro.get("vr") == "SQ":
                    nested.update(next(iter(macro.get("Value") or ()), {}))
    nested |= {named: nested[in_group] for named, in_group in _OF_FRAMES.items() if in_group in nested}
    return nested | dicom_json


def _attributes(dicom_json: dict[str, Json]) -> dict[str, tuple[str | float, ...]]:
    """Those that a model may ask for, as far as they are stated."""
    return {
        keyword: stated
        for keyword, key in _ASKABLE.items()
        if key in dicom_json
        and (stated := tuple(each for each in values(dicom_json, key) if isinstance(each, str | int | float)))
    }


def _numbers(found: Sequence[Json]) -> tuple[float, ...]:
    """The numbers among the values; what was no number when it was sent states nothing."""
    return tuple(float(value) for value in found if isinstance(value, int | float))
