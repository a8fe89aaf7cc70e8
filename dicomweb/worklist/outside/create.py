"""Create Workitem (PS3.18 §11.4, PS3.4 CC.2.5).

A workitem that names a model of the engine is one of its queue, as if a rule had wanted it; its study counts
as told settled (DESIGN §2). Each is a lineage of its own: its result supersedes no other's.
"""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sqlalchemy import insert, select

from dicomweb.worklist.change import WORKITEM, Act, announce, audit
from dicomweb.worklist.dicom_json import DicomJson
from dicomweb.worklist.instants import zone_of
from dicomweb.worklist.outside.columns import Planned, planned_columns, put_keys, sent_columns
from dicomweb.worklist.outside.data_set import has_value
from dicomweb.worklist.outside.engine import Assignment, studies_of
from dicomweb.worklist.outside.whose import patient_of
from dicomweb.worklist.state import DuplicateWorkitem, State
from server.kernel.access import Principal, Reach
from server.kernel.audit import Action
from server.kernel.database import UnitOfWork
from server.kernel.site import Site
from server.kernel.tracing import current_traceparent

RULE_PREFIX = "ups:"  # of the lineage of a workitem from outside; no routing rule is called so
PERFORMERS = ("ScheduledStationNameCodeSequence", "ScheduledHumanPerformersSequence")


@dataclass(frozen=True, slots=True)
class NewFromOutside:
    """A workitem that somebody wants created; `data_set` satisfies Req. Type N-CREATE."""

    workitem_uid: str
    data_set: DicomJson
    assignment: Assignment | None  # the engine's; None: it is an outside performer's
    principal: Principal
    reach: Reach


async def create(unit: UnitOfWork, new: NewFromOutside, site: Site) -> None:
    """Put a workitem on the worklist as SCHEDULED.

    Raises:
        DuplicateWorkitem: there is one of that UID.
        Forbidden: it is of a patient out of reach.
        Fault: its patient or its studies contradict each other, or it is too large.
    """
    await unit.lock([f"workitem-uid:{new.workitem_uid}"])
    known = select(WORKITEM.c.pk).where(WORKITEM.c.workitem_uid == new.workitem_uid)
    patient_id = await patient_of(unit, new.data_set, studies_of(new.data_set), new.reach, site)
    if (await unit.execute(known)).first() is not None:
        raise DuplicateWorkitem
    row = _row(unit, new, zone_of(site)) | {"patient_id": patient_id}
    pk = (await unit.execute(insert(WORKITEM).values(**row).returning(WORKITEM.c.pk))).scalar_one()
    await put_keys(unit, pk, new.data_set, zone_of(site))
    is_assigned = any(has_value(new.data_set, keyword) for keyword in PERFORMERS)
    announce(unit, row, State.SCHEDULED, assigned=is_assigned)
    audit(unit, row, Act(new.principal, "ups-create", Action.CREATE))


def _row(unit: UnitOfWork, new: NewFromOutside, zone: tzinfo) -> dict[str, Any]:
    return {
        **sent_columns(new.data_set),
        **planned_columns(new.data_set, Planned(new.assignment, zone, unit.now_us)),
        "workitem_uid": new.workitem_uid,
        "state": State.SCHEDULED.value,
        "rule": f"{RULE_PREFIX}{new.workitem_uid}",
        "run": 1,
        "output": "[]",
        "attempt": 0,
        "progress": 0,
        "scheduled_us": unit.now_us,
        "changed_us": unit.now_us,
        "requested_by": new.principal.id,
        "traceparent": current_traceparent(),
    }
