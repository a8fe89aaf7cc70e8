"""What the record says of a study follows the study to another Patient, after a merge or its end (DESIGN §5).

ImagingStudy and Tasks are projected again. The reports that the engine published, and every Observation that
ever belonged to one, get the study's patient as subject: after an unmerge the findings of one person must not
stay in the record of the other. What clients wrote says what they said.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from sqlalchemy import select

from dicomweb.patients import PATIENT_CHANGED
from dicomweb.tables import Study
from dicomweb.worklist.tables import Workitem
from dicomweb.worklist.workitem import decode_series
from fhir.interactions.door import surroundings_of
from fhir.interactions.read import read_resource
from fhir.interactions.rewrite import hold_resource, rewrite
from fhir.model.builders.datatypes import reference
from fhir.model.json_codec import Json, encode_json
from fhir.search.value import Surroundings
from server.kernel.database import UnitOfWork
from server.kernel.outbox import Event, consume
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.workflows.background import each_alone
from server.workflows.projection import PROJECTION, project_study, project_task
from server.workflows.report.graph import provenance_id_of, report_id_of

_STUDY, _WORKITEM = table_of(Study), table_of(Workitem)


async def follow_patients(services: Services) -> int:
    """Bring what the record says of studies up to date whose patient was merged or unmerged."""

    async def project(unit: UnitOfWork, study_instance_uid: str) -> None:
        await project_study(unit, study_instance_uid, services.site)

    async def move_reports(unit: UnitOfWork, study_instance_uid: str) -> None:
        await _move_reports(unit, study_instance_uid, surroundings_of(services))

    async def handle(unit: UnitOfWork, events: Sequence[Event]) -> None:
        studies = [event.subject for event in events]
        for follow in (project, _project_tasks, move_reports):
            await each_alone(unit, studies, partial(follow, unit), "follow patient")

    return await consume(services.database, "follow-patients", [PATIENT_CHANGED], handle)


async def _project_tasks(unit: UnitOfWork, study_instance_uid: str) -> None:
    c = _WORKITEM.c
    query = select(c.workitem_uid).where(c.study_instance_uid == study_instance_uid).order_by(c.pk)
    for workitem_uid in (await unit.execute(query)).scalars().all():
        await project_task(unit, workitem_uid)


async def _move_reports(unit: UnitOfWork, study_instance_uid: str, around: Surroundings) -> None:
    query = select(_STUDY.c.patient_id).where(_STUDY.c.study_instance_uid == study_instance_uid)
    patient_id = (await unit.execute(query)).scalar_one_or_none()
    subject = None if patient_id is None else encode_json(reference("Patient", patient_id))
    for resource_type, resource_id in await _published(unit, study_instance_uid):
        held = await hold_resource(unit, resource_type, resource_id)
        if held is not None:
            await rewrite(unit, held, {"subject": subject}, PROJECTION, around)


async def _published(unit: UnitOfWork, study_instance_uid: str) -> list[tuple[str, str]]:
    """Type and id of every report on the study, and of every Observation of any version of it."""
    c = _WORKITEM.c
    query = select(c.model_name, c.output).where(c.study_instance_uid == study_instance_uid).order_by(c.pk)
    found: dict[tuple[str, str], None] = {}
    for row in (await unit.execute(query)).all():
        report_id = report_id_of(study_instance_uid, row.model_name)
        found[("DiagnosticReport", report_id)] = None
        for sop_instance_uid in (uid for each in decode_series(row.output) for uid in each.sop_instance_uids):
            provenance_id = provenance_id_of(report_id, sop_instance_uid)
            provenance = await read_resource(unit.connection, "Provenance", provenance_id)
            found |= dict.fromkeys(_observations_of(provenance or {}))
    return list(found)


def _observations_of(provenance: Json) -> Iterator[tuple[str, str]]:
    for target in provenance.get("target", ()):
        resource_type, _, resource_id = target.get("reference", "").partition("/")
        if resource_type == "Observation":
            yield resource_type, resource_id
