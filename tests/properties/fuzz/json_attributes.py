"""DICOM JSON as strangers write it: nearly right, or anything."""

from typing import Any

from hypothesis import strategies as st

from dicomweb.wire.dictionary import key_of

Json = Any
KEYWORDS = (
    "SpecificCharacterSet",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "StudyDate",
    "StudyTime",
    "Modality",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "IssuerOfPatientIDQualifiersSequence",
    "RequestAttributesSequence",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelData",
    "EncapsulatedDocument",
    "ProcedureStepState",
    "TransactionUID",
    "ScheduledProcedureStepPriority",
    "ProcedureStepLabel",
    "ScheduledProcedureStepStartDateTime",
    "InputReadinessState",
    "InputInformationSequence",
    "ReferencedRequestSequence",
    "ReferencedSOPSequence",
    "ScheduledStationNameCodeSequence",
    "ScheduledHumanPerformersSequence",
    "HumanPerformerCodeSequence",
    "CodeValue",
    "ProcedureStepProgressInformationSequence",
    "ProcedureStepProgress",
    "UnifiedProcedureStepPerformedProcedureSequence",
    "OutputInformationSequence",
    "ProcedureStepDiscontinuationReasonCodeSequence",
)
VRS = (
    *("AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO", "LT", "OB", "OW", "PN", "SH", "SL"),
    *("SQ", "SS", "ST", "TM", "UC", "UI", "UL", "UN", "UR", "US", "UT", "UV", "ZZ"),
)
TEXTS = ("", "1.2.3", "1.2.840.10008.5.1.4.1.1.2", "20260131", "1015", "READY", "SCHEDULED", "HIGH", "a\\b")
TEXTS += ("Müller^Jörg", "\x00", "\ud7ff", "-1", "1e400", "=", "pixels", "QUJD", "x" * 70)

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(TEXTS)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
)
names = st.dictionaries(st.sampled_from(["Alphabetic", "Ideographic", "Phonetic", "x"]), scalars, max_size=3)
anything = st.recursive(
    scalars, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=8), each, max_size=3)
)
keys = (
    st.sampled_from(list(map(key_of, KEYWORDS)))
    | st.sampled_from(["7fe00010", "00090010", "00091001", "00020010", "FFFEE000", "0008", "PatientID", ""])
    | st.integers(0, 2**32 - 1).map(lambda tag: f"{tag:08X}")
)


def attributes(items: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    """An attribute whose sequences hold `items`."""
    values = st.lists(scalars | names | items | anything, max_size=4)
    members = {
        "Value": values | anything,
        "InlineBinary": st.sampled_from(["QUJD", "QUJDRA==", "!"]) | anything,
        "BulkDataURI": st.sampled_from(["pixels", "http://127.0.0.1/x", "file:///etc/passwd"]) | anything,
    }
    likely = st.fixed_dictionaries({"vr": st.sampled_from(VRS), "Value": values})
    return likely | st.fixed_dictionaries({}, optional={"vr": st.sampled_from(VRS) | anything, **members})


data_sets = st.recursive(
    st.dictionaries(keys, attributes(st.nothing()) | anything, max_size=4),
    lambda each: st.dictionaries(keys, attributes(each) | anything, max_size=6),
    max_leaves=6,
)
