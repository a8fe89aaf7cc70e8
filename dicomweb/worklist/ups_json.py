"""A workitem as the Unified Procedure Step that UPS-RS returns (PS3.4 Table CC.2.5-3, PS3.18 §11.5). Pure.

Transaction UID is the performer's lock and never in it. Attributes of Type 2 that this worklist has no value
for are present and empty. Patient and study attributes are those of the stored study, as shown.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import RowMapping

from dicomweb.urls import series_url
from dicomweb.worklist.change import Facts
from dicomweb.worklist.codes import IMAGE_PROCESSING, LOCAL_SCHEME, Code
from dicomweb.worklist.dicom_json import DicomJson, Json, attribute, coded, date_time, item
from dicomweb.worklist.state import State
from dicomweb.worklist.workitem import SeriesReference, decode_series, reason_of
from terminology.definitions.sop_classes import UnifiedProcedureStepPush

WORKLIST_LABEL = "Isthmus AI"
INPUT_READINESS = "READY"  # a workitem of the engine is scheduled once its input is here

_OF_PATIENT = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientSex",
)
_EMPTY = (  # Type 2 of a step that names no admission, no person and no place
    "AdmissionID",
    "IssuerOfAdmissionIDSequence",
    "AdmittingDiagnosesDescription",
    "AdmittingDiagnosesCodeSequence",
    "ScheduledStationClassCodeSequence",
    "ScheduledStationGeographicLocationCodeSequence",
    "ScheduledProcessingParametersSequence",
    "CommentsOnTheScheduledProcedureStep",
)
_OF_REQUEST = ("AccessionNumber", "IssuerOfAccessionNumberSequence")
_NOT_REQUESTED = (  # Type 2 of an item of Referenced Request Sequence
    "PlacerOrderNumberImagingServiceRequest",
    "OrderPlacerIdentifierSequence",
    "FillerOrderNumberImagingServiceRequest",
    "OrderFillerIdentifierSequence",
    "RequestedProcedureID",
    "RequestedProcedureDescription",
    "RequestedProcedureCodeSequence",
)


@dataclass(frozen=True, slots=True)
class View:
    """What surrounds a workitem in an answer."""

    study: Mapping[str, Json]  # DICOM JSON of the study: patient and study attributes; empty: not stored here
    public_base: str  # of retrieval URLs
    instances: bool = True  # whether every input instance is named


def ups_json(row: RowMapping, view: View) -> DicomJson:
    """The Unified Procedure Step of a row of the workitem table, as a DICOM JSON Model Object."""
    return item(
        _identity(row, view), _relationship(row, view), _scheduled(row, view), progress_json(row, view)
    )


def _identity(row: RowMapping, view: View) -> DicomJson:
    return item(
        attribute("SpecificCharacterSet", "ISO_IR 192"),
        attribute("SOPClassUID", UnifiedProcedureStepPush),
        attribute("SOPInstanceUID", row["workitem_uid"]),
        *(attribute(keyword) for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")),
        _sent(view.study, _OF_PATIENT),
    )


def _relationship(row: RowMapping, view: View) -> DicomJson:
    request = item(
        attribute("StudyInstanceUID", row["study_instance_uid"]),
        *(attribute(keyword) for keyword in (*_OF_REQUEST, *_NOT_REQUESTED)),
        _sent(view.study, _OF_REQUEST),
    )
    replaced = row["predecessor_uid"]
    reference = _reference(UnifiedProcedureStepPush, replaced) if replaced else None
    return item(
        attribute("ReferencedRequestSequence", request),
        attribute("ReplacedProcedureStepSequence", reference) if reference else {},
        *(attribute(keyword) for keyword in _EMPTY),
    )


def _scheduled(row: RowMapping, view: View) -> DicomJson:
    return item(
        attribute("StudyInstanceUID", row["study_instance_uid"]),
        attribute("ScheduledProcedureStepPriority", row["priority"]),
        attribute("ScheduledProcedureStepModificationDateTime", date_time(row["changed_us"])),
        attribute("ScheduledProcedureStepStartDateTime", date_time(row["scheduled_us"])),
        attribute("ProcedureStepLabel", _label(row)),
        attribute("WorklistLabel", WORKLIST_LABEL),
        scheduled_station(row),
        attribute("ScheduledWorkitemCodeSequence", coded(IMAGE_PROCESSING)),
        attribute("InputReadinessState", INPUT_READINESS),
        attribute("InputInformationSequence", *_instances(decode_series(row["input"]), view)),
    )


def progress_json(row: RowMapping, view: View) -> DicomJson:
    """State, progress and result of a step, as the engine's row says them."""
    state = State(row["state"])
    details = item(
        attribute("ProcedureStepProgress", row["progress"]),
        attribute("ProcedureStepProgressDescription", row["progress_text"]),
        discontinuation(row) if state is not State.COMPLETED else {},
    )
    started = row["attempt"] > 0 and row["started_us"] is not None  # by the engine
    return item(
        attribute("ProcedureStepState", state.value),
        attribute("ProcedureStepProgressInformationSequence", details),
        attribute("UnifiedProcedureStepPerformedProcedureSequence", *([_performed(row, view)] * started)),
    )


