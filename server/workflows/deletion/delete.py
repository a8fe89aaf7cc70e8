"""Delete a study, series or instance on both doors at once (DESIGN §5, Deletion).

One transaction under the study's lock: a legal hold wins; a tombstone is left; the rows go, and the objects
they lay in are to be removed at once; analyses of what is gone end; the record says so. What the engine
publishes of it afterwards is refused (`server/workflows/publish.py`).
"""

from dataclasses import dataclass

from sqlalchemy import delete as delete_from

from ai_engine.tables import SettlingStudy
from dicomweb.delete.doomed import Doomed, find_doomed
from dicomweb.delete.holds import LegalHoldInForce, require_no_hold
from dicomweb.delete.rows import remove_rows
from dicomweb.delete.tombstones import bury
from dicomweb.retrieve.locate import Resource
from dicomweb.worklist.withdraw import withdraw
from server.kernel.access import EVERYONE, Principal, Reach
from server.kernel.audit import Action, AuditEntry, Outcome
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of
from server.kernel.services import Services
from server.kernel.site import Site
from server.workflows.deletion.record import cancel_imaging_study, display_of_deleted, mark_reports
from server.workflows.projection import imaging_study_id_of, project_study

_SETTLING = table_of(SettlingStudy)


@dataclass(frozen=True, slots=True)
class Deletion:
    """What is to be deleted, by whom, and why."""

    resource: Resource
    principal: Principal
    reason: str
    reach: Reach = EVERYONE


async def delete(services: Services, deletion: Deletion) -> int:
    """Delete; returns how many instances went.

    Raises:
        NotFound: there is no such study, series or instance within reach.
        LegalHoldInForce: it must be kept.
    """
    try:
        return await services.database.transact(lambda unit: _delete(unit, deletion, services.site))
    except LegalHoldInForce:
        await services.database.record([_refused(deletion)])
        raise


async def _delete(unit: UnitOfWork, deletion: Deletion, site: Site) -> int:
    resource, principal = deletion.resource, deletion.principal
    await unit.lock([f"study:{resource.study}"])
    doomed = await find_doomed(unit, resource, deletion.reach)
    await require_no_hold(unit, resource.study)
    await bury(unit, doomed, principal, deletion.reason)
    gone = None if doomed.is_whole_study else doomed.sop_instance_uids
    await withdraw(unit, resource.study, gone, principal)
    if doomed.is_whole_study:
        await project_study(unit, resource.study, site)  # what the record has not heard of yet
        await _say_deleted(unit, deletion)
        await unit.execute(delete_from(_SETTLING).where(_SETTLING.c.study_instance_uid == resource.study))
    await remove_rows(unit, doomed)
    unit.audit(_entry(deletion, doomed))
    return len(doomed.sop_instance_uids)


async def _say_deleted(unit: UnitOfWork, deletion: Deletion) -> None:
    uid, principal = deletion.resource.study, deletion.principal
    imaging_study_id = imaging_study_id_of(uid)
    await cancel_imaging_study(unit, imaging_study_id, principal, deletion.reason)
    await mark_reports(unit, (uid, imaging_study_id), principal, display_of_deleted(unit.now_us))


def _refused(deletion: Deletion) -> AuditEntry:
    study = deletion.resource.study
    return AuditEntry(
        deletion.principal, Action.DELETE, "delete-held", "ImagingStudy", study, outcome=Outcome.MINOR_FAILURE
    )


def _entry(deletion: Deletion, doomed: Doomed) -> AuditEntry:
    return AuditEntry(
        deletion.principal,
        Action.DELETE,
        f"delete-{doomed.level.name.lower()}",
        "ImagingStudy",
        doomed.uid,
        doomed.study["patient_id"],
        occurrences=len(doomed.sop_instance_uids),
    )
