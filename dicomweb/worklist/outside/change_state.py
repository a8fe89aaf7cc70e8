"""Change Workitem State by an outside performer (PS3.18 §11.7, PS3.4 CC.2.1).

The Transaction UID is the performer's lock: who starts a step chooses it, and nobody is told. The engine has
its own, so neither can end what the other performs; a step that an outside performer has started is none that
a worker can claim, for it has no attempt.
"""

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping

from dicomweb.wire.instance import is_uid
from dicomweb.worklist.change import WORKITEM, change_state, change_state_by, hold
from dicomweb.worklist.dicom_json import DicomJson
from dicomweb.worklist.outside.columns import reason_in
from dicomweb.worklist.outside.data_set import text_of
from dicomweb.worklist.outside.requirements import AttributeInvalid, meets_final_state
from dicomweb.worklist.reach import within
from dicomweb.worklist.shown import attributes_of
from dicomweb.worklist.state import Event, Move, State, TransactionUidIncorrect, WorkitemUnknown, move
from dicomweb.worklist.workitem import final_reason, reason_columns
from server.kernel.access import Principal, Reach
from server.kernel.database import UnitOfWork

EVENT_OF: Mapping[State, Event] = {
    State.SCHEDULED: Event.RESCHEDULE,
    State.IN_PROGRESS: Event.START,
    State.COMPLETED: Event.COMPLETE,
    State.CANCELED: Event.CANCEL,
}


class TransactionUidMissing(TransactionUidIncorrect):
    """The request names no Transaction UID."""

    text = "The Transaction UID is missing."


@dataclass(frozen=True, slots=True)
class StateChange:
    """Change UPS State: the Action Information (PS3.4 Table CC.2.1-1)."""

    state: State
    transaction_uid: str


def parse_state_change(data_set: DicomJson) -> StateChange:
    """Read the Action Information.

    Raises:
        TransactionUidMissing: there is no Transaction UID.
        AttributeInvalid: it is no UID, or the state is none.
    """
    transaction_uid = text_of(data_set, "TransactionUID")
    if not transaction_uid:
        raise TransactionUidMissing
    if not is_uid(transaction_uid):
        raise AttributeInvalid("TransactionUID is no UID.")
    try:
        state = State(text_of(data_set, "ProcedureStepState"))
    except ValueError as error:
        raise AttributeInvalid("ProcedureStepState is IN PROGRESS, COMPLETED or CANCELED.") from error
    return StateChange(state, transaction_uid)


async def change_state_from_outside(
    unit: UnitOfWork, workitem_uid: str, asked: StateChange, reach: Reach, principal: Principal
) -> Move:
    """Claim, complete or cancel a workitem; a Move with a notice: it is in that state already.

    Raises:
        WorkitemUnknown: there is none of that UID within reach.
        WorkitemFault: PS3.4 Table CC.1.1-2 refuses it.
    """
    row = await hold(unit, (WORKITEM.c.workitem_uid == workitem_uid) & within(reach))
    if row is None:
        raise WorkitemUnknown
    event, said = EVENT_OF[asked.state], attributes_of(row)
    is_holder = row["transaction_uid"] is None or holds(row, asked.transaction_uid)
    moved = move(
        event,
        State(row["state"]),
        holds_transaction=is_holder,
        final_state_met=meets_final_state(asked.state, said),
    )
    if moved.path:
        columns = _columns(unit, event, asked, said)
        await change_state(unit, row, event, change_state_by(principal), columns)
    return moved


def holds(row: RowMapping, transaction_uid: str) -> bool:
    """Whether this is the Transaction UID with which the workitem was started."""
    return hmac.compare_digest(str(row["transaction_uid"] or ""), transaction_uid)


def _columns(unit: UnitOfWork, event: Event, asked: StateChange, said: DicomJson) -> dict[str, Any]:
    match event:
        case Event.START:
            return {"transaction_uid": asked.transaction_uid, "started_us": unit.now_us}
        case Event.CANCEL:
            return reason_columns(final_reason(reason_in(said)))
        case _:
            return reason_columns(None)
