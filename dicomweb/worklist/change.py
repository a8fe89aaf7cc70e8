"""How a workitem row changes: the new columns, its events and its audit entry, always together.

Event "workitem.changed" is told of each state the workitem passes through (UPS State Report, PS3.4 CC.2.4),
"workitem.cancel-requested" when its performer is asked to stop (UPS Cancel Requested), "workitem.progress"
when that says how far it is (UPS Progress Report), "workitem.subscribed" when a subscriber wants its state.
Whoever changes a workitem holds its row (`FOR UPDATE`) and touches its attempt only after that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, RowMapping, select, update

from dicomweb.worklist.state import FINAL_STATES, Event, Move, State, move
from dicomweb.worklist.tables import Workitem
from server.kernel.access import Principal
from server.kernel.audit import Action, AuditEntry
from server.kernel.database import UnitOfWork
from server.kernel.rows import table_of

WORKITEM = table_of(Workitem)

Facts = Mapping[str, Any] | RowMapping  # a row of the workitem table

CHANGED = "workitem.changed"
CANCEL_REQUESTED = "workitem.cancel-requested"
PROGRESS = "workitem.progress"
SUBSCRIBED = "workitem.subscribed"


@dataclass(frozen=True, slots=True)
class Act:
    """Who does what, for the audit trail."""

    principal: Principal
    interaction: str  # "ups-create", "ups-update", "ups-change-state", "ups-request-cancel"
    action: Action = Action.UPDATE


def change_state_by(principal: Principal) -> Act:
    """A Change Workitem State of this principal (PS3.18 §11.7)."""
    return Act(principal, "ups-change-state")


async def hold(
    unit: UnitOfWork, criterion: ColumnElement[bool], *order: ColumnElement[Any]
) -> RowMapping | None:
    """The first workitem that meets `criterion`, locked until the transaction ends; None: there is none."""
    query = select(WORKITEM).where(criterion).order_by(*order).limit(1).with_for_update(of=WORKITEM)
    found: Row[Any] | None = (await unit.execute(query)).first()
    return found._mapping if found is not None else None


async def change(unit: UnitOfWork, row: RowMapping, act: Act, columns: Mapping[str, Any]) -> None:
    """Write columns of a held workitem, with the act's audit entry."""
    where = WORKITEM.c.pk == row["pk"]
    await unit.execute(update(WORKITEM).where(where).values(changed_us=unit.now_us, **columns))
    audit(unit, row, act)


async def change_state(
    unit: UnitOfWork,
    row: RowMapping,
    event: Event,
    act: Act,
    columns: Mapping[str, Any],
) -> Move:
    """Move a held workitem by `event` and write `columns`; an event that changes no state writes nothing.

    Raises:
        WorkitemFault: PS3.4 Table CC.1.1-2 refuses it.
    """
    moved = move(event, State(row["state"]))
    if not moved.path:
        return moved
    values: dict[str, Any] = {"state": moved.path[-1].value, **columns}
    if moved.path[-1] in FINAL_STATES:
        values |= {"ended_us": unit.now_us, "not_before_us": None}
    await change(unit, row, act, values)
    for state in moved.path:
        announce(unit, row, state)
    return moved


def announce(
    unit: UnitOfWork, row: Facts, state: State, *, assigned: bool = False, quiet: bool = False
) -> None:
    """Write the event of a state that the workitem reached; `assigned`: its performer was set with it.

    `quiet`: something else of it changed, and its state need not be reported.
    """
    flags = {"assigned": assigned, "quiet": quiet}
    said = {"state": state.value, **event_facts(row)}
    unit.emit(CHANGED, row["workitem_uid"], said | {name: True for name, is_so in flags.items() if is_so})


def announce_progress(unit: UnitOfWork, row: Facts, progress: int | None, text: str | None) -> None:
    """Write the event of progress, unless nothing of it is new; None: what was said before stands."""
    told = {"progress": row["progress"], "text": row["progress_text"]}
    said = {"progress": progress, "text": text}
    now = told | {name: value for name, value in said.items() if value is not None}
    if now != told:
        unit.emit(PROGRESS, row["workitem_uid"], now)


def event_facts(row: Facts) -> dict[str, Any]:
    """What readers of an event need to know without asking for the workitem; no patient data."""
    names = ("study_instance_uid", "rule", "model_name", "model_version", "priority")
    return {name: row[name] for name in names}


def audit(unit: UnitOfWork, row: Facts, act: Act) -> None:
    """Record an act on a workitem. A workitem is a Task on the other door (DESIGN §8)."""
    unit.audit(
        AuditEntry(
            principal=act.principal,
            action=act.action,
            interaction=act.interaction,
            resource_type="Task",
            resource_id=row["workitem_uid"],
            patient_id=row["patient_id"],
        )
    )
