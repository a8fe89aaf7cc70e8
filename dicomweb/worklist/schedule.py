"""What a routing rule's demand does to the worklist: schedule, update, supersede, or nothing (DESIGN §2).

A workitem is keyed by rule, model version and the hash of its input. Only another hash re-arms: a SCHEDULED
workitem takes the new input over, an IN PROGRESS one is asked to stop and gets a successor, an ended one
gets a successor. A CANCELED workitem is not tried again on the same input unless a person says so: `rerun`.
"""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from sqlalchemy import RowMapping, func, insert, select, update

from dicomweb.worklist.attempts import fence, hand_over
from dicomweb.worklist.cancel import ask_to_stop
from dicomweb.worklist.change import WORKITEM, Act, announce, audit, change, hold
from dicomweb.worklist.codes import RESCHEDULED
from dicomweb.worklist.state import FINAL_STATES, Priority, State, WorkitemUnknown
from dicomweb.worklist.workitem import (
    ENGINE,
    NOBODYS,
    Claim,
    NewWorkitem,
    Reason,
    decode_series,
    encode_series,
)
from server.kernel.access import Principal
from server.kernel.audit import Action
from server.kernel.database import UnitOfWork
from server.kernel.faults import Fault, FaultKind
from server.kernel.tracing import Kind, current_traceparent, span
from server.kernel.uids import new_uid

_CREATE = Act(ENGINE, "ups-create", Action.CREATE)
_UPDATE = Act(ENGINE, "ups-update")
_SUPERSEDED = Reason(RESCHEDULED, "The input has changed; a successor is scheduled.")


class Arming(Enum):
    """What a demand came to."""

    SCHEDULED = "scheduled"  # the first workitem of this rule for the study
    UPDATED = "updated"  # a SCHEDULED workitem has the new input now
    SUPERSEDED = "superseded"  # a successor is scheduled
    UNCHANGED = "unchanged"  # the latest workitem has this very input


@dataclass(frozen=True, slots=True)
class Armed:
    """The workitem that stands for the demand now; `predecessor_uid` is the one it supersedes."""

    arming: Arming
    workitem_uid: str
    predecessor_uid: str | None = None


class NotTheEngines(Fault):
    """Only what the engine can run is run again by it."""

    kind = FaultKind.CONFLICT


class WorkitemNotEnded(Fault):
    """Only a workitem that ended can be run again."""

    kind = FaultKind.CONFLICT


async def arm(unit: UnitOfWork, wanted: NewWorkitem) -> Armed:
    """Make the worklist say what a rule wants of a study, once however often it is told."""
    attributes = {"isthmus.rule": wanted.rule, "isthmus.model": wanted.model_name}
    with span("enqueue workitem", attributes, Kind.PRODUCER) as one:
        armed = await _arm(unit, wanted)
        one.set({"isthmus.arming": armed.arming.value})
    return armed


async def _arm(unit: UnitOfWork, wanted: NewWorkitem) -> Armed:
    await unit.lock([f"workitem:{wanted.study_instance_uid}:{wanted.rule}"])
    latest = await _latest(unit, wanted.study_instance_uid, wanted.rule)
    if latest is None:
        return Armed(Arming.SCHEDULED, await _schedule(unit, wanted, None, _CREATE))
    if latest["input_hash"] == wanted.input_hash:
        return Armed(Arming.UNCHANGED, latest["workitem_uid"], latest["predecessor_uid"])
    if latest["state"] == State.SCHEDULED.value:
        await _update(unit, latest, wanted)
        return Armed(Arming.UPDATED, latest["workitem_uid"], latest["predecessor_uid"])
    return await _supersede(unit, latest, wanted)


async def rerun(
    unit: UnitOfWork, workitem_uid: str, principal: Principal, priority: Priority | None = None
) -> str:
    """Schedule the input of an ended workitem once more; returns the new workitem's UID.

    Raises:
        WorkitemUnknown: there is no such workitem.
        NotTheEngines: the engine has no part in it.
        WorkitemNotEnded: it, or a later workitem of its rule and study, has not ended.
    """
    found = await unit.execute(select(WORKITEM).where(WORKITEM.c.workitem_uid == workitem_uid))
    asked = found.mappings().one_or_none()
    if asked is None:
        raise WorkitemUnknown
    if asked["model_name"] == NOBODYS:
        raise NotTheEngines("The workitem names no model of this server: an outside performer's.")
    await unit.lock([f"workitem:{asked['study_instance_uid']}:{asked['rule']}"])
    latest = await _latest(unit, asked["study_instance_uid"], asked["rule"])
    if latest is None or State(latest["state"]) not in FINAL_STATES:
        raise WorkitemNotEnded("A workitem of this rule and study has not ended yet.")
    wanted = _demand_of(asked, priority or Priority(asked["priority"]))
    return await _schedule(unit, wanted, latest, Act(principal, "ups-create", Action.CREATE))


