"""A launch with the study that a user looks at (SMART 2.2, EHR launch; SMART Imaging Access)."""

from dataclasses import dataclass, field, replace

from sqlalchemy import select

from dicomweb.tables import Study
from server.auth.grants.context import LaunchContext
from server.auth.launches import Prepared, prepare_launch
from server.auth.users.accounts import find_user
from server.kernel.access import Principal
from server.kernel.database import Database
from server.kernel.faults import Fault, NotFound
from server.kernel.rows import table_of
from server.workflows.projection import imaging_study_id_of

_STUDY = table_of(Study)


class NotTheirStudy(Fault):
    """The study belongs to another patient than the launch, or to none."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a launch shall bring to an app."""

    client_id: str
    user_name: str | None = None  # None: whoever logs in
    patient_id: str | None = None
    study_instance_uid: str | None = None  # whose ImagingStudy stands in fhirContext, and whose patient is it
    context: LaunchContext = field(default_factory=LaunchContext)


async def prepare(database: Database, wanted: Wanted, by: Principal) -> str:
    """Keep a launch; returns its handle.

    Raises:
        NotFound: there is no such client, user or study.
        NotTheirStudy: the study is another patient's.
    """
    user_id = None if wanted.user_name is None else (await find_user(database, wanted.user_name)).id
    patient_id, context = wanted.patient_id, wanted.context
    if wanted.study_instance_uid is not None:
        patient_id = await _patient_of(database, wanted.study_instance_uid, patient_id)
        study = f"ImagingStudy/{imaging_study_id_of(wanted.study_instance_uid)}"
        shown = ({"reference": study, "type": "ImagingStudy"}, *context.fhir_context)
        context = replace(context, fhir_context=shown)
    return await prepare_launch(database, Prepared(wanted.client_id, user_id, patient_id, context), by)


async def _patient_of(database: Database, study_instance_uid: str, patient_id: str | None) -> str:
    query = select(_STUDY.c.patient_id).where(_STUDY.c.study_instance_uid == study_instance_uid)
    async with database.read() as connection:
        row = (await connection.execute(query)).first()
    if row is None:
        raise NotFound("There is no such study.")
    if row.patient_id is None or patient_id not in (None, row.patient_id):
        raise NotTheirStudy("The study is not that patient's.")
    return str(row.patient_id)
