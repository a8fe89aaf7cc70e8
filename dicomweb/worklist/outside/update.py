"""Update Workitem (PS3.18 §11.6, PS3.4 CC.2.6).

A SCHEDULED workitem is updated without a Transaction UID, an IN PROGRESS one with its performer's, an ended
one never. Each attribute that comes replaces the one of its name as a whole. Of the engine's own workitems
only what SETTABLE_OF_ENGINE names can be set: the rest follows from a routing rule and the study.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import RowMapping, select

from dicomweb.tables import Study
from dicomweb.wire.dictionary import key_of
from dicomweb.worklist.change import WORKITEM, Act, announce, announce_progress, change, hold
from dicomweb.worklist.dicom_json import DicomJson, Json
from dicomweb.worklist.instants import zone_of
from dicomweb.worklist.outside.change_state import TransactionUidMissing, holds
from dicomweb.worklist.outside.columns import (
    Planned,
    planned_columns,
    progress_columns,
    put_keys,
    sent_columns,
)
from dicomweb.worklist.outside.create import PERFORMERS
from dicomweb.worklist.outside.engine import Assignment, studies_of
from dicomweb.worklist.outside.requirements import check_update
from dicomweb.worklist.outside.whose import patient_of
from dicomweb.worklist.reach import within
from dicomweb.worklist.shown import PERFORMED, PROGRESS, attributes_of, workitem_json
from dicomweb.worklist.state import (
    FINAL_STATES,
    MayNoLongerBeUpdated,
    NotInProgress,
    State,
    TransactionUidIncorrect,
    WorkitemUnknown,
)
from dicomweb.worklist.ups_json import View
from server.kernel.access import Principal, Reach
from server.kernel.database import UnitOfWork
from server.kernel.faults import Busy, FaultKind
from server.kernel.rows import table_of
from server.kernel.site import Site

WITH_MODIFICATIONS = "The Workitem was updated with modifications."
OPTIONAL_NOT_SUPPORTED = "Requested optional Attributes are not supported."

_PRIORITY = "ScheduledProcedureStepPriority"
SETTABLE_OF_ENGINE = frozenset(map(key_of, (_PRIORITY, PROGRESS, PERFORMED)))
# Said by the worklist itself, whatever a client sends
_OURS = frozenset(
    map(key_of, ("TransactionUID", "SpecificCharacterSet", "ScheduledProcedureStepModificationDateTime"))
)
# What the engine's part in a workitem follows from
PLANNING = frozenset(
    map(
        key_of,
        (
            "ScheduledStationNameCodeSequence",
            "ScheduledWorkitemCodeSequence",
            "InputInformationSequence",
            "InputReadinessState",
            "ScheduledProcedureStepStartDateTime",
        ),
    )
)
_SAID_BY_PERFORMER = frozenset(map(key_of, (PROGRESS, PERFORMED)))
_PERFORMERS = frozenset(map(key_of, PERFORMERS))
_READINESS = key_of("InputReadinessState")
_STUDY = table_of(Study)


class EndedMayNoLongerBeUpdated(MayNoLongerBeUpdated):
    """The workitem is in a final state, which an update answers as a bad request (PS3.18 11.6.2)."""

    kind = FaultKind.INVALID


@dataclass(frozen=True, slots=True)
class Seen:
    """A workitem as it was when its update was prepared, and how it would read after that."""

    sent: str | None  # the column `attributes`
    merged: DicomJson
    needs_plan: bool  # whether the engine must be asked


@dataclass(frozen=True, slots=True)
class Update:
    """An update that somebody asks for."""

    workitem_uid: str
    changes: DicomJson
    transaction_uid: str  # "": none was given
    principal: Principal
    reach: Reach


def seen(row: Mapping[str, Any] | RowMapping, changes: DicomJson) -> Seen:
    """What an update would make of a workitem from outside."""
    said = attributes_of(row)
    new = {key: value for key, value in changes.items() if key not in _OURS and said.get(key) != value}
    is_planned = row["requested_by"] is not None and row["state"] == State.SCHEDULED.value
    needs_plan = is_planned and not PLANNING.isdisjoint(new)
    return Seen(row["attributes"], dict(sorted((said | new).items())), needs_plan)


async def update(
    unit: UnitOfWork, asked: Update, before: Seen, assignment: Assignment | None, site: Site
) -> list[str]:
    """Set attributes of a workitem; returns warnings.

    `assignment` is the engine's part in it, when `before` asks for that.

    Raises:
        WorkitemUnknown: there is none of that UID within reach.
        WorkitemFault: its state or its Transaction UID does not allow it.
        AttributeInvalid: Req. Type N-SET does not allow it.
        Busy: somebody else changed it at the same time.
    """
    row = await hold(unit, (WORKITEM.c.workitem_uid == asked.workitem_uid) & within(asked.reach))
    if row is None:
        raise WorkitemUnknown
    _require_turn(row, asked.transaction_uid)
    if row["attributes"] != before.sent:
        raise Busy("The workitem was changed at the same time; try again.")
    sent = {key: value for key, value in asked.changes.items() if key not in _OURS}
    new = check_update(sent, await _as_shown(unit, row))
    if row["requested_by"] is None:
        return await _update_engines(unit, row, new, asked.principal)
    if new:
        merged = dict(sorted((attributes_of(row) | new).items()))
        columns = await _columns(unit, row, merged, asked.reach, site)
        if before.needs_plan:
            columns |= planned_columns(merged, Planned(assignment, zone_of(site), unit.now_us))
        if not _SAID_BY_PERFORMER.issuperset(new):
            await put_keys(unit, row["pk"], merged, zone_of(site))
        await _write(unit, row, new, columns, asked.principal)
    return []


def _require_turn(row: RowMapping, transaction_uid: str) -> None:
    """See that the state allows an update, and that it is the performer who updates (PS3.4 CC.2.6.3)."""
    state = State(row["state"])
    if state in FINAL_STATES:
        raise EndedMayNoLongerBeUpdated
    if state is State.SCHEDULED:
        if transaction_uid:
            raise NotInProgress
    elif not transaction_uid:
        raise TransactionUidMissing
    elif not holds(row, transaction_uid):
        raise TransactionUidIncorrect


async def _as_shown(unit: UnitOfWork, row: RowMapping) -> DicomJson:
    """The workitem as a client retrieves it, so that what comes back unchanged is not refused."""
    study: Json = {}
    if row["requested_by"] is None:
        query = select(_STUDY.c.attributes).where(_STUDY.c.study_instance_uid == row["study_instance_uid"])
        study = orjson.loads((await unit.execute(query)).scalar_one_or_none() or "{}")
    return workitem_json(row, View(study, public_base=""))


async def _update_engines(
    unit: UnitOfWork, row: RowMapping, new: DicomJson, principal: Principal
) -> list[str]:
    kept = {key: value for key, value in new.items() if key in SETTABLE_OF_ENGINE}
    priority = kept.pop(key_of(_PRIORITY), None)
    columns: dict[str, Any] = {}
    if priority is not None:
        columns["priority"] = priority["Value"][0].strip()
    if kept:
        columns["attributes"] = orjson.dumps(dict(sorted((attributes_of(row) | kept).items()))).decode()
    if columns:
        await _write(
            unit, row, kept | ({key_of(_PRIORITY): priority} if priority else {}), columns, principal
        )
    return [OPTIONAL_NOT_SUPPORTED] if len(new) > len(kept) + (priority is not None) else []


async def _columns(
    unit: UnitOfWork, row: RowMapping, merged: DicomJson, reach: Reach, site: Site
) -> dict[str, Any]:
    studies = studies_of(merged)
    columns = sent_columns(merged)
    if studies != studies_of(attributes_of(row)):
        columns["patient_id"] = await patient_of(unit, merged, studies, reach, site)
    return columns


async def _write(
    unit: UnitOfWork, row: RowMapping, new: DicomJson, columns: dict[str, Any], principal: Principal
) -> None:
    """Write the columns, and tell of what is new: progress, an assignment, readiness, or anything else."""
    progress = progress_columns(new)
    await change(unit, row, Act(principal, "ups-update"), columns | progress)
    announce_progress(unit, row, progress.get("progress"), progress.get("progress_text"))
    if _SAID_BY_PERFORMER.issuperset(new):
        return
    is_assigned = not _PERFORMERS.isdisjoint(new)
    told = {**row, **columns}
    announce(unit, told, State(row["state"]), assigned=is_assigned, quiet=_READINESS not in new)
