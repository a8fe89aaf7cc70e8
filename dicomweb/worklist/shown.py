"""A workitem as it is shown, whoever asked for it and whoever performs it (PS3.18 §11.5). Pure.

One that came from outside reads as it was sent, with what the worklist itself decides: its UID, its state,
when it changed, why it was discontinued, and what the engine did when the engine performs it. One of the
engine's own follows from its row, with what an outside performer says of its work.
"""

from collections.abc import Mapping

import orjson
from sqlalchemy import RowMapping

from dicomweb.wire.dictionary import key_of
from dicomweb.worklist.change import Facts
from dicomweb.worklist.dicom_json import DicomJson, Json, attribute, date_time, item
from dicomweb.worklist.state import State
from dicomweb.worklist.ups_json import (
    INPUT_READINESS,
    View,
    discontinuation,
    progress_json,
    scheduled_station,
    ups_json,
)
from terminology.definitions.sop_classes import UnifiedProcedureStepPush

PROGRESS, PERFORMED = (
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
)

_INPUT, _OUTPUT = key_of("InputInformationSequence"), key_of("OutputInformationSequence")
_NAMED, _PERFORMED = key_of("ReferencedSOPSequence"), key_of(PERFORMED)
_ASSIGNED = ("ScheduledStationNameCodeSequence", "ScheduledHumanPerformersSequence")


def workitem_json(row: RowMapping, view: View) -> DicomJson:
    """The Unified Procedure Step of a row, as a DICOM JSON Model Object."""
    said = attributes_of(row)
    shown = ups_json(row, view) if row["requested_by"] is None else item(said, _identity(row))
    if row["attempt"] > 0:
        shown = item(shown, progress_json(row, view))
    elif said or row["requested_by"] is not None:
        shown = item(shown, _kept(said, PERFORMED), _progress(row, said))
    return shown if view.instances else _without_instances(shown)


def attributes_of(row: Facts) -> DicomJson:
    """What clients sent of a workitem; nothing of the engine's own while nobody else performs it."""
    said: DicomJson = orjson.loads(row["attributes"] or "{}")
    return said


def assigned_to(row: Facts) -> DicomJson:
    """Who is to perform the step: the Event Report Information of UPS Assigned (PS3.4 Table CC.2.4-1)."""
    if row["requested_by"] is None:
        return scheduled_station(row)
    said = attributes_of(row)
    return item(*(_kept(said, keyword) for keyword in _ASSIGNED))


def input_readiness(row: Facts) -> str:
    """Input Readiness State (0040,4041)."""
    if row["requested_by"] is None:
        return INPUT_READINESS
    sent = attributes_of(row).get(key_of("InputReadinessState"), {}).get("Value") or [INPUT_READINESS]
    return str(sent[0])


def _identity(row: Facts) -> DicomJson:
    return item(
        attribute("SpecificCharacterSet", "ISO_IR 192"),
        attribute("SOPClassUID", UnifiedProcedureStepPush),
        attribute("SOPInstanceUID", row["workitem_uid"]),
        attribute("ScheduledProcedureStepModificationDateTime", date_time(row["changed_us"])),
        attribute("ProcedureStepState", row["state"]),
    )


def _progress(row: RowMapping, said: Mapping[str, Json]) -> DicomJson:
    """Progress as the performer says it, with the reason of whoever discontinued the step or asks for it."""
    sent = (said.get(key_of(PROGRESS), {}).get("Value") or [{}])[0]
    reason = discontinuation(row) if State(row["state"]) is not State.COMPLETED else {}
    details = item(reason, sent)
    return attribute(PROGRESS, details) if details else {}


def _kept(said: Mapping[str, Json], keyword: str) -> DicomJson:
    key = key_of(keyword)
    return {key: said[key]} if key in said else {}


def _without_instances(shown: DicomJson) -> DicomJson:
    """Without the lists of single instances, which make an answer to a search long."""
    performed = [_listed(each, _OUTPUT) for each in shown.get(_PERFORMED, {}).get("Value") or []]
    short = _listed(shown, _INPUT)
    return {**short, _PERFORMED: {**short[_PERFORMED], "Value": performed}} if performed else short


def _listed(data_set: DicomJson, sequence: str) -> DicomJson:
    found = data_set.get(sequence, {}).get("Value")
    if not found:
        return data_set
    short = [{key: value for key, value in each.items() if key != _NAMED} for each in found]
    return {**data_set, sequence: {**data_set[sequence], "Value": short}}
