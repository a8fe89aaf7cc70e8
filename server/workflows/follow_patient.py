"""What the record says of a study follows the study to another Patient, after a merge or its end (DESIGN §5).

ImagingStudy and Tasks are projected again. The reports that the engine published, and every Observation that
ever belonged to one, get the study's patient as subject: after an unmerge the findings of one person must not
stay in the record of the other. What clients wrote says what they said. The reports of a deleted study, and
its cancelled ImagingStudy, follow in the same way. Which act asks for it: `server/workflows/record_jobs.py`.
"""

from dataclasses import dataclass

from sqlalchemy import select

from dicomweb.tables import DeletedStudy, Study
from dicomweb.worklist.tables import Workitem
from fhir.interactions.rewrite import hold_resource, rewrite
from fhir.model.builders.datatypes import reference
from fhir.model.json_codec import encode_json
from fhir.search.value import Surroundings
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.workflows.projection import PROJECTION, imaging_study_id_of, project_task
from server.workflows.report.published import published_of

_STUDY, _DELETED, _WORKITEM = table_of(Study), table_of(DeletedStudy), table_of(Workitem)


async def project_tasks_of(unit: UnitOfWork, study_instance_uid: str) -> None:
    """Bring the Tasks of a study's workitems up to date."""
    c = _WORKITEM.c
    query = select(c.workitem_uid).where(c.study_instance_uid == study_instance_uid).order_by(c.pk)
    for workitem_uid in (await unit.execute(query)).scalars().all():
        await project_task(unit, workitem_uid)


async def move_reports(unit: UnitOfWork, study_instance_uid: str, around: Surroundings) -> None:
    """Give the reports and Observations of a study the study's patient as subject."""
    await unit.lock([f"reports:{study_instance_uid}"])  # whose patient is written last was read last
    whose = await _patient_of(unit, study_instance_uid)
    if whose is None:
        return
    subject = None if whose.patient_id is None else encode_json(reference("Patient", whose.patient_id))
    moving = await published_of(unit, study_instance_uid)
    if whose.is_deleted and subject is not None:
        moving.append(("ImagingStudy", imaging_study_id_of(study_instance_uid)))
    for resource_type, resource_id in moving:
        held = await hold_resource(unit, resource_type, resource_id)
        if held is not None:
            await rewrite(unit, held, {"subject": subject}, PROJECTION, around)


@dataclass(frozen=True, slots=True)
class _Whose:
    """Whose a study is, or was until it was deleted; None: nobody's."""

    patient_id: str | None
    is_deleted: bool


async def _patient_of(unit: UnitOfWork, study_instance_uid: str) -> _Whose | None:
    """Whose the study is; None: it is not known here."""
    for table in (_STUDY, _DELETED):
        query = select(table.c.patient_id).where(table.c.study_instance_uid == study_instance_uid)
        if row := (await unit.execute(query)).first():
            return _Whose(row.patient_id, is_deleted=table is _DELETED)
    return None
