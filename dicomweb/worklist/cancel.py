"""Requests to cancel a workitem, by somebody who does not perform it (PS3.4 CC.2.2, PS3.18 §11.8)."""

from sqlalchemy import RowMapping

from dicomweb.worklist.change import CANCEL_REQUESTED, WORKITEM, Act, change, change_state, event_facts, hold
from dicomweb.worklist.reach import within
from dicomweb.worklist.state import Event, Move, State, WorkitemUnknown, move
from dicomweb.worklist.workitem import Reason, final_reason, reason_columns
from server.kernel.access import Principal, Reach
from server.kernel.database import UnitOfWork


async def request_cancel(
    unit: UnitOfWork, workitem_uid: str, reach: Reach, principal: Principal, reason: Reason
) -> Move:
    """Cancel a SCHEDULED workitem at once; ask the performer of an IN PROGRESS one to stop.

    A workitem that is CANCELED already comes back as a Move with a notice.

    Raises:
        WorkitemUnknown: there is none of that UID within reach.
        AlreadyCompleted: it is done.
    """
    row = await hold(unit, (WORKITEM.c.workitem_uid == workitem_uid) & within(reach))
    if row is None:
        raise WorkitemUnknown
    if row["state"] == State.IN_PROGRESS.value:
        moved = move(Event.REQUEST_CANCEL, State.IN_PROGRESS)
        await ask_to_stop(unit, row, principal, reason)
        return moved
    columns = {"cancel_requested_us": unit.now_us, **reason_columns(final_reason(reason))}
    return await change_state(unit, row, Event.REQUEST_CANCEL, Act(principal, "ups-request-cancel"), columns)


async def ask_to_stop(unit: UnitOfWork, row: RowMapping, principal: Principal, reason: Reason) -> None:
    """Ask the performer of a held IN PROGRESS workitem to stop; the first request's reason stays.

    A back-off ends with it, so that the engine's next claim finds the request and cancels.
    """
    if row["cancel_requested_us"] is not None:
        return
    columns = {"cancel_requested_us": unit.now_us, "not_before_us": None, **reason_columns(reason)}
    await change(unit, row, Act(principal, "ups-request-cancel"), columns)
    unit.emit(CANCEL_REQUESTED, row["workitem_uid"], event_facts(row))
