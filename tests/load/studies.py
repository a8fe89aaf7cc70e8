"""The studies of the load: one chest phantom, stored again and again under other numbers.

Everything that tells two studies apart has a fixed length in the template, so an instance is the template's
bytes with a few replaced. What was sent can be made again at the end, to compare it with what comes back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from pydicom import FileDataset

from ai_engine.phantom.chest import PhantomSpec
from ai_engine.phantom.datasets import PhantomStudy, phantom_datasets

ROOT = "1.2.826.0.1.3680043.10.1338."  # of documentation and tests; then a study's ten digits
FIRST_STUDY = 1_000_000_000
FIRST_INSTANCE = 1_000
PATIENT_SYSTEM = "urn:isthmus:site:patient-id"  # of Patient IDs without an issuer, by default
TEMPLATE_PATIENT = "LOAD-0000"
TEMPLATE_ACCESSION = "A000000000"
WANTED = b"ORIGINAL\\PRIMARY\\AXIAL"  # Image Type; the shipped model takes such series
UNWANTED = b"ORIGINAL\\PRIMARY\\MIP  "  # and no projections
PIXEL_DATA = b"\xe0\x7f\x10\x00OW"
BOUNDARY = b"load-boundary"
PART = b"--" + BOUNDARY + b"\r\nContent-Type: application/dicom\r\n\r\n"
END = b"--" + BOUNDARY + b"--\r\n"


@dataclass(frozen=True, slots=True)
class Study:
    """One study by its number; patients come again every so many studies."""

    number: int
    patient: int
    is_analysed: bool

    @property
    def uid(self) -> str:
        """Study Instance UID."""
        return f"{ROOT}{FIRST_STUDY + self.number}.1"

    @property
    def series_uid(self) -> str:
        """Series Instance UID of its one series."""
        return f"{self.uid}.1"

    @property
    def patient_id(self) -> str:
        """Patient ID (0010,0020)."""
        return f"LOAD-{self.patient:04}"

    @property
    def path(self) -> str:
        """Of its series, below the DICOMweb root."""
        return f"/dicom-web/studies/{self.uid}/series/{self.series_uid}"

    def instance_path(self, index: int) -> str:
        """Of an instance; slices are counted from 0."""
        return f"{self.path}/instances/{self.series_uid}.{FIRST_INSTANCE + index}"


class Template:
    """The slices of the phantom as files, each cut before its pixels."""

    def __init__(self, files: Iterable[bytes]) -> None:
        self._slices = [_cut(file) for file in files]

    def __len__(self) -> int:
        return len(self._slices)

    def instance(self, study: Study, index: int) -> bytes:
        """The file of one slice, counted from 0, in a study."""
        head, pixels = self._slices[index]
        return _head_of(study, head) + pixels

    def request(self, study: Study, indices: Iterable[int]) -> bytes:
        """The body of a Store request with these slices."""
        pieces: list[bytes] = []
        for index in indices:
            head, pixels = self._slices[index]
            pieces += (PART, _head_of(study, head), pixels, b"\r\n")
        return b"".join((*pieces, END))


def load_template(folder: Path) -> Template:
    """The template that `save_template` left in a folder."""
    return Template(path.read_bytes() for path in sorted(folder.glob("*.dcm")))


def save_template(folder: Path, slices: int, side: int) -> None:
    """Make the phantom with so many slices of `side` by `side`, and write its files."""
    folder.mkdir()
    spec = PhantomSpec(slices=slices, rows=side, columns=side)
    study = PhantomStudy(patient_id=TEMPLATE_PATIENT, accession_number=TEMPLATE_ACCESSION)
    for index, dataset in enumerate(phantom_datasets(study, spec)):
        (folder / f"{index:04}.dcm").write_bytes(_file_of(dataset, index))


def _file_of(dataset: FileDataset, index: int) -> bytes:
    template = Study(0, 0, is_analysed=True)
    dataset.StudyInstanceUID = template.uid
    dataset.SeriesInstanceUID = template.series_uid
    dataset.FrameOfReferenceUID = f"{template.uid}.2"
    dataset.SOPInstanceUID = f"{template.series_uid}.{FIRST_INSTANCE + index}"
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    written = BytesIO()
    dataset.save_as(written, enforce_file_format=True)
    return written.getvalue()


def _cut(file: bytes) -> tuple[bytes, bytes]:
    at = file.index(PIXEL_DATA)
    return file[:at], file[at:]


def _head_of(study: Study, head: bytes) -> bytes:
    changes: Sequence[tuple[bytes, bytes]] = (
        (b"%d" % FIRST_STUDY, b"%d" % (FIRST_STUDY + study.number)),
        (TEMPLATE_PATIENT.encode(), study.patient_id.encode()),
        (TEMPLATE_ACCESSION.encode(), b"A%09d" % study.number),
        (WANTED, WANTED if study.is_analysed else UNWANTED),
    )
    for old, new in changes:
        head = head.replace(old, new)
    return head
