"""The archive as the record sees it: Patient, ImagingStudy and Task, projected by jobs (DESIGN §5).

Each projection writes a resource only where it says something new, so a burst of instances makes one version.
Access never depends on a projection: it is decided by the study's own row. A Patient that the record holds
already is the record's; the projection makes only those that nobody has written yet.
An order that arrives after its study is looked at too: `basedOn` of the ImagingStudy follows it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from sqlalchemy import RowMapping, case, delete, func, select

from dicomweb.attributes import DicomJson, integer, items, text, values
from dicomweb.tables import DeletedStudy, Instance, Series, Study
from dicomweb.wire.dictionary import key_of
from dicomweb.worklist.shown import attributes_of
from dicomweb.worklist.state import State
from dicomweb.worklist.tables import Workitem
from fhir.interactions.authored import put_resource
from fhir.interactions.read import read_resource
from fhir.model import systems
from fhir.model.builders.datatypes import coding
from fhir.model.builders.dicom_values import (
    administrative_gender,
    fhir_date,
    fhir_date_time,
    human_names,
)
from fhir.model.builders.imaging_study import (
    InstanceFacts,
    PatientFacts,
    SeriesFacts,
    StudyFacts,
    imaging_study,
    patient,
)
from fhir.model.builders.results import TaskFacts, cancelled_task, completed_task, failed_task, open_task
from server.kernel.access import Principal
from server.kernel.clock import instant_text
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.site import Site
from server.kernel.uids import derived_id
from server.workflows.deletion.record import mark_reports
from server.workflows.endpoints import WADO_RS
from server.workflows.orders import Accession, orders_of
from server.workflows.report.graph import report_id_of
from server.workflows.study_context import persons_of, procedures_of, reasons_of

PROJECTION = Principal("system:projection", "projection")
IMAGING_STUDY_ID = "imaging-study"  # what ids of ImagingStudies are derived from, with the study's UID
LISTED_INSTANCES = 32  # a series with more is counted only: lists of thousands do not scale (FHIR-29404)

_STUDY, _SERIES = table_of(Study), table_of(Series)
_INSTANCE, _WORKITEM = table_of(Instance), table_of(Workitem)
_DELETED = table_of(DeletedStudy)


def imaging_study_id_of(study_instance_uid: str) -> str:
    """The id of the one ImagingStudy of a study."""
    return derived_id(IMAGING_STUDY_ID, study_instance_uid)


def task_id_of(workitem_uid: str) -> str:
    """The id of the one Task of a workitem."""
    return derived_id("task", workitem_uid)


async def project_study(unit: UnitOfWork, study_instance_uid: str, site: Site) -> None:
    """Write the ImagingStudy of a study, and its Patient when the record has none.

    One at a time for a study, from here to the end of the transaction: what is written of it last was also
    read last.
    """
    await unit.lock([f"project:{study_instance_uid}"])
    query = select(_STUDY).where(_STUDY.c.study_instance_uid == study_instance_uid)
    study = (await unit.execute(query)).mappings().one_or_none()
    if study is None:
        return
    attributes: DicomJson = orjson.loads(study["attributes"])
    if study["patient_id"] and await read_resource(unit.connection, "Patient", study["patient_id"]) is None:
        await put_resource(unit, patient_of_study(study, attributes), PROJECTION)
    rows = await _series_of(unit, study["id"])
    facts = _study_facts(study, attributes, [orjson.loads(row["attributes"]) for row in rows], site)
    facts = replace(
        facts,
        series=[_series_facts(row, await _instances_of(unit, row), site) for row in rows],
        based_on=await orders_of(unit.connection, study["patient_id"], accession_of(attributes)),
    )
    await put_resource(unit, imaging_study(facts), PROJECTION)
    await _unsay_deleted(unit, study_instance_uid)


async def _unsay_deleted(unit: UnitOfWork, study_instance_uid: str) -> None:
    """A study that was deleted and is stored again: its reports need not say any more that it is gone."""
    gone = delete(_DELETED).where(_DELETED.c.study_instance_uid == study_instance_uid)
    if (await unit.execute(gone)).rowcount:
        study = (study_instance_uid, imaging_study_id_of(study_instance_uid))
        await mark_reports(unit, study, PROJECTION, None)


async def project_task(unit: UnitOfWork, workitem_uid: str) -> None:
    """Write the Task of a workitem, in the caller's transaction; of a stored study's, for its patient.

    One at a time for a workitem, as with studies.
    """
    await unit.lock([f"project-task:{workitem_uid}"])
    columns = [column for column in _WORKITEM.c if column.name != "patient_id"]
    of_study = case((_STUDY.c.id.is_not(None), _STUDY.c.patient_id), else_=_WORKITEM.c.patient_id)
    query = (
        select(*columns, of_study.label("patient_id"))
        .outerjoin(_STUDY, _STUDY.c.study_instance_uid == _WORKITEM.c.study_instance_uid)
        .where(_WORKITEM.c.workitem_uid == workitem_uid)
    )
    workitem = (await unit.execute(query)).mappings().one_or_none()
    if workitem is not None:
        await put_resource(unit, task_of(workitem), PROJECTION)


def task_of(workitem: RowMapping) -> dict[str, object]:
    """The Task that says how a workitem stands."""
    facts = task_facts(workitem)
    match State(workitem["state"]):
        case State.SCHEDULED:
            return open_task(facts, "requested")
        case State.IN_PROGRESS:
            return open_task(facts, "in-progress")
        case State.COMPLETED if workitem["attempt"] == 0:  # by an outside performer
            return open_task(facts, "completed")
        case State.COMPLETED:
            return completed_task(facts, report_id_of(workitem["study_instance_uid"], workitem["model_name"]))
        case State.CANCELED:
            return _ended_without_result(workitem, facts)


def task_facts(workitem: RowMapping | Mapping[str, Any]) -> TaskFacts:
    """What a Task says of its workitem, whatever its state."""
    return TaskFacts(
        id=task_id_of(workitem["workitem_uid"]),
        workitem_uid=workitem["workitem_uid"],
        imaging_study_id=imaging_study_id_of(study) if (study := workitem["study_instance_uid"]) else None,
        authored_on=instant_text(workitem["scheduled_us"]),
        last_modified=instant_text(
            workitem["ended_us"] or workitem["started_us"] or workitem["scheduled_us"]
        ),
        description=_description(workitem),
        patient_id=workitem["patient_id"],
        priority={"HIGH": "stat", "MEDIUM": "routine", "LOW": "routine"}[workitem["priority"]],
    )


def _description(workitem: RowMapping | Mapping[str, Any]) -> str:
    """What is to be done, in a line: by the engine, or as its label says."""
    if workitem["requested_by"] is not None:
        return _line(study_text(attributes_of(workitem), "ProcedureStepLabel")) or "Workitem"
    return f"Analysis by {workitem['model_name']} {workitem['model_version']}"


def _line(text: str) -> str:
    """A text of DICOM as a line that FHIR takes: without control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _ended_without_result(workitem: RowMapping, facts: TaskFacts) -> dict[str, object]:
    reason = _line(workitem["reason_text"] or workitem["reason_meaning"] or "") or "No reason was given."
    if workitem["cancel_requested_us"] is not None:
        return cancelled_task(facts, reason)
    system = systems.OF_SCHEME.get(workitem["reason_scheme"] or "")
    meaning = _line(workitem["reason_meaning"] or "") or None
    return failed_task(facts, reason, coding(system, workitem["reason_code"], meaning))


