"""The demo's study: a generated chest, or a completed copy of a real CT series.

The copy is made on the client: a server that invents UIDs or patients for what it receives would hide errors.
Rule: pixel data and transfer syntax stay as they are, and everything that is changed is said.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.errors import InvalidDicomError

from server.client.files import InstanceFile, find_files
from server.kernel.faults import Fault
from server.kernel.uids import derived_uid

DEMO_NAME = "Demo^Isthmus"

# Attributes that name or place a person, of those PS3.15 Table E.1-1 lists; the copy has none of them.
IDENTIFYING = (
    "IssuerOfPatientID",
    "IssuerOfPatientIDQualifiersSequence",
    "PatientBirthDate",
    "PatientBirthTime",
    "OtherPatientIDs",
    "OtherPatientIDsSequence",
    "OtherPatientNames",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "PatientMotherBirthName",
    "MedicalRecordLocator",
    "EthnicGroup",
    "Occupation",
    "AdditionalPatientHistory",
    "PatientComments",
    "AccessionNumber",
    "IssuerOfAccessionNumberSequence",
    "StudyID",
    "AdmissionID",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionCodeSequence",
    "InstitutionalDepartmentName",
    "ReferringPhysicianName",
    "ReferringPhysicianIdentificationSequence",
    "PhysiciansOfRecord",
    "PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy",
    "OperatorsName",
    "RequestingPhysician",
    "RequestingService",
    "StationName",
    "DeviceSerialNumber",
    "PerformedProcedureStepID",
    "ImageComments",
)
REFERENCES = (  # to objects of the original study, which the copy is no part of
    "ReferencedStudySequence",
    "ReferencedSeriesSequence",
    "ReferencedPerformedProcedureStepSequence",
    "ReferencedPatientSequence",
    "ReferencedImageSequence",
    "SourceImageSequence",
    "RequestAttributesSequence",
)


class NoDemoStudy(Fault):
    """The folder holds nothing that the demo can send."""


@dataclass(frozen=True, slots=True)
class DemoStudy:
    """A study to send. `instances` yields them one at a time: a study need not fit into memory."""

    title: str
    study_instance_uid: str
    count: int
    instances: Callable[[], Iterator[Dataset]]
    notes: tuple[str, ...] = ()  # what was completed or changed, in words for the user


def completed_study(path: Path) -> DemoStudy:
    """A copy of the largest series under `path`, completed so that an archive can take it.

    The new UIDs belong to the original ones: the same folder gives the same copy.

    Raises:
        NoDemoStudy: there is no DICOM image under `path`.
    """
    files = [file for file in find_files([path]) if isinstance(file, InstanceFile)]
    series = _largest_series(files)
    if not series:
        raise NoDemoStudy(f"There is no DICOM image under {path}.")
    seed = min(_uid_of(dcmread(each, stop_before_pixels=True)) for each in series)
    names = CopyNames.derived_from(seed)
    changes: Counter[str] = Counter()
    for each in series:
        complete(dcmread(each, stop_before_pixels=True), names, changes)
    left_out = len(files) - len(series)
    return DemoStudy(
        f"{len(series)} instances from {path}",
        names.study_instance_uid,
        len(series),
        lambda: (complete(dcmread(each), names, Counter()) for each in series),
        tuple(_notes(changes, len(series), left_out)),
    )


@dataclass(frozen=True, slots=True)
class CopyNames:
    """What the copy is called."""

    study_instance_uid: str
    series_instance_uid: str
    patient_id: str

    @classmethod
    def derived_from(cls, seed: str) -> "CopyNames":
        """The names that belong to an original, by one of its SOP Instance UIDs."""
        study = derived_uid("isthmus demo study", seed)
        series = derived_uid("isthmus demo series", seed)
        return cls(study, series, f"DEMO-{study[-8:]}")


def complete(data_set: Dataset, names: CopyNames, changes: Counter[str]) -> Dataset:
    """Complete one instance in place and return it; `changes` counts what was done."""
    meta = data_set.file_meta
    for keyword, from_meta in (
        ("SOPClassUID", "MediaStorageSOPClassUID"),
        ("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
    ):
        if not data_set.get(keyword) and meta.get(from_meta):
            setattr(data_set, keyword, meta[from_meta].value)
            changes[f"{keyword} taken from the file meta information"] += 1
    for keyword, value in (
        ("StudyInstanceUID", names.study_instance_uid),
        ("SeriesInstanceUID", names.series_instance_uid),
        ("PatientID", names.patient_id),
        ("PatientName", DEMO_NAME),
    ):
        changes[f"{keyword} {'replaced' if data_set.get(keyword) else 'filled'} with {value}"] += 1
        setattr(data_set, keyword, value)
    _remove(data_set, changes)
    return data_set


def _remove(data_set: Dataset, changes: Counter[str]) -> None:
    for keyword in (*IDENTIFYING, *REFERENCES):
        if keyword in data_set:
            if data_set[keyword].value not in ("", None, []):
                changes[f"{keyword} removed"] += 1
            del data_set[keyword]
    if any(element.tag.is_private for element in data_set):
        data_set.remove_private_tags()
        changes["private attributes removed"] += 1


def _largest_series(files: Sequence[InstanceFile]) -> list[Path]:
    """The files of the series with most images, in the order of their names."""
    series: defaultdict[str, list[Path]] = defaultdict(list)
    for file in files:
        try:
            header = dcmread(file.path, stop_before_pixels=True)
        except (InvalidDicomError, OSError, ValueError, KeyError, EOFError, RecursionError):
            continue
        if "Rows" in header and _uid_of(header):
            series[str(header.get("SeriesInstanceUID") or "")].append(file.path)
    return max(series.values(), key=len, default=[])


def _uid_of(data_set: Dataset) -> str:
    return str(data_set.get("SOPInstanceUID") or data_set.file_meta.get("MediaStorageSOPInstanceUID") or "")


def _notes(changes: Counter[str], count: int, left_out: int) -> Iterable[str]:
    removed = [change.removesuffix(" removed") for change in changes if change.endswith(" removed")]
    for change, times in changes.items():
        if not change.endswith(" removed"):
            yield change + ("" if times == count else f" (in {times} of {count} instances)")
    if removed:
        yield f"removed: {', '.join(removed)}"
    if left_out:
        yield f"left out: {left_out} files of other series"