async def reassign(unit: UnitOfWork, claim: Claim, model_version: str) -> Claim:
    """Give a claimed workitem to another version of its model; returns the claim of that.

    Raises:
        LeaseLost: the claim is not the current one any more.
    """
    row = await fence(unit, claim)
    wanted = replace(_demand_of(row, Priority(row["priority"])), model_version=model_version)
    columns = {"model_version": model_version, "run": await _next_run(unit, wanted)}
    await change(unit, row, _UPDATE, columns)
    await hand_over(unit, row, model_version)
    return replace(claim, model_version=model_version)


async def replace_performing(
    unit: UnitOfWork, row: RowMapping, model_version: str | None, reason: Reason
) -> None:
    """Ask the performer of a held IN PROGRESS workitem to stop; another version of its model succeeds.

    `model_version` None, or a successor that there is already: nothing new is scheduled.
    """
    if model_version is not None and row["successor_uid"] is None and row["cancel_requested_us"] is None:
        wanted = replace(_demand_of(row, Priority(row["priority"])), model_version=model_version)
        await _schedule(unit, wanted, row, _CREATE)
    await ask_to_stop(unit, row, ENGINE, reason)


async def _latest(unit: UnitOfWork, study_instance_uid: str, rule: str) -> RowMapping | None:
    of_rule = (WORKITEM.c.study_instance_uid == study_instance_uid) & (WORKITEM.c.rule == rule)
    return await hold(unit, of_rule, WORKITEM.c.pk.desc())


async def _supersede(unit: UnitOfWork, latest: RowMapping, wanted: NewWorkitem) -> Armed:
    successor_uid = await _schedule(unit, wanted, latest, _CREATE)
    if latest["state"] == State.IN_PROGRESS.value:
        await ask_to_stop(unit, latest, ENGINE, _SUPERSEDED)
    return Armed(Arming.SUPERSEDED, successor_uid, latest["workitem_uid"])


async def _update(unit: UnitOfWork, latest: RowMapping, wanted: NewWorkitem) -> None:
    columns = {
        **_columns(wanted),
        "run": await _next_run(unit, wanted),
        "traceparent": current_traceparent(),
    }
    await change(unit, latest, _UPDATE, columns)
    is_another = (latest["model_name"], latest["model_version"]) != (wanted.model_name, wanted.model_version)
    announce(unit, latest, State.SCHEDULED, assigned=is_another)


async def _schedule(unit: UnitOfWork, wanted: NewWorkitem, predecessor: RowMapping | None, act: Act) -> str:
    row = {
        **_columns(wanted),
        "workitem_uid": new_uid(),
        "state": State.SCHEDULED.value,
        "run": await _next_run(unit, wanted),
        "output": "[]",
        "attempt": 0,
        "progress": 0,
        "scheduled_us": unit.now_us,
        "changed_us": unit.now_us,
        "predecessor_uid": predecessor["workitem_uid"] if predecessor else None,
        "traceparent": current_traceparent(),
    }
    await unit.execute(insert(WORKITEM), [row])
    if predecessor is not None:
        where = WORKITEM.c.pk == predecessor["pk"]
        await unit.execute(update(WORKITEM).where(where).values(successor_uid=row["workitem_uid"]))
    announce(unit, row, State.SCHEDULED, assigned=True)
    audit(unit, row, act)
    return str(row["workitem_uid"])


async def _next_run(unit: UnitOfWork, wanted: NewWorkitem) -> int:
    c = WORKITEM.c
    highest = select(func.max(c.run)).where(
        c.study_instance_uid == wanted.study_instance_uid,
        c.rule == wanted.rule,
        c.model_name == wanted.model_name,
        c.model_version == wanted.model_version,
        c.input_hash == wanted.input_hash,
    )
    return ((await unit.execute(highest)).scalar_one() or 0) + 1


def _columns(wanted: NewWorkitem) -> dict[str, Any]:
    return {
        "rule": wanted.rule,
        "model_name": wanted.model_name,
        "model_version": wanted.model_version,
        "study_instance_uid": wanted.study_instance_uid,
        "patient_id": wanted.patient_id,
        "priority": wanted.priority.value,
        "input": encode_series(wanted.input),
        "input_hash": wanted.input_hash,
    }


def _demand_of(row: RowMapping, priority: Priority) -> NewWorkitem:
    return NewWorkitem(
        rule=row["rule"],
        model_name=row["model_name"],
        model_version=row["model_version"],
        study_instance_uid=row["study_instance_uid"],
        patient_id=row["patient_id"],
        input=decode_series(row["input"]),
        priority=priority,
    )
