"""Whose a workitem from outside is (DESIGN §5): the patient of the stored studies it names, else its own.

Who is confined to patients names only stored studies of theirs: what is not stored and what is another's are
refused in the same words. To anybody, a study whose patient denies it is as if it were not stored.
"""

from collections.abc import Sequence

from sqlalchemy import select

from dicomweb.reach import within_reach
from dicomweb.store.identity import demographics, patient_identifier
from dicomweb.tables import Study
from dicomweb.worklist.dicom_json import DicomJson
from server.kernel.access import Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, Forbidden
from server.kernel.patients import LinkState, link_patient
from server.kernel.rows import table_of
from server.kernel.site import Site

MAX_STUDIES = 500  # that one workitem may name; below every database's limit of bound values

_STUDY = table_of(Study)


class PatientDiffers(Fault):
    """The workitem names another patient than its studies, or studies of several."""


class TooManyStudies(Fault):
    """The workitem names more studies than one step is about."""


async def patient_of(
    unit: UnitOfWork, data_set: DicomJson, studies: Sequence[str], reach: Reach, site: Site
) -> str | None:
    """The FHIR Patient id of a workitem that names these studies; None: nobody's, or not known here.

    Raises:
        Forbidden: it is, or may be, of a patient out of reach.
        PatientDiffers: it is of two patients.
    """
    if len(studies) > MAX_STUDIES:
        raise TooManyStudies(f"A workitem names at most {MAX_STUDIES} studies.")
    c = _STUDY.c
    named = c.study_instance_uid.in_(studies)
    query = select(c.study_instance_uid, c.patient_id).where(named, within_reach(reach))
    stored = {row.study_instance_uid: row.patient_id for row in (await unit.execute(query)).all()}
    identifier = patient_identifier(data_set, site)
    link = await link_patient(unit, identifier, demographics(data_set), create=False)
    if reach.is_confined:
        _require_within(reach, [stored.get(uid) for uid in studies] or [link.patient_id])
    found = {patient_id for patient_id in stored.values() if patient_id is not None}
    if identifier is not None and link.state is not LinkState.CONFLICT and found:
        found.add(link.patient_id or "")
    if len(found) > 1:
        raise PatientDiffers(
            "The patient is not that of the studies named, or these are of several patients."
        )
    if stored and None in stored.values():
        return None
    return next(iter(found), link.patient_id)


def _require_within(reach: Reach, patient_ids: Sequence[str | None]) -> None:
    if not all(reach.includes(patient_id) for patient_id in patient_ids):
        raise Forbidden("The token opens no workitems of this patient.")
