"""Which attributes an administrator may set, and of the others why not (DESIGN §5, Corrections). Pure.

What names an object, says what kind it is or how its pixels are to be read is as it was sent; so is what only
one instance says. Whose a study is, is decided by merges, never by a correction.
"""

from collections.abc import Mapping

from dicomweb.attributes import ATTRIBUTES_OF, Level, keys_of
from dicomweb.wire.dictionary import entry_of, key_of, tag_of
from server.kernel.faults import Fault

UIDS = "a UID names the object, and stays"
WHOSE = "it says whose the study is: merge the Patients instead"
HOW = "it says how the object is to be read, and stays as sent"
DE_IDENTIFIED = "it says what was done to the object before it was sent"
BINARY = "its value is a binary number, and only texts are corrected"
NOT_HERE = "it is no attribute of a {level}, which alone can be corrected here"

# Of those that belong to a study or series; what they say decides more than what is shown.
KEPT: Mapping[str, str] = {
    **dict.fromkeys(keys_of("StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID"), UIDS),
    **dict.fromkeys(keys_of("ReferencedStudySequence ReferencedPerformedProcedureStepSequence"), UIDS),
    **dict.fromkeys(
        keys_of("PatientID IssuerOfPatientID TypeOfPatientID IssuerOfPatientIDQualifiersSequence"), WHOSE
    ),
    **dict.fromkeys(
        keys_of("""
        SpecificCharacterSet TimezoneOffsetFromUTC Modality PatientPosition AnatomicalOrientationType
        PositionReferenceIndicator
        """),
        HOW,
    ),
    **dict.fromkeys(
        keys_of("PatientIdentityRemoved DeidentificationMethod DeidentificationMethodCodeSequence"),
        DE_IDENTIFIED,
    ),
    **dict.fromkeys(keys_of("PregnancyStatus"), BINARY),
}
CORRECTABLE: Mapping[Level, frozenset[str]] = {
    level: attributes - KEPT.keys() for level, attributes in ATTRIBUTES_OF.items()
}
# Value Multiplicity 1-n (PS3.6 §6); of the others one value.
SEVERAL = keys_of("""
OtherPatientNames MedicalAlerts Allergies AdmittingDiagnosesDescription PhysiciansOfRecord
NameOfPhysiciansReadingStudy ConsultingPhysicianName OperatorsName PerformingPhysicianName SoftwareVersions
""")


class NotCorrectable(Fault):
    """The attribute stays as it was sent; the message says why."""


def require_correctable(name: str, level: Level) -> str:
    """The DICOM JSON key of an attribute that is named by keyword or tag, and may be corrected.

    Raises:
        NotCorrectable: it may not, or there is no such attribute.
    """
    tag = tag_of(name)
    key = key_of(name) if tag is not None else name.upper()
    if key in CORRECTABLE[level]:
        return key
    if key in KEPT:
        raise NotCorrectable(f"{_shown(key)} cannot be corrected: {KEPT[key]}.")
    for other, keys in CORRECTABLE.items():
        if key in keys:
            raise NotCorrectable(f"{_shown(key)} is corrected for the whole {other.name.lower()}.")
    raise NotCorrectable(f"{_shown(key)} cannot be corrected: {NOT_HERE.format(level=level.name.lower())}.")


def _shown(key: str) -> str:
    """A keyword, or what is shown of a name that is none: it may be anything."""
    try:
        entry = entry_of(int(key, 16)) if len(key) == 8 else None
    except ValueError:
        entry = None
    return entry[1] if entry and entry[1] else "An attribute that is named"
