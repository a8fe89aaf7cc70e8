"""PS3.4 Table CC.1.1-2, UPS State Transition Table: every cell, in the table's own order and notation."""

import pytest

from dicomweb.worklist.state import Event, Move, Notice, State, WorkitemFault, move

COLUMNS = (None, State.SCHEDULED, State.IN_PROGRESS, State.COMPLETED, State.CANCELED)

# A cell: a state to go to, "-" for no change, B3xx for a warning, otherwise the status of the error.
WITH_CORRECT_TRANSACTION_UID = {
    Event.CREATE: ("SCHEDULED", "0111", "0111", "0111", "0111"),
    Event.START: ("C307", "IN PROGRESS", "C302", "C300", "C300"),
    Event.RESCHEDULE: ("C307", "C303", "C303", "C303", "C303"),
    Event.COMPLETE: ("C307", "C310", "COMPLETED", "B306", "C300"),
    Event.REQUEST_CANCEL: ("C307", "CANCELED", "-", "C311", "B304"),
    Event.CANCEL: ("C307", "C310", "CANCELED", "C300", "B304"),
}
WITHOUT_CORRECT_TRANSACTION_UID = {
    Event.START: ("C307", "C301", "C301", "C301", "C301"),
    Event.COMPLETE: ("C307", "C301", "C301", "C301", "C301"),
    Event.CANCEL: ("C307", "C301", "C301", "C301", "C301"),
}


def cell(
    event: Event, state: State | None, *, holds_transaction: bool = True, final_state_met: bool = True
) -> str:
    try:
        done = move(event, state, holds_transaction=holds_transaction, final_state_met=final_state_met)
    except WorkitemFault as fault:
        return f"{fault.status_code:04X}"
    if done.notice is not None:
        assert done.path == ()
        return f"{done.notice.value:04X}"
    return done.path[-1].value if done.path else "-"


@pytest.mark.parametrize("event", Event)
def test_table_cc_1_1_2_with_correct_transaction_uid(event: Event) -> None:
    assert tuple(cell(event, state) for state in COLUMNS) == WITH_CORRECT_TRANSACTION_UID[event]


@pytest.mark.parametrize("event", WITHOUT_CORRECT_TRANSACTION_UID)
def test_table_cc_1_1_2_without_correct_transaction_uid(event: Event) -> None:
    cells = tuple(cell(event, state, holds_transaction=False) for state in COLUMNS)
    assert cells == WITHOUT_CORRECT_TRANSACTION_UID[event]


@pytest.mark.parametrize("event", [Event.COMPLETE, Event.CANCEL])
def test_final_state_requirements_not_met(event: Event) -> None:
    assert cell(event, State.IN_PROGRESS, final_state_met=False) == "C304"


def test_scheduled_is_canceled_by_way_of_in_progress() -> None:
    assert move(Event.REQUEST_CANCEL, State.SCHEDULED) == Move((State.IN_PROGRESS, State.CANCELED))


def test_request_to_cancel_needs_no_final_state() -> None:
    assert move(Event.REQUEST_CANCEL, State.IN_PROGRESS, final_state_met=False) == Move()


def test_table_cc_1_1_1_states_are_spelled_as_the_standard_does() -> None:
    assert [state.value for state in State] == ["SCHEDULED", "IN PROGRESS", "COMPLETED", "CANCELED"]


def test_every_notice_is_a_warning() -> None:
    assert all(0xB000 <= notice.value <= 0xBFFF for notice in Notice)