async def _series_of(unit: UnitOfWork, study_id: int) -> Sequence[RowMapping]:
    """The current series of a study, in the order in which they came."""
    current = (_INSTANCE.c.series_id == _SERIES.c.id) & _INSTANCE.c.superseded_us.is_(None)
    counted = (
        select(_SERIES, func.count(_INSTANCE.c.id).label("instances"))
        .join(_INSTANCE, current)
        .where(_SERIES.c.study_id == study_id)
        .group_by(_SERIES.c.id)
        .order_by(_SERIES.c.id)
    )
    return (await unit.execute(counted)).mappings().all()


async def _instances_of(unit: UnitOfWork, series: RowMapping) -> list[InstanceFacts]:
    if series["instances"] > LISTED_INSTANCES:
        return []
    c = _INSTANCE.c
    query = (
        select(c.sop_instance_uid, c.sop_class_uid, c.instance_number.label("number"))
        .where(c.series_id == series["id"], c.superseded_us.is_(None))
        .order_by(c.instance_number, c.sop_instance_uid)
    )
    return [InstanceFacts(**row) for row in (await unit.execute(query)).mappings()]


def patient_of_study(study: RowMapping, attributes: DicomJson) -> dict[str, object]:
    """The Patient as a study names it."""
    return patient(_patient_facts(study, attributes))


