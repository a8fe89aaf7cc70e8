"""Events as the reports that subscribers get (PS3.4 Table CC.2.4-1, PS3.18 §8.10.5). Pure.

Each is a DICOM JSON object with the command attributes that name it: Affected SOP Class and Instance UID,
Event Type ID, and Message ID. No Transaction UID is in any, and nothing of the patient.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum
from typing import Any

from dicomweb.worklist.change import CANCEL_REQUESTED, CHANGED, PROGRESS, SUBSCRIBED, Facts
from dicomweb.worklist.dicom_json import DicomJson, attribute, item
from dicomweb.worklist.shown import assigned_to, input_readiness
from dicomweb.worklist.state import State
from dicomweb.worklist.ups_json import reason_given
from server.kernel.outbox import Event
from terminology.definitions.sop_classes import UnifiedProcedureStepPush

KINDS = (CHANGED, CANCEL_REQUESTED, PROGRESS, SUBSCRIBED)

REQUESTING_AE = "ISTHMUS"  # requests to cancel come by web, from clients that have no AE title


class EventType(IntEnum):
    """Event Type ID (0000,1002), PS3.4 Table CC.2.4-1. SCP Status Change (4) is not sent."""

    STATE_REPORT = 1
    CANCEL_REQUESTED = 2
    PROGRESS_REPORT = 3
    ASSIGNED = 5


Report = tuple[EventType, DicomJson]  # the Event Report Information


def reports_of(event: Event, said: Mapping[str, Any], row: Facts) -> Sequence[Report]:
    """The reports of an event; `said` is its payload, `row` the workitem as it is now."""
    if event.kind == CANCEL_REQUESTED:
        requesting = attribute("RequestingAE", REQUESTING_AE)
        return [(EventType.CANCEL_REQUESTED, item(requesting, reason_given(row)))]
    if event.kind == PROGRESS:
        return [(EventType.PROGRESS_REPORT, _progress(said))]
    state = (EventType.STATE_REPORT, _state(State(said["state"]), row))
    states = [] if said.get("quiet") else [state]
    return [*states, (EventType.ASSIGNED, assigned_to(row))] if said.get("assigned") else states


def message(report: Report, workitem_uid: str, message_id: int) -> DicomJson:
    """A report as it is sent (PS3.4 CC.2.4.3)."""
    event_type, information = report
    return item(
        attribute("AffectedSOPClassUID", UnifiedProcedureStepPush),
        attribute("MessageID", message_id),
        attribute("AffectedSOPInstanceUID", workitem_uid),
        attribute("EventTypeID", int(event_type)),
        information,
    )


def _state(state: State, row: Facts) -> DicomJson:
    return item(
        attribute("ProcedureStepState", state.value),
        attribute("InputReadinessState", input_readiness(row)),
        reason_given(row) if state is State.CANCELED else {},
    )


def _progress(said: Mapping[str, Any]) -> DicomJson:
    details = item(
        attribute("ProcedureStepProgress", said["progress"]),
        attribute("ProcedureStepProgressDescription", said["text"]) if said["text"] else {},
    )
    return attribute("ProcedureStepProgressInformationSequence", details)
