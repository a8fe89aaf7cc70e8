"""The columns of a study, series and instance row, taken from DICOM JSON. Pure.

Rows of an older `INDEX_VERSION` are computed anew by `dicomweb/store/reindex.py`: raise it with every change
of what a column holds.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from dicomweb.attributes import INDEXED, DicomJson, Json, integer, items, text
from dicomweb.normal_forms import name_groups, normal_date, normal_time
from dicomweb.phonetic import sound_of, words_of
from dicomweb.wire.dictionary import key_of

INDEX_VERSION = 2
MAX_KEY_CHARACTERS = 256  # of a text that is compared; no VR of a key allows more, and an index takes 2.7 kB
MAX_NAME_WORDS = 32  # of one name
MAX_INDEXED_BYTES = 64 << 10  # of the attributes of study and series, as JSON
MAX_LONG_ATTRIBUTE_BYTES = 4 << 10  # of each when they exceed that
MAX_REQUESTS = 100  # items of Request Attributes Sequence that a series is found by

STUDY_TEXT: Mapping[str, str] = {
    "accession_number": key_of("AccessionNumber"),
    "study_identifier": key_of("StudyID"),
    "patient_sex": key_of("PatientSex"),
    "study_description": key_of("StudyDescription"),
    "issuer_of_patient_id": key_of("IssuerOfPatientID"),
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
SERIES_TEXT: Mapping[str, str] = {
    "modality": MODALITY,
    "series_description": key_of("SeriesDescription"),
    "protocol_name": key_of("ProtocolName"),
    "station_name": key_of("StationName"),
    "institution_name": key_of("InstitutionName"),
    "manufacturer": key_of("Manufacturer"),
    "manufacturer_model_name": key_of("ManufacturerModelName"),
}
SERIES_DATES: Mapping[str, str] = {
    "series_date": key_of("SeriesDate"),
    "performed_procedure_step_start_date": key_of("PerformedProcedureStepStartDate"),
}
SERIES_TIMES: Mapping[str, str] = {
    "series_time": key_of("SeriesTime"),
    "performed_procedure_step_start_time": key_of("PerformedProcedureStepStartTime"),
}
BODY_PART_EXAMINED = key_of("BodyPartExamined")
SERIES_NUMBER = key_of("SeriesNumber")
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


def keep_indexed(dicom_json: DicomJson) -> None:
    """Take away what the rows of study, series and instance are not made of.

    Study and series rows hold their attributes as sent, and each search reads them: when they are many bytes,
    the long ones go too. Metadata has everything.
    """
    for name in dicom_json.keys() - INDEXED:
        del dicom_json[name]
    if len(orjson.dumps(dicom_json)) > MAX_INDEXED_BYTES:
        sizes = {name: len(orjson.dumps(each)) for name, each in dicom_json.items()}
        for name in (name for name, size in sizes.items() if size > MAX_LONG_ATTRIBUTE_BYTES):
            del dicom_json[name]


def study_columns(dicom_json: Mapping[str, Json]) -> dict[str, Any]:
    """The matching columns of a study row."""
    columns: dict[str, Any] = {column: _text(dicom_json, name) for column, name in STUDY_TEXT.items()}
    columns |= {column: normal_date(text(dicom_json, name)) for column, name in STUDY_DATES.items()}
    columns["study_time"] = normal_time(text(dicom_json, STUDY_TIME))
    for column, name in STUDY_NAMES.items():
        groups = name_groups(dicom_json, name)
        columns[f"{column}_folded"] = groups.alphabetic[:MAX_KEY_CHARACTERS]
        columns[f"{column}_ideographic"] = groups.ideographic[:MAX_KEY_CHARACTERS]
        columns[f"{column}_phonetic"] = groups.phonetic[:MAX_KEY_CHARACTERS]
    columns["patient_name_words"] = name_groups(dicom_json, STUDY_NAMES["patient_name"]).words
    return columns | {"index_version": INDEX_VERSION}


def study_names(dicom_json: Mapping[str, Json]) -> list[dict[str, str]]:
    """The rows of `StudyName`, without their study: the words of each name and how they sound."""
    rows: list[dict[str, str]] = []
    for attribute, name in STUDY_NAMES.items():
        groups = name_groups(dicom_json, name)
        words = words_of(" ".join((groups.alphabetic, groups.ideographic, groups.phonetic)))
        kept = dict.fromkeys(word[:MAX_KEY_CHARACTERS] for word in words[:MAX_NAME_WORDS])
        rows += [{"attribute": attribute, "word": word, "sound": sound_of(word)} for word in kept]
    return rows


def series_columns(dicom_json: Mapping[str, Json]) -> dict[str, Any]:
    """The matching columns of a series row."""
    columns: dict[str, Any] = {column: _text(dicom_json, name) for column, name in SERIES_TEXT.items()}
    columns |= {column: normal_date(text(dicom_json, name)) for column, name in SERIES_DATES.items()}
    columns |= {column: normal_time(text(dicom_json, name)) for column, name in SERIES_TIMES.items()}
    return columns | {
        "body_part_examined": _text(dicom_json, BODY_PART_EXAMINED).upper(),
        "series_number": integer(dicom_json, SERIES_NUMBER),
        "index_version": INDEX_VERSION,
    }


def _text(dicom_json: Mapping[str, Json], name: str) -> str:
    return text(dicom_json, name)[:MAX_KEY_CHARACTERS]


def series_requests(dicom_json: Mapping[str, Json]) -> list[dict[str, str]]:
    """The matching columns of each item of Request Attributes Sequence, of the first `MAX_REQUESTS`."""
    return [
        {
            "scheduled_procedure_step_id": _text(item, SCHEDULED_PROCEDURE_STEP_ID),
            "requested_procedure_id": _text(item, REQUESTED_PROCEDURE_ID),
        }
        for item in items(dicom_json, REQUEST_ATTRIBUTES_SEQUENCE)[:MAX_REQUESTS]
    ]


def instance_columns(dicom_json: Mapping[str, Json]) -> dict[str, Any]:
    """The matching and descriptive columns of an instance row."""
    return {column: integer(dicom_json, name) for column, name in INSTANCE_NUMBERS.items()}
