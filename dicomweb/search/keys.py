"""The matching keys of PS3.18 Tables 10.6.1-3, -4 and -5, and the columns they are compared with."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from dicomweb.attributes import Level
from dicomweb.wire.dictionary import key_of


class Source(Enum):
    """The table in which a key's column lies."""

    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"
    SERIES_OF_STUDY = "series of the study"  # any series of the study matches
    REQUEST = "request attributes"  # any item of the sequence matches


SORTED_SOURCES = frozenset({Source.STUDY, Source.SERIES, Source.INSTANCE})  # one value for each answer


@dataclass(frozen=True, slots=True)
class Key:
    """One matching key. `path` is how a query names it: tags joined by dots (PS3.18 8.3.4.1)."""

    path: str
    vr: str
    level: Level
    source: Source
    column: str  # for PN the stem: `…_folded`, `…_ideographic`, `…_phonetic`


def _key(path: str, vr: str, level: Level, source: Source, column: str) -> Key:
    return Key(".".join(map(key_of, path.split("."))), vr, level, source, column)


STUDY_INSTANCE_UID = _key("StudyInstanceUID", "UI", Level.STUDY, Source.STUDY, "study_instance_uid")
SERIES_INSTANCE_UID = _key("SeriesInstanceUID", "UI", Level.SERIES, Source.SERIES, "series_instance_uid")
SOP_INSTANCE_UID = _key("SOPInstanceUID", "UI", Level.INSTANCE, Source.INSTANCE, "sop_instance_uid")

_ALL = (
    # Table 10.6.1-3, and what study lists are searched by beside
    STUDY_INSTANCE_UID,
    _key("StudyDate", "DA", Level.STUDY, Source.STUDY, "study_date"),
    _key("StudyTime", "TM", Level.STUDY, Source.STUDY, "study_time"),
    _key("AccessionNumber", "SH", Level.STUDY, Source.STUDY, "accession_number"),
    _key("ModalitiesInStudy", "CS", Level.STUDY, Source.SERIES_OF_STUDY, "modality"),
    _key("ReferringPhysicianName", "PN", Level.STUDY, Source.STUDY, "referring_physician_name"),
    _key("PatientName", "PN", Level.STUDY, Source.STUDY, "patient_name"),
    _key("PatientID", "LO", Level.STUDY, Source.STUDY, "patient_value"),
    _key("StudyID", "SH", Level.STUDY, Source.STUDY, "study_identifier"),
    _key("PatientBirthDate", "DA", Level.STUDY, Source.STUDY, "patient_birth_date"),
    _key("PatientSex", "CS", Level.STUDY, Source.STUDY, "patient_sex"),
    _key("IssuerOfPatientID", "LO", Level.STUDY, Source.STUDY, "issuer_of_patient_id"),
    _key("StudyDescription", "LO", Level.STUDY, Source.STUDY, "study_description"),
    # Table 10.6.1-4, and what series lists are searched by beside
    SERIES_INSTANCE_UID,
    _key("Modality", "CS", Level.SERIES, Source.SERIES, "modality"),
    _key("SeriesNumber", "IS", Level.SERIES, Source.SERIES, "series_number"),
    _key(
        "PerformedProcedureStepStartDate",
        "DA",
        Level.SERIES,
        Source.SERIES,
        "performed_procedure_step_start_date",
    ),
    _key(
        "PerformedProcedureStepStartTime",
        "TM",
        Level.SERIES,
        Source.SERIES,
        "performed_procedure_step_start_time",
    ),
    _key(
        "RequestAttributesSequence.ScheduledProcedureStepID",
        "SH",
        Level.SERIES,
        Source.REQUEST,
        "scheduled_procedure_step_id",
    ),
    _key(
        "RequestAttributesSequence.RequestedProcedureID",
        "SH",
        Level.SERIES,
        Source.REQUEST,
        "requested_procedure_id",
    ),
    _key("SeriesDate", "DA", Level.SERIES, Source.SERIES, "series_date"),
    _key("SeriesTime", "TM", Level.SERIES, Source.SERIES, "series_time"),
    _key("SeriesDescription", "LO", Level.SERIES, Source.SERIES, "series_description"),
    _key("ProtocolName", "LO", Level.SERIES, Source.SERIES, "protocol_name"),
    _key("BodyPartExamined", "CS", Level.SERIES, Source.SERIES, "body_part_examined"),
    _key("StationName", "SH", Level.SERIES, Source.SERIES, "station_name"),
    _key("InstitutionName", "LO", Level.SERIES, Source.SERIES, "institution_name"),
    _key("Manufacturer", "LO", Level.SERIES, Source.SERIES, "manufacturer"),
    _key("ManufacturerModelName", "LO", Level.SERIES, Source.SERIES, "manufacturer_model_name"),
    # Table 10.6.1-5
    SOP_INSTANCE_UID,
    _key("SOPClassUID", "UI", Level.INSTANCE, Source.INSTANCE, "sop_class_uid"),
    _key("InstanceNumber", "IS", Level.INSTANCE, Source.INSTANCE, "instance_number"),
)

KEYS: Mapping[str, Key] = {key.path: key for key in _ALL}
