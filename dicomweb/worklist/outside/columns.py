"""What the index keeps of a workitem from outside beside what was sent: columns of its row, and its keys."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

import orjson
from sqlalchemy import delete, insert

from dicomweb.attributes import values
from dicomweb.wire.dictionary import key_of
from dicomweb.worklist.codes import Code
from dicomweb.worklist.dicom_json import DicomJson, Json
from dicomweb.worklist.instants import parse_instant
from dicomweb.worklist.keys import key_rows
from dicomweb.worklist.outside.data_set import items, text_of
from dicomweb.worklist.outside.engine import Assignment, as_series, input_of, studies_of
from dicomweb.worklist.tables import WorkitemKey
from dicomweb.worklist.workitem import NOBODYS, Reason, encode_series
from server.kernel.database import UnitOfWork
from server.kernel.faults import TooLarge
from server.kernel.rows import table_of
from server.kernel.uids import hash_of_uids

NEVER_US = 1 << 62  # `not_before_us` of what the engine must not take: also an engine of the release before
MAX_STORED_BYTES = 8 << 20  # of the attributes of one workitem, after any number of updates
MAX_PROGRESS_CHARACTERS = 1024  # of Procedure Step Progress Description (ST), PS3.5 Table 6.2-1

_STUDY = "StudyInstanceUID"
_KEY = table_of(WorkitemKey)


@dataclass(frozen=True, slots=True)
class Planned:
    """What a scheduled workitem comes to, by what was sent and by the engine."""

    assignment: Assignment | None  # None: an outside performer's
    zone: tzinfo  # of instants that state none
    now_us: int


def sent_columns(data_set: Mapping[str, Json]) -> dict[str, Any]:
    """What was sent, and what follows from it alone.

    Raises:
        TooLarge: it has grown too large.
    """
    attributes = orjson.dumps(data_set).decode()
    if len(attributes) > MAX_STORED_BYTES:
        raise TooLarge(f"A workitem has at most {MAX_STORED_BYTES} bytes of attributes.")
    studies = studies_of(data_set)
    return {
        "attributes": attributes,
        "priority": text_of(data_set, "ScheduledProcedureStepPriority"),
        "study_instance_uid": studies[0] if studies else "",
    }


def planned_columns(data_set: Mapping[str, Json], planned: Planned) -> dict[str, Any]:
    """Who is to perform a SCHEDULED workitem, on what, and from when on."""
    assignment = planned.assignment
    series = assignment.input if assignment else as_series(input_of(data_set))
    start = parse_instant(text_of(data_set, "ScheduledProcedureStepStartDateTime"), planned.zone)
    start_us = start.first_us if start and start.first_us else 0
    is_runnable = assignment is not None and assignment.input
    columns = {
        "model_name": assignment.model_name if assignment else NOBODYS,
        "model_version": assignment.model_version if assignment else NOBODYS,
        "input": encode_series(series),
        "input_hash": hash_of_uids(uid for each in series for uid in each.sop_instance_uids),
        "not_before_us": (start_us if start_us > planned.now_us else None) if is_runnable else NEVER_US,
    }
    return columns | ({"study_instance_uid": series[0].study_instance_uid} if is_runnable else {})


def progress_columns(data_set: Mapping[str, Json]) -> dict[str, Any]:
    """Per cent and description of Procedure Step Progress Information Sequence; only what it says."""
    columns: dict[str, Any] = {}
    for item in items(data_set, "ProcedureStepProgressInformationSequence"):
        percent = _number(values(item, key_of("ProcedureStepProgress")))
        if percent is not None:
            columns["progress"] = percent
        if description := text_of(item, "ProcedureStepProgressDescription"):
            columns["progress_text"] = description[:MAX_PROGRESS_CHARACTERS]
    return columns


def reason_in(data_set: Mapping[str, Json]) -> Reason | None:
    """Why the performer discontinued the step, by its own words; None: it does not say."""
    for item in items(data_set, "ProcedureStepProgressInformationSequence"):
        words = text_of(item, "ReasonForCancellation") or None
        for code in items(item, "ProcedureStepDiscontinuationReasonCodeSequence"):
            value = (
                text_of(code, "CodeValue") or text_of(code, "LongCodeValue") or text_of(code, "URNCodeValue")
            )
            scheme = text_of(code, "CodingSchemeDesignator")
            return Reason(Code(scheme, value, text_of(code, "CodeMeaning")), words)
        return Reason(None, words) if words else None
    return None


async def put_keys(unit: UnitOfWork, workitem_pk: int, data_set: DicomJson, zone: tzinfo) -> None:
    """Make the keys of a workitem those of this data set; it is found by every study that it names."""
    await unit.execute(delete(_KEY).where(_KEY.c.workitem_pk == workitem_pk))
    of_itself = text_of(data_set, _STUDY)
    named = [{"path": _STUDY, "item": 0, "value": uid} for uid in studies_of(data_set) if uid != of_itself]
    rows = [{"workitem_pk": workitem_pk, **row} for row in (*key_rows(data_set, zone), *named)]
    if rows:
        await unit.execute(insert(_KEY), rows)


def _number(found: list[Json]) -> int | None:
    """The per cent in a DS, which JSON has as a number or as text; None: it is none."""
    try:
        return max(0, min(100, round(float(found[0])))) if found else None
    except (TypeError, ValueError, OverflowError):
        return None
