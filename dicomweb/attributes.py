"""Which attributes belong to which level of the Query/Retrieve model, by DICOM keyword.

The levels follow the modules that PS3.3 Tables A.1-1… assign to the Patient, Study and Series entities
(C.7.1.1, C.7.2.1, C.7.2.2, C.7.3.1, C.7.4.1, C.7.5.1).
"""

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from dicomweb.wire.dictionary import key_of

Json = Any  # raw JSON
DicomJson = dict[str, Json]  # a DICOM JSON Model Object, PS3.18 F.2


class Level(IntEnum):
    """A level of the hierarchical Query/Retrieve model, from the top (PS3.4 C.6.2.1)."""

    STUDY = 1
    SERIES = 2
    INSTANCE = 3


def keys_of(keywords: str) -> frozenset[str]:
    """The DICOM JSON keys of attributes, from their keywords between blanks."""
    return frozenset(map(key_of, keywords.split()))


STUDY_ATTRIBUTES = keys_of("""
SpecificCharacterSet TimezoneOffsetFromUTC PatientName PatientID IssuerOfPatientID TypeOfPatientID
IssuerOfPatientIDQualifiersSequence PatientBirthDate PatientBirthTime PatientSex
QualityControlSubject OtherPatientIDsSequence OtherPatientNames EthnicGroup PatientComments
PatientSpeciesDescription PatientSpeciesCodeSequence PatientBreedDescription PatientBreedCodeSequence
ResponsiblePerson ResponsiblePersonRole ResponsibleOrganization PatientIdentityRemoved
DeidentificationMethod DeidentificationMethodCodeSequence StudyInstanceUID StudyDate StudyTime
AccessionNumber IssuerOfAccessionNumberSequence StudyID StudyDescription ReferringPhysicianName
ReferringPhysicianIdentificationSequence ConsultingPhysicianName PhysiciansOfRecord
NameOfPhysiciansReadingStudy RequestingService ReferencedStudySequence ProcedureCodeSequence
ReasonForPerformedProcedureCodeSequence AdmittingDiagnosesDescription AdmittingDiagnosesCodeSequence
PatientAge PatientSize PatientWeight Occupation AdditionalPatientHistory AdmissionID
IssuerOfAdmissionIDSequence ServiceEpisodeID ServiceEpisodeDescription PatientState PregnancyStatus
LastMenstrualDate SmokingStatus Allergies MedicalAlerts PatientSexNeutered ClinicalTrialSponsorName
ClinicalTrialProtocolID ClinicalTrialProtocolName ClinicalTrialSiteID ClinicalTrialSiteName
ClinicalTrialSubjectID ClinicalTrialSubjectReadingID ClinicalTrialTimePointID
""")

SERIES_ATTRIBUTES = keys_of("""
SpecificCharacterSet TimezoneOffsetFromUTC Modality SeriesInstanceUID SeriesNumber SeriesDescription
SeriesDescriptionCodeSequence SeriesDate SeriesTime Laterality BodyPartExamined PatientPosition ProtocolName
PerformingPhysicianName OperatorsName RequestAttributesSequence PerformedProcedureStepID
PerformedProcedureStepStartDate PerformedProcedureStepStartTime PerformedProcedureStepEndDate
PerformedProcedureStepEndTime PerformedProcedureStepDescription PerformedProtocolCodeSequence
ReferencedPerformedProcedureStepSequence AnatomicalOrientationType FrameOfReferenceUID
PositionReferenceIndicator ClinicalTrialCoordinatingCenterName ClinicalTrialSeriesID Manufacturer
InstitutionName InstitutionAddress StationName InstitutionalDepartmentName ManufacturerModelName
DeviceSerialNumber SoftwareVersions
""")

ATTRIBUTES_OF: Mapping[Level, frozenset[str]] = {
    Level.STUDY: STUDY_ATTRIBUTES,
    Level.SERIES: SERIES_ATTRIBUTES,
}


COLUMNS_OF_INSTANCE = keys_of("""
SOPClassUID SOPInstanceUID InstanceNumber Rows Columns BitsAllocated NumberOfFrames
AvailableTransferSyntaxUID
""")  # attributes of an instance that its index row answers without its metadata

INDEXED = STUDY_ATTRIBUTES | SERIES_ATTRIBUTES | COLUMNS_OF_INSTANCE


def of_level(dicom_json: Mapping[str, Json], level: Level) -> DicomJson:
    """The attributes of `dicom_json` that belong to a study or a series."""
    wanted = ATTRIBUTES_OF[level]
    return {name: attribute for name, attribute in dicom_json.items() if name in wanted}


def values(dicom_json: Mapping[str, Json], name: str) -> list[Json]:
    """Every value of an attribute; empty when it is absent or has none."""
    found: list[Json] = dicom_json.get(name, {}).get("Value") or []
    return found


def items(dicom_json: Mapping[str, Json], name: str) -> list[DicomJson]:
    """The items of a sequence; none where the attribute was sent as something else."""
    return [item for item in values(dicom_json, name) if isinstance(item, dict)]


def text(dicom_json: Mapping[str, Json], name: str) -> str:
    """The first value of an attribute as stripped text; "" when it is absent, empty or not text.

    Without NUL, which PostgreSQL's text cannot hold.
    """
    found = values(dicom_json, name)
    return found[0].replace("\x00", "").strip() if found and isinstance(found[0], str) else ""


def integer(dicom_json: Mapping[str, Json], name: str) -> int | None:
    """The first value of an attribute as a 32-bit integer; None when it is not one."""
    found = values(dicom_json, name)
    try:
        number = int(found[0]) if found else None
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and -(2**31) <= number < 2**31 else None
