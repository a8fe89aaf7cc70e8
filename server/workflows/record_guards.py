"""What the archive rests on in the record, and no client may therefore delete there."""

from collections.abc import Mapping
from typing import NoReturn

from sqlalchemy import or_, select

from dicomweb.tables import Study
from fhir.interactions.door import DeletionGuard
from fhir.interactions.read import read_resource
from fhir.model import systems
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.rows import table_of
from server.kernel.tables import PatientMerge

_STUDY, _MERGE = table_of(Study).c, table_of(PatientMerge).c


class StillNeeded(Fault):
    """The archive holds what this resource stands for."""

    kind = FaultKind.CONFLICT


async def keep_patient(unit: UnitOfWork, patient_id: str) -> None:
    """Refuse to delete a Patient who has studies, or whom a merge names.

    Raises:
        StillNeeded: so it is.
    """
    whose = or_(_STUDY.patient_id == patient_id, _STUDY.identified_id == patient_id)
    if (await unit.execute(select(_STUDY.id).where(whose).limit(1))).first() is not None:
        _refuse("Studies of this Patient are stored: they have to be deleted first.")
    named = or_(_MERGE.source == patient_id, _MERGE.target == patient_id)
    if (await unit.execute(select(_MERGE.source).where(named).limit(1))).first() is not None:
        _refuse("This Patient is part of a merge: it has to be undone first.")


async def keep_imaging_study(unit: UnitOfWork, imaging_study_id: str) -> None:
    """Refuse to delete the ImagingStudy of a stored study, which the archive would write again.

    Raises:
        StillNeeded: so it is.
    """
    resource = await read_resource(unit.connection, "ImagingStudy", imaging_study_id) or {}
    uids = [
        identifier["value"].removeprefix("urn:oid:")
        for identifier in resource.get("identifier", ())
        if identifier.get("system") == systems.DICOM_UID and identifier.get("value")
    ]
    if uids:
        stored = select(_STUDY.id).where(_STUDY.study_instance_uid.in_(uids)).limit(1)
        if (await unit.execute(stored)).first() is not None:
            _refuse("The study is stored: it is deleted by DICOMweb, and its ImagingStudy follows.")


def _refuse(why: str) -> NoReturn:
    raise StillNeeded(why)


DELETION_GUARDS: Mapping[str, DeletionGuard] = {
    "Patient": keep_patient,
    "ImagingStudy": keep_imaging_study,
}
