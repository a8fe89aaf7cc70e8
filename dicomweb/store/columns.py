"""The columns of a study, series and instance row, taken from DICOM JSON. Pure."""

from collections.abc import Mapping
from typing import Any

from dicomweb.attributes import Json, integer, text, values
from dicomweb.normal_forms import name_groups, normal_date, normal_time
from dicomweb.wire.dictionary import key_of

STUDY_TEXT: Mapping[str, str] = {
    "accession_number": key_of("AccessionNumber"),
    "study_identifier": key_of("StudyID"),
    "patient_sex": key_of("PatientSex"),
}
STUDY_DATES: Mapping[str, str] = {
    "study_date": key_of("StudyDate"),
    "patient_birth_date": key_of("PatientBirthDate"),
}
STUDY_NAMES: Mapping[str, str] = {
    "patient_name": key_of("PatientName"),
    "referring_physician_name": key_of("ReferringPhysicianName"),
}
STUDY_TIME = key_of("StudyTime")

MODALITY = key_of("Modality")
SERIES_NUMBER = key_of("SeriesNumber")
STEP_START_DATE = key_of("PerformedProcedureStepStartDate")
STEP_START_TIME = key_of("PerformedProcedureStepStartTime")
REQUEST_ATTRIBUTES_SEQUENCE = key_of("RequestAttributesSequence")
SCHEDULED_PROCEDURE_STEP_ID = key_of("ScheduledProcedureStepID")
REQUESTED_PROCEDURE_ID = key_of("RequestedProcedureID")

INSTANCE_NUMBERS: Mapping[str, str] = {
    "instance_number": key_of("InstanceNumber"),
    "rows": key_of("Rows"),
    "columns": key_of("Columns"),
    "bits_allocated": key_of("BitsAllocated"),
    "number_of_frames": key_of("NumberOfFrames"),
}


def study_columns(dicom_json: Mapping[str, Json]) -> dict[str, Any]:
    """The matching columns of a study row."""
    columns: dict[str, Any] = {column: text(dicom_json, name) for column, name in STUDY_TEXT.items()}
    columns |= {column: normal_date(text(dicom_json, name)) for column, name in STUDY_DATES.items()}
    columns["study_time"] = normal_time(text(dicom_json, STUDY_TIME))
    for column, name in STUDY_NAMES.items():
        groups = name_groups(dicom_json, name)
        columns[f"{column}_folded"] = groups.alphabetic
        columns[f"{column}_ideographic"] = groups.ideographic
        columns[f"{column}_phonetic"] = groups.phonetic
    columns["patient_name_words"] = name_groups(dicom_json, STUDY_NAMES["patient_name"]).words
    return columns


def series_columns(dicom_json: Mapping[str, Json]) -> dict[str, Any]:
    """The matching columns of a series row."""
    return {
        "modality": text(dicom_json, MODALITY),
        "series_number": integer(dicom_json, SERIES_NUMBER),
        "performed_procedure_step_start_date": normal_date(text(dicom_json, STEP_START_DATE)),
        "performed_procedure_step_start_time": normal_time(text(dicom_json, STEP_START_TIME)),
    }


def series_requests(dicom_json: Mapping[str, Json]) -> list[dict[str, str]]:
    """The matching columns of each item of Request Attributes Sequence."""
    return [
        {
            "scheduled_procedure_step_id": text(item, SCHEDULED_PROCEDURE_STEP_ID),
            "requested_procedure_id": text(item, REQUESTED_PROCEDURE_ID),
        }
        for item in values(dicom_json, REQUEST_ATTRIBUTES_SEQUENCE)
    ]


def instance_columns(dicom_json: Mapping[str, Json]) -> dict[str, Any]:
    """The matching and descriptive columns of an instance row."""
    return {column: integer(dicom_json, name) for column, name in INSTANCE_NUMBERS.items()}
