"""The states of a Unified Procedure Step and what may change them (PS3.4 CC.1.1). Pure.

The table is quoted cell by cell, with the DIMSE status of each refusal, so that the web door and a later
DIMSE door answer alike.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from server.kernel.faults import Fault, FaultKind


class State(Enum):
    """Procedure Step State (0074,1000), PS3.4 Table CC.1.1-1."""

    SCHEDULED = "SCHEDULED"
    IN_PROGRESS = "IN PROGRESS"
    COMPLETED = "COMPLETED"
    CANCELED = "CANCELED"


FINAL_STATES = frozenset({State.COMPLETED, State.CANCELED})


class Priority(Enum):
    """Scheduled Procedure Step Priority (0074,1200), PS3.3 C.30.2; HIGH is STAT."""

    HIGH = "HIGH"
    MEDIUM = "MEDIUM"
    LOW = "LOW"


class Event(Enum):
    """The events of PS3.4 Table CC.1.1-2; the Change State events come with a Transaction UID."""

    CREATE = "N-CREATE"
    START = "N-ACTION to Change State to IN PROGRESS"
    RESCHEDULE = "N-ACTION to Change State to SCHEDULED"
    COMPLETE = "N-ACTION to Change State to COMPLETED"
    REQUEST_CANCEL = "N-ACTION to Request Cancel"
    CANCEL = "N-ACTION to Change State to CANCELED"


class WorkitemFault(Fault):
    """A refusal of the UPS service; `status_code` is its DIMSE status (PS3.4 Tables CC.2.1-2, CC.2.2-2)."""

    kind = FaultKind.CONFLICT
    status_code: ClassVar[int]
    text: ClassVar[str]

    def __init__(self) -> None:
        super().__init__(self.text)


class DuplicateWorkitem(WorkitemFault):
    """A workitem of that UID is there already."""

    status_code, text = 0x0111, "A UPS of that SOP Instance UID exists already."


class MayNoLongerBeUpdated(WorkitemFault):
    """The workitem is in a final state."""

    status_code, text = 0xC300, "The UPS may no longer be updated."


class TransactionUidIncorrect(WorkitemFault):
    """Not the holder of the workitem asks."""

    kind = FaultKind.INVALID
    status_code, text = 0xC301, "The correct Transaction UID was not provided."


class AlreadyInProgress(WorkitemFault):
    """Somebody performs it already."""

    status_code, text = 0xC302, "The UPS is already IN PROGRESS."


class ScheduledByCreateOnly(WorkitemFault):
    """No way leads back to SCHEDULED."""

    status_code, text = 0xC303, "The UPS may only become SCHEDULED via N-CREATE, not N-SET or N-ACTION."


class FinalStateNotMet(WorkitemFault):
    """What Table CC.2.5-3 wants of a finished step is not there."""

    status_code, text = 0xC304, "The UPS has not met final state requirements for the requested state change."


class WorkitemUnknown(WorkitemFault):
    """No such workitem for this caller."""

    kind = FaultKind.NOT_FOUND
    status_code, text = 0xC307, "No workitem of that UID is on this worklist."


class NotInProgress(WorkitemFault):
    """Nobody performs it yet."""

    status_code, text = 0xC310, "The UPS is not yet in the IN PROGRESS state."


class AlreadyCompleted(WorkitemFault):
    """It is done; nothing is left to cancel."""

    status_code, text = 0xC311, "The UPS is already COMPLETED."


class Notice(Enum):
    """Warnings: nothing changes, the requester has what it wanted (PS3.4 Tables CC.2.1-2, CC.2.2-2)."""

    ALREADY_CANCELED = 0xB304
    ALREADY_COMPLETED = 0xB306


NOTICE_TEXT: Mapping[Notice, str] = {
    Notice.ALREADY_CANCELED: "The UPS is already in the requested state of CANCELED.",
    Notice.ALREADY_COMPLETED: "The UPS is already in the requested state of COMPLETED.",
}


@dataclass(frozen=True, slots=True)
class Move:
    """An event that is not refused: the states the workitem passes through, the last being the new one.

    An empty `path` changes nothing. A SCHEDULED step becomes CANCELED only by way of IN PROGRESS.
    """

    path: tuple[State, ...] = ()
    notice: Notice | None = None


Cell = Move | type[WorkitemFault]
_Row = Mapping[State | None, Cell]
_TO_IN_PROGRESS = Move((State.IN_PROGRESS,))


def _row(null: Cell, scheduled: Cell, in_progress: Cell, completed: Cell, canceled: Cell) -> _Row:
    return {
        None: null,
        State.SCHEDULED: scheduled,
        State.IN_PROGRESS: in_progress,
        State.COMPLETED: completed,
        State.CANCELED: canceled,
    }


# PS3.4 Table CC.1.1-2, the rows "with correct transaction UID".
# Columns: null, SCHEDULED, IN PROGRESS, COMPLETED, CANCELED.
TRANSITIONS: Mapping[Event, _Row] = {
    Event.CREATE: _row(
        Move((State.SCHEDULED,)), DuplicateWorkitem, DuplicateWorkitem, DuplicateWorkitem, DuplicateWorkitem
    ),
    Event.START: _row(
        WorkitemUnknown, _TO_IN_PROGRESS, AlreadyInProgress, MayNoLongerBeUpdated, MayNoLongerBeUpdated
    ),
    Event.RESCHEDULE: _row(
        WorkitemUnknown,
        ScheduledByCreateOnly,
        ScheduledByCreateOnly,
        ScheduledByCreateOnly,
        ScheduledByCreateOnly,
    ),
    Event.COMPLETE: _row(
        WorkitemUnknown,
        NotInProgress,
        Move((State.COMPLETED,)),
        Move(notice=Notice.ALREADY_COMPLETED),
        MayNoLongerBeUpdated,
    ),
    Event.REQUEST_CANCEL: _row(
        WorkitemUnknown,
        Move((State.IN_PROGRESS, State.CANCELED)),
        Move(),
        AlreadyCompleted,
        Move(notice=Notice.ALREADY_CANCELED),
    ),
    Event.CANCEL: _row(
        WorkitemUnknown,
        NotInProgress,
        Move((State.CANCELED,)),
        MayNoLongerBeUpdated,
        Move(notice=Notice.ALREADY_CANCELED),
    ),
}
CHANGE_STATE = frozenset({Event.START, Event.COMPLETE, Event.CANCEL})  # events that carry a Transaction UID


def move(
    event: Event, state: State | None, *, holds_transaction: bool = True, final_state_met: bool = True
) -> Move:
    """What `event` does to a workitem in `state` (None: there is none), PS3.4 Table CC.1.1-2.

    `holds_transaction`: the Transaction UID is correct; `final_state_met`: Table CC.2.5-3 is satisfied.

    Raises:
        WorkitemFault: the table refuses it.
    """
    if event in CHANGE_STATE and state is not None and not holds_transaction:
        raise TransactionUidIncorrect
    cell = TRANSITIONS[event][state]
    if not isinstance(cell, Move):
        raise cell
    if state is State.IN_PROGRESS and cell.path and not final_state_met:
        raise FinalStateNotMet
    return cell
