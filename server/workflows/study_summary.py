"""What routing looks at in a study, read from the archive's index."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import orjson
from sqlalchemy import RowMapping, case, select
from sqlalchemy.ext.asyncio import AsyncConnection

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
    summaries = []
    for _, group in groupby(rows, key=lambda row: row["series_instance_uid"]):
        members = [(row, orjson.loads(unpack_metadata(row["dicom_json"], ""))) for row in group]
        first, attributes = members[0]
        if first["corrected"] is not None:
            attributes = orjson.loads(first["corrected"])
        summaries.append(
            SeriesSummary(
                series_instance_uid=first["series_instance_uid"],
                modality=first["modality"],
                instances=tuple(_summary(row, dicom_json) for row, dicom_json in members),
                body_part=text(attributes, _BODY_PART) or None,
            )
        )
    return summaries


def _summary(row: RowMapping, dicom_json: dict[str, Json]) -> InstanceSummary:
    thickness = values(dicom_json, _THICKNESS)
    return InstanceSummary(
        sop_instance_uid=row["sop_instance_uid"],
        sop_class_uid=row["sop_class_uid"],
        image_type=tuple(map(str, values(dicom_json, _IMAGE_TYPE))),
        orientation_lps=_numbers(values(dicom_json, _ORIENTATION)),
        slice_thickness_mm=next(iter(_numbers(thickness)), None),
        frames=row["number_of_frames"] or 1,
        is_ours=row["origin"] == Origin.ENGINE.value,
    )


def _numbers(found: Sequence[Json]) -> tuple[float, ...]:
    """The numbers among the values; what was no number when it was sent states nothing."""
    return tuple(float(value) for value in found if isinstance(value, int | float))