def _patient_facts(study: RowMapping, attributes: DicomJson) -> PatientFacts:
    return PatientFacts(
        id=study["patient_id"],
        identifiers=[(study["patient_system"], study["patient_value"])],
        names=human_names(_person_name(attributes)),
        gender=administrative_gender(study_text(attributes, "PatientSex")),
        birth_date=fhir_date(study_text(attributes, "PatientBirthDate")),
    )


def _study_facts(
    study: RowMapping, attributes: DicomJson, series: Sequence[DicomJson], site: Site
) -> StudyFacts:
    """What a study says of itself; `series` are the attributes of each."""
    accession = accession_of(attributes)
    return StudyFacts(
        id=imaging_study_id_of(study["study_instance_uid"]),
        study_instance_uid=study["study_instance_uid"],
        patient_id=study["patient_id"],
        series=(),
        accession_number=accession.number if accession else None,
        accession_system=accession.system if accession else None,
        started=_started(attributes, "StudyDate", "StudyTime", site),
        description=study_text(attributes, "StudyDescription") or None,
        endpoint_ids=[WADO_RS],
        procedures=procedures_of(attributes, series),
        reasons=reasons_of(attributes, series),
        referrer=next(iter(persons_of(attributes, "ReferringPhysicianName")), None),
        interpreters=persons_of(attributes, "NameOfPhysiciansReadingStudy"),
    )


def _series_facts(series: RowMapping, instances: Sequence[InstanceFacts], site: Site) -> SeriesFacts:
    attributes: DicomJson = orjson.loads(series["attributes"])
    return SeriesFacts(
        series_instance_uid=series["series_instance_uid"],
        number_of_instances=series["instances"],
        modality=series["modality"] or None,
        number=integer(attributes, key_of("SeriesNumber")),
        description=study_text(attributes, "SeriesDescription") or None,
        body_part_examined=study_text(attributes, "BodyPartExamined") or None,
        started=_started(attributes, "SeriesDate", "SeriesTime", site),
        instances=instances,
        laterality=study_text(attributes, "Laterality") or None,
        performers=persons_of(attributes, "PerformingPhysicianName", "OperatorsName"),
    )


def accession_of(attributes: DicomJson) -> Accession | None:
    """The accession number of a study; None: it has none. Its issuer counts when it is stated by an OID."""
    number = study_text(attributes, "AccessionNumber")
    if not number:
        return None
    for item in items(attributes, key_of("IssuerOfAccessionNumberSequence")):
        if study_text(item, "UniversalEntityIDType") == "ISO" and (
            oid := study_text(item, "UniversalEntityID")
        ):
            return Accession(number, f"urn:oid:{oid}")
    return Accession(number, None)


def _started(attributes: DicomJson, date: str, time: str, site: Site) -> str | None:
    return fhir_date_time(
        study_text(attributes, date),
        study_text(attributes, time),
        utc_offset=study_text(attributes, "TimezoneOffsetFromUTC") or None,
        timezone=site.timezone,
    )


def study_text(attributes: DicomJson, keyword: str) -> str:
    """The text of an attribute, by its keyword; "" when absent."""
    return text(attributes, key_of(keyword))


def _person_name(attributes: DicomJson) -> str | None:
    """Patient's Name as a PN value, its groups joined as in the data set (PS3.5 6.2.1)."""
    found = values(attributes, key_of("PatientName"))
    if not found or not isinstance(found[0], dict):
        return None
    return "=".join(found[0].get(group, "") for group in ("Alphabetic", "Ideographic", "Phonetic"))