def discontinuation(row: RowMapping) -> DicomJson:
    """Why and when the step is, or is asked to be, discontinued."""
    reason = reason_of(row)
    if reason is None:
        return {}
    ended_us = row["ended_us"]
    return item(
        attribute("ProcedureStepCancellationDateTime", date_time(ended_us)) if ended_us else {},
        attribute("ProcedureStepDiscontinuationReasonCodeSequence"),
        reason_given(row),
    )


def reason_given(row: Facts) -> DicomJson:
    """The reason why a step is, or is asked to be, discontinued; empty: none was given."""
    reason = reason_of(row)
    if reason is None:
        return {}
    codes = [coded(reason.code)] if reason.code else []
    return item(
        attribute("ReasonForCancellation", reason.text) if reason.text else {},
        attribute("ProcedureStepDiscontinuationReasonCodeSequence", *codes) if codes else {},
    )


def scheduled_station(row: Facts) -> DicomJson:
    """Who is to perform the step: a model's version."""
    return attribute("ScheduledStationNameCodeSequence", coded(_station(row)))


def _performed(row: RowMapping, view: View) -> DicomJson:
    return item(
        attribute("PerformedStationNameCodeSequence", coded(_station(row))),
        attribute("PerformedWorkitemCodeSequence", coded(IMAGE_PROCESSING)),
        attribute("PerformedProcedureStepStartDateTime", date_time(row["started_us"])),
        attribute("PerformedProcedureStepEndDateTime", date_time(row["ended_us"])),
        attribute("PerformedProcedureStepDescription", _label(row)),
        attribute("OutputInformationSequence", *_instances(decode_series(row["output"]), view)),
    )


def _instances(references: Iterable[SeriesReference], view: View) -> list[DicomJson]:
    """Items of Input and Output Information Sequence (PS3.3 Table 10-3b, Referenced Instances and Access)."""
    return [
        item(
            attribute("TypeOfInstances", "DICOM"),
            attribute("StudyInstanceUID", series.study_instance_uid),
            attribute("SeriesInstanceUID", series.series_instance_uid),
            _named(series) if view.instances else {},
            attribute("WADORSRetrievalSequence", attribute("RetrieveURL", _url(series, view))),
        )
        for series in references
    ]


def _named(series: SeriesReference) -> DicomJson:
    references = (_reference(series.sop_class_uid, uid) for uid in series.sop_instance_uids)
    return attribute("ReferencedSOPSequence", *references)


def _reference(sop_class_uid: str, sop_instance_uid: str) -> DicomJson:
    return item(
        attribute("ReferencedSOPClassUID", sop_class_uid),
        attribute("ReferencedSOPInstanceUID", sop_instance_uid),
    )


def _url(series: SeriesReference, view: View) -> str:
    return series_url(view.public_base, series.study_instance_uid, series.series_instance_uid)


def _station(row: Facts) -> Code:
    return Code(LOCAL_SCHEME, row["model_name"], _label(row))


def _label(row: Facts) -> str:
    return f"{row['model_name']} {row['model_version']}"


def _sent(study: Mapping[str, Json], keywords: Iterable[str]) -> DicomJson:
    """Those of the study's attributes that it has, as they are shown."""
    keys = (key for keyword in keywords for key in attribute(keyword))
    return {key: study[key] for key in keys if key in study}
