"""The concepts that our SRs name beside those of the findings, and where a reader meets them.

Root of the document (TID 1500), in this order:
    language · Observer Type, Device Observer UID/Name/Manufacturer/Model Name · Procedure reported
    CONTAINER IMAGE_LIBRARY > IMAGE_LIBRARY_GROUP: the slices that findings touch (absent when there are none)
    CONTAINER IMAGING_MEASUREMENTS (absent when there is no finding)
        CONTAINER Measurement Group (125007, DCM), one per `Finding`: TID 1411 with its segment, TID 1410 with
        its region on an image, or TID 1501:
            TEXT Tracking Identifier, UIDREF Tracking Unique Identifier (the same as in the SEG)
            CODE Finding category, Finding, Finding Site (> Laterality) · TID 4019 Algorithm Identification
            CODE LATERALITY, when the finding has a laterality and no site
            IMAGE Referenced Segment (121191, DCM), UIDREF source series; or SCOORD Image Region
                (111030, DCM) > IMAGE; or nothing
            NUM per `Measurement`, UCUM unit, below it: CODE Derivation,
                TEXT METHOD_IN_WORDS (HAS CONCEPT MOD), IMAGE Source of Measurement when it was one slice
            NUM PROBABILITY, unit {1, UCUM}, when the finding has one,
                below it NUM STANDARD_DEVIATION (HAS PROPERTIES) when it is stated
        CONTAINER Measurement Group, TID 1410: the same tracking, finding and site, and nothing but SCOORD
            Image Region > IMAGE; when the group above has none
        CONTAINER Measurement Group, TID 1410: likewise with SCOORD3D Image Region (POINT), the centre in
            LPS mm; when the finding has a location in a patient
    CONTAINER QUALITATIVE_EVALUATIONS (always there)
        TEXT CONCLUSION (the whole conclusion, always the first)
        CODE per `Evaluation`: what was looked for, and the value (Absent),
            below it NUM PROBABILITY (HAS PROPERTIES) when one is stated
        TEXT per `QualityFlag`, under its own concept
        TEXT NOT_MEASURED (value: its name), one per `NotMeasured`,
            below it TEXT NOT_MEASURED_REASON (HAS PROPERTIES)
        TEXT INTENDED_USE (always the last)

Rule: a code is the dictionary's (pydicom, from PS3.16), or it is in scheme 99ISTHMUS; Code Values have at
most 16 characters (VR SH).
"""

from collections.abc import Mapping

from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from ai_engine.findings import Code

SCHEME = "99ISTHMUS"
SCHEME_NAME = "Isthmus local codes"


def code_of(concept: object) -> Code:
    """A code of pydicom's dictionary as our value."""
    return Code(concept.value, concept.scheme_designator, concept.meaning)  # type: ignore[attr-defined]


def coded(code: Code) -> CodedConcept:
    """Our value as highdicom's."""
    return CodedConcept(code.value, code.scheme, code.meaning)


IMAGING_MEASUREMENTS = code_of(codes.DCM.ImagingMeasurements)
MEASUREMENT_REPORT = code_of(codes.DCM.ImagingMeasurementReport)
PROCEDURE_REPORTED = code_of(codes.DCM.ProcedureReported)
CONCLUSION = code_of(codes.DCM.Conclusion)
IMAGE_LIBRARY = code_of(codes.DCM.ImageLibrary)
IMAGE_LIBRARY_GROUP = code_of(codes.DCM.ImageLibraryGroup)
MODALITY = code_of(codes.DCM.Modality)
SOURCE = code_of(codes.SCT.Source)
PROBABILITY = code_of(codes.DCM.Probability)
STANDARD_DEVIATION = code_of(codes.SCT.StandardDeviation)  # of a probability
NO_UNITS = code_of(codes.UCUM.NoUnits)
LATERALITY = code_of(codes.SCT.Laterality)

# TID 1500 row 12; in no dictionary of pydicom. Seen in HL7's DICOM SR to FHIR guide and in DCMTK's TID 1500.
QUALITATIVE_EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")

NOT_MEASURED = Code("not-measured", SCHEME, "Not measured")
NOT_MEASURED_REASON = Code("not-measured-why", SCHEME, "Reason why not measured")
INTENDED_USE = Code("intended-use", SCHEME, "Intended use")
METHOD_IN_WORDS = Code("method-in-words", SCHEME, "Measurement method in words")
LOCAL_CODES = (NOT_MEASURED, NOT_MEASURED_REASON, INTENDED_USE, METHOD_IN_WORDS)

PROCEDURE_OF_MODALITY: Mapping[str, Code] = {  # CID 100
    "CT": code_of(codes.cid100.CTUnspecifiedBodyRegion),
    "MR": code_of(codes.cid100.MRIUnspecifiedBodyRegion),
    "PT": code_of(codes.cid100.PETUnspecifiedBodyRegion),
    "NM": code_of(codes.cid100.NMUnspecifiedBodyRegion),
    **dict.fromkeys(("CR", "DX", "MG"), code_of(codes.cid100.XRUnspecifiedBodyRegion)),
}
OTHER_PROCEDURE = code_of(codes.cid100.ImagingProcedure)
