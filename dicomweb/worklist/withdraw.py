"""Open workitems whose input is deleted end: nobody shall begin, or go on, with images that are gone."""

from collections.abc import Set

from sqlalchemy import RowMapping, select

from dicomweb.worklist.cancel import request_cancel
from dicomweb.worklist.change import WORKITEM
from dicomweb.worklist.codes import OBJECT_SET_INCOMPLETE
from dicomweb.worklist.state import State
from dicomweb.worklist.workitem import Reason, decode_series
from server.kernel.access import EVERYONE, Principal
from server.kernel.database import UnitOfWork

INPUT_DELETED = Reason(OBJECT_SET_INCOMPLETE, "The images to be analysed were deleted.")
OPEN_STATES = (State.SCHEDULED.value, State.IN_PROGRESS.value)


async def withdraw(
    unit: UnitOfWork, study_instance_uid: str, deleted: Set[str] | None, principal: Principal
) -> None:
    """Cancel SCHEDULED workitems of a study that name a deleted SOP Instance UID; ask performers to stop.

    `deleted` None: the study is gone, and so every open workitem of it.
    """
    c = WORKITEM.c
    still_open = select(WORKITEM).where(c.study_instance_uid == study_instance_uid, c.state.in_(OPEN_STATES))
    rows = (await unit.execute(still_open.order_by(c.pk).with_for_update())).mappings().all()
    for row in rows:
        if deleted is None or not deleted.isdisjoint(_input_of(row)):
            await request_cancel(unit, row["workitem_uid"], EVERYONE, principal, INPUT_DELETED)


def _input_of(row: RowMapping) -> list[str]:
    return [uid for series in decode_series(row["input"]) for uid in series.sop_instance_uids]
