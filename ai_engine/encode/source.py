"""What an object takes over from its source images, and what it says of its own making.

The Patient and Study attributes are the source's, whatever they hold: the result must land in the same study,
of the same patient, of the same issuer. highdicom checks such values and would refuse those of many real
studies; so it is given blanks, and the source's attributes are put in afterwards.

Text is written as UTF-8. The date and time of making are in the source's Timezone Offset From UTC where it
has one, since that attribute (copied) holds for every date and time of the object.
"""

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from io import BytesIO

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID

from ai_engine.encode.equipment import Equipment
from ai_engine.encode.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, UidSource
from server.kernel.uids import derived_uid

UTF_8 = "ISO_IR 192"
OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")

# Patient, Clinical Trial Subject, General Study, Patient Study, Clinical Trial Study (PS3.3 C.7.1.1, C.7.1.3,
# C.7.2.1, C.7.2.2, C.7.2.3), without references to objects that are about the images themselves
INHERITED = (
    *(
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "TypeOfPatientID",
        "IssuerOfPatientIDQualifiersSequence",
    ),
    *("SourcePatientGroupIdentificationSequence", "GroupOfPatientsIdentificationSequence"),
    *("PatientBirthDate", "PatientBirthTime", "PatientBirthDateInAlternativeCalendar"),
    *("PatientDeathDateInAlternativeCalendar", "PatientAlternativeCalendar", "PatientSex"),
    *("QualityControlSubject", "StrainDescription", "StrainNomenclature", "StrainStockSequence"),
    *(
        "StrainAdditionalInformation",
        "StrainCodeSequence",
        "GeneticModificationsSequence",
        "OtherPatientNames",
    ),
    *("OtherPatientIDsSequence", "EthnicGroupCodeSequence", "PatientSpeciesDescription"),
    *("PatientSpeciesCodeSequence", "PatientBreedDescription", "PatientBreedCodeSequence"),
    *("BreedRegistrationSequence", "ResponsiblePerson", "ResponsiblePersonRole", "ResponsibleOrganization"),
    *(
        "PatientComments",
        "PatientIdentityRemoved",
        "DeidentificationMethod",
        "DeidentificationMethodCodeSequence",
    ),
    *("ClinicalTrialSponsorName", "ClinicalTrialProtocolID", "ClinicalTrialProtocolName"),
    *("IssuerOfClinicalTrialProtocolID", "OtherClinicalTrialProtocolIDsSequence", "ClinicalTrialSiteID"),
    *("ClinicalTrialSiteName", "IssuerOfClinicalTrialSiteID", "ClinicalTrialSubjectID"),
    *(
        "IssuerOfClinicalTrialSubjectID",
        "ClinicalTrialSubjectReadingID",
        "IssuerOfClinicalTrialSubjectReadingID",
    ),
    *("ClinicalTrialProtocolEthicsCommitteeName", "ClinicalTrialProtocolEthicsCommitteeApprovalNumber"),
    *(
        "StudyDate",
        "StudyTime",
        "AccessionNumber",
        "IssuerOfAccessionNumberSequence",
        "ReferringPhysicianName",
    ),
    *("ReferringPhysicianIdentificationSequence", "ConsultingPhysicianName"),
    *("ConsultingPhysicianIdentificationSequence", "StudyDescription", "ProcedureCodeSequence"),
    *("PhysiciansOfRecord", "PhysiciansOfRecordIdentificationSequence", "NameOfPhysiciansReadingStudy"),
    *("PhysiciansReadingStudyIdentificationSequence", "StudyInstanceUID", "StudyID", "RequestingService"),
    *("RequestingServiceCodeSequence", "ReasonForPerformedProcedureCodeSequence"),
    *("AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "PatientAge", "PatientSize"),
    *("PatientSizeCodeSequence", "PatientBodyMassIndex", "MeasuredAPDimension", "MeasuredLateralDimension"),
    *(
        "PatientWeight",
        "MedicalAlerts",
        "Allergies",
        "Occupation",
        "SmokingStatus",
        "AdditionalPatientHistory",
    ),
    *(
        "PregnancyStatus",
        "LastMenstrualDate",
        "PatientSexNeutered",
        "ReasonForVisit",
        "ReasonForVisitCodeSequence",
    ),
    *("AdmissionID", "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "ServiceEpisodeDescription"),
    *("IssuerOfServiceEpisodeIDSequence", "PatientState", "ClinicalTrialTimePointID"),
    *(
        "ClinicalTrialTimePointDescription",
        "LongitudinalTemporalOffsetFromEvent",
        "LongitudinalTemporalEventType",
    ),
    *("ClinicalTrialTimePointTypeCodeSequence", "IssuerOfClinicalTrialTimePointID"),
    *("ConsentForClinicalTrialUseSequence", "TimezoneOffsetFromUTC"),
)
BLANK = (  # Type 2 of Patient and General Study: present, perhaps empty
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
ACQUIRED_BY = (  # General Equipment, and how the pixels were kept
    *("Manufacturer", "ManufacturerModelName", "InstitutionName", "StationName", "DeviceSerialNumber"),
    *(
        "SoftwareVersions",
        "LossyImageCompression",
        "LossyImageCompressionRatio",
        "LossyImageCompressionMethod",
    ),
)


@dataclass(frozen=True, slots=True)
class Making:
    """By whom and when a result is encoded, and the UIDs it gets.

    `made_at` knows its offset; it is written as it is where the source states no offset.
    """

    made_by: Equipment
    made_at: datetime
    uids: UidSource


@dataclass(frozen=True, slots=True)
class InstanceReference:
    """A composite instance as others refer to it (PS3.3 Table 10-3b)."""

    study_instance_uid: str
    series_instance_uid: str
    sop_class_uid: str
    sop_instance_uid: str


def reference_to(instance: Dataset) -> InstanceReference:
    """How to refer to this instance."""
    return InstanceReference(
        str(instance.StudyInstanceUID),
        str(instance.SeriesInstanceUID),
        str(instance.SOPClassUID),
        str(instance.SOPInstanceUID),
    )


def blank_context(source: Dataset) -> Dataset:
    """A stand-in for a source image: what it is, where it belongs, and blanks for patient and study."""
    context = Dataset()
    for keyword in ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"):
        setattr(context, keyword, str(source[keyword].value))
    for keyword in BLANK:
        setattr(context, keyword, "")
    return context


def frame_of_reference_uid(image: Dataset) -> str:
    """That of the image; where it states none, one of its series."""
    return str(image.get("FrameOfReferenceUID") or derived_uid(image.SeriesInstanceUID, "frame"))


def complete(made: Dataset, source: Dataset, making: Making) -> None:
    """Put in the patient and study of `source`, the time of making, and our implementation."""
    made.SpecificCharacterSet = UTF_8
    for keyword in INHERITED:
        if keyword in made and keyword not in BLANK:
            del made[keyword]
    copy_readable(source, made, INHERITED)
    _write_time(made, local_time(making.made_at, str(source.get("TimezoneOffsetFromUTC") or "")))
    made.file_meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    made.file_meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME


def local_time(made_at: datetime, offset: str) -> datetime:
    """`made_at` as a clock at this Timezone Offset From UTC ("+0100") shows it."""
    if not (match := OFFSET.fullmatch(offset.strip())):
        return made_at
    sign, hours, minutes = match.groups()
    shift = timedelta(hours=int(hours), minutes=int(minutes))
    return made_at.astimezone(timezone(-shift if sign == "-" else shift))


def write_part10(made: Dataset) -> bytes:
    """The instance as a DICOM file (PS3.10 7)."""
    assert isinstance(made.file_meta, FileMetaDataset)
    buffer = BytesIO()
    dcmwrite(buffer, made, enforce_file_format=True)
    return buffer.getvalue()


def _write_time(made: Dataset, at: datetime) -> None:
    date, time = at.strftime("%Y%m%d"), at.strftime("%H%M%S.%f")
    for prefix in ("InstanceCreation", "Content", "Series"):
        setattr(made, f"{prefix}Date", date)
        setattr(made, f"{prefix}Time", time)
    for equipment in made.get("ContributingEquipmentSequence", ()):
        equipment.ContributionDateTime = date + time


def copy_readable(source: Dataset, target: Dataset, keywords: Sequence[str]) -> None:
    """Copy these attributes; one that breaks its value representation beyond reading is left out."""
    for keyword in keywords:
        if keyword not in source:
            continue
        try:
            element = copy.deepcopy(source[keyword])
            if element.VR == "SQ":
                _decode_items(element.value)
        except (ValueError, TypeError, NotImplementedError):
            continue
        target[keyword] = element


def _decode_items(items: Sequence[Dataset]) -> None:
    """Decode all text now, by the source's character set: what stays raw would be written as it came."""
    for item in items:
        for _ in item.iterall():
            pass
        if "SpecificCharacterSet" in item:
            del item["SpecificCharacterSet"]
