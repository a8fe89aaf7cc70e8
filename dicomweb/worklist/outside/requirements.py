"""What a workitem must hold when it is created, updated and ended: PS3.4 Table CC.2.5-3. Pure.

The columns of that table are data here: Req. Type N-CREATE, Req. Type N-SET, Final State. More lenient than
the text: an attribute of Type 2 that is not there counts as empty, and the answer says that it was added; an
attribute that N-SET does not allow may come with the value that it has.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC

from dicomweb.wire.dictionary import key_of, vr_of
from dicomweb.wire.instance import is_uid
from dicomweb.worklist.dicom_json import DicomJson, Json, attribute
from dicomweb.worklist.instants import parse_instant
from dicomweb.worklist.outside.data_set import has_value, items, sequences, text_of
from dicomweb.worklist.state import Priority, State, WorkitemFault
from server.kernel.faults import Fault, FaultKind

DEFAULT_WORKLIST_LABEL = "Isthmus"  # of who names no worklist (Type 2/1: the SCP gives one)

# Req. Type N-CREATE 1/1: present, with a value.
WITH_VALUE = (
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "ScheduledProcedureStepStartDateTime",
    "InputReadinessState",
    "ProcedureStepState",
)
# Req. Type N-CREATE 2/1 and 2/2: present, perhaps empty.
PRESENT = (
    "WorklistLabel",
    "ScheduledProcessingParametersSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "ScheduledWorkitemCodeSequence",
    "CommentsOnTheScheduledProcedureStep",
    "InputInformationSequence",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "OtherPatientIDsSequence",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReferencedRequestSequence",
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
)
# Req. Type N-CREATE: Transaction UID shall be empty, as what tells of progress.
EMPTY_WHEN_CREATED = (
    "TransactionUID",
    "ProcedureStepProgressInformationSequence",
    "UnifiedProcedureStepPerformedProcedureSequence",
)
# Req. Type N-SET "Not Allowed"
NOT_SET = (
    "SOPClassUID",
    "SOPInstanceUID",
    "ProcedureStepState",
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientSex",
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ReferencedRequestSequence",
    "ReplacedProcedureStepSequence",
)
# Req. Type N-SET 3/1: with a value, if it comes.
SET_WITH_VALUE = (
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "WorklistLabel",
    "ScheduledProcedureStepStartDateTime",
    "InputReadinessState",
)
# Enumerated Values, PS3.3 C.30.2 and C.30.1
ALLOWED: Mapping[str, frozenset[str]] = {
    "ScheduledProcedureStepPriority": frozenset(priority.value for priority in Priority),
    "InputReadinessState": frozenset({"INCOMPLETE", "UNAVAILABLE", "READY"}),
    "ProcedureStepState": frozenset(state.value for state in State),
}
# Final State R and P for COMPLETED, X for CANCELED. Procedure Step Cancellation DateTime (X) is given here.
_PERFORMED = "UnifiedProcedureStepPerformedProcedureSequence"
_PROGRESS = "ProcedureStepProgressInformationSequence"
FINAL: Mapping[State, tuple[tuple[str, str], ...]] = {
    State.COMPLETED: (
        (_PERFORMED, "PerformedStationNameCodeSequence"),
        (_PERFORMED, "PerformedProcedureStepStartDateTime"),
        (_PERFORMED, "PerformedWorkitemCodeSequence"),
        (_PERFORMED, "PerformedProcedureStepEndDateTime"),
        (_PERFORMED, "OutputInformationSequence"),
    ),
    State.CANCELED: ((_PROGRESS, "ProcedureStepDiscontinuationReasonCodeSequence"),),
}
# One item only (PS3.3 C.30.1, C.30.3)
SINGLE_ITEM = (_PROGRESS, _PERFORMED)

_INSTANTS = (
    "ScheduledProcedureStepStartDateTime",
    "ExpectedCompletionDateTime",
    "ScheduledProcedureStepExpirationDateTime",
)
_UIDS_OF_ITEMS = (
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "ReferencedSOPInstanceUID",
    "ReferencedSOPClassUID",
)
_CODE_VALUES = ("CodeValue", "LongCodeValue", "URNCodeValue")


class AttributeInvalid(Fault):
    """An attribute is missing, or has a value that it may not have (DIMSE 0x0106, 0x0120, 0x0121)."""


class NotScheduled(WorkitemFault):
    """A workitem begins as SCHEDULED."""

    kind = FaultKind.INVALID
    status_code, text = 0xC309, "The provided value of UPS State was not SCHEDULED."


def complete_new(data_set: DicomJson) -> DicomJson:
    """The data set of a new workitem with what Type 2 wants added; the same one when nothing is missing.

    Raises:
        AttributeInvalid, NotScheduled: it does not satisfy Req. Type N-CREATE.
    """
    for keyword in WITH_VALUE:
        if not has_value(data_set, keyword):
            raise AttributeInvalid(f"{keyword} is required.")
    for keyword in EMPTY_WHEN_CREATED:
        if has_value(data_set, keyword):
            raise AttributeInvalid(f"{keyword} must be empty when a workitem is created.")
    _check_values(data_set)
    if text_of(data_set, "ProcedureStepState") != State.SCHEDULED.value:
        raise NotScheduled
    for request in items(data_set, "ReferencedRequestSequence"):
        if not has_value(request, "StudyInstanceUID"):
            raise AttributeInvalid("ReferencedRequestSequence.StudyInstanceUID is required.")
    return dict(sorted((data_set | dict(_added(data_set))).items()))


def _added(data_set: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
    for keyword in PRESENT:
        key = key_of(keyword)
        if keyword == "WorklistLabel" and not has_value(data_set, keyword):
            yield from attribute(keyword, DEFAULT_WORKLIST_LABEL).items()
        elif key not in data_set:
            yield key, {"vr": vr_of(int(key, 16))}


def check_update(changes: DicomJson, stands: Mapping[str, Json]) -> DicomJson:
    """What of `changes` says something new of the workitem, which reads `stands` now.

    Raises:
        AttributeInvalid: they do not satisfy Req. Type N-SET.
    """
    new = {key: value for key, value in changes.items() if stands.get(key) != value}
    for keyword in NOT_SET:
        if key_of(keyword) in new:
            raise AttributeInvalid(f"{keyword} cannot be changed by an update.")
    for keyword in SET_WITH_VALUE:
        if key_of(keyword) in new and not has_value(new, keyword):
            raise AttributeInvalid(f"{keyword} cannot be made empty.")
    _check_values(new)
    return new


def meets_final_state(state: State, data_set: Mapping[str, Json]) -> bool:
    """Whether a workitem that reads so may end in `state` (column Final State)."""
    return all(
        any(has_value(item, keyword) for item in items(data_set, sequence))
        for sequence, keyword in FINAL.get(state, ())
    )


def _check_values(data_set: Mapping[str, Json]) -> None:
    for keyword, allowed in ALLOWED.items():
        if has_value(data_set, keyword) and text_of(data_set, keyword) not in allowed:
            raise AttributeInvalid(f"{keyword} is one of {', '.join(sorted(allowed))}.")
    for keyword in _INSTANTS:
        if has_value(data_set, keyword) and parse_instant(text_of(data_set, keyword), UTC) is None:
            raise AttributeInvalid(f"{keyword} is no DT.")
    for keyword in SINGLE_ITEM:
        if len(items(data_set, keyword)) > 1:
            raise AttributeInvalid(f"{keyword} has one item at most.")
    if has_value(data_set, "StudyInstanceUID") and not is_uid(text_of(data_set, "StudyInstanceUID")):
        raise AttributeInvalid("StudyInstanceUID is no UID.")
    for sequence, item in sequences(data_set):
        _check_item(sequence, item)


def _check_item(sequence: str, item: Mapping[str, Json]) -> None:
    """UPS Code Sequence Macro (PS3.4 Table CC.2.5-2a), and UIDs of what is referred to."""
    for keyword in _UIDS_OF_ITEMS:
        if has_value(item, keyword) and not is_uid(text_of(item, keyword)):
            raise AttributeInvalid(f"{sequence}.{keyword} is no UID.")
    if not sequence.endswith("CodeSequence"):
        return
    has_scheme = has_value(item, "CodingSchemeDesignator") or has_value(item, "URNCodeValue")
    if not (any(has_value(item, value) for value in _CODE_VALUES) and has_scheme):
        raise AttributeInvalid(f"{sequence}: an item needs a code value and its coding scheme.")
    if not has_value(item, "CodeMeaning"):
        raise AttributeInvalid(f"{sequence}.CodeMeaning is required.")
