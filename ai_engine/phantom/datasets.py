"""The phantom as CT Image Storage instances (PS3.3 A.3), as a scanner would send them.

UIDs derive from the seed and a salt: the same two give the same study, another salt gives another one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray
from pydicom import FileDataset
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from ai_engine.geometry import Geometry
from ai_engine.phantom.chest import Phantom, PhantomSpec, make_phantom
from server.kernel.uids import derived_uid

IMPLEMENTATION_CLASS_UID = derived_uid("isthmus", "implementation")
RESCALE_INTERCEPT = -1024
ACQUIRED_ON = date(2026, 1, 15)  # of every phantom: a time of generation would make each run differ
ACQUIRED_AT = "101500"


@dataclass(frozen=True, slots=True)
class PhantomStudy:
    """What identifies the instances of one phantom."""

    seed: int = 1
    salt: str = ""
    patient_id: str = "DEMO-1"
    patient_name: str = "Demo^Phantom"
    accession_number: str = ""

    def uid(self, *role: str) -> str:
        """The UID of one thing of this study."""
        return derived_uid("isthmus-phantom", str(self.seed), self.salt, *role)


def phantom_datasets(study: PhantomStudy, spec: PhantomSpec | None = None) -> Iterator[FileDataset]:
    """The instances of the phantom with this study's seed, from the feet upwards, ready to be written."""
    spec = spec or PhantomSpec(seed=study.seed)
    phantom = make_phantom(spec, study.uid("frame-of-reference"))
    yield from datasets_of(phantom, study)


def datasets_of(phantom: Phantom, study: PhantomStudy) -> Iterator[FileDataset]:
    """The instances of a phantom that is there already."""
    for index, voxels in enumerate(phantom.voxels):
        yield slice_dataset(voxels, phantom.geometry, index, study)


def slice_dataset(
    voxels: NDArray[np.int16], geometry: Geometry, index: int, study: PhantomStudy
) -> FileDataset:
    """Slice `index` (counted from 0) of a volume as a CT Image."""
    dataset = _file(study.uid("instance", str(index)))
    _add_patient_and_study(dataset, study)
    _add_series_and_equipment(dataset, study)
    _add_acquisition(dataset, geometry)
    _add_plane(dataset, geometry, index)
    _add_pixels(dataset, voxels)
    return dataset


def _file(sop_instance_uid: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.FileMetaInformationGroupLength = 0  # whoever writes the file puts in the length
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(sop_instance_uid)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    dataset = FileDataset("", {}, preamble=b"\x00" * 128, file_meta=meta)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = sop_instance_uid
    return dataset


def _add_patient_and_study(dataset: Dataset, study: PhantomStudy) -> None:
    """Patient and General Study modules (PS3.3 C.7.1.1, C.7.2.1)."""
    dataset.PatientName = study.patient_name
    dataset.PatientID = study.patient_id
    dataset.PatientBirthDate = "19600101"
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = study.uid("study")
    dataset.StudyDate = f"{ACQUIRED_ON:%Y%m%d}"
    dataset.StudyTime = ACQUIRED_AT
    dataset.StudyID = "1"
    dataset.AccessionNumber = study.accession_number
    dataset.ReferringPhysicianName = ""
    dataset.StudyDescription = "Generated chest CT phantom"
    dataset.TimezoneOffsetFromUTC = "+0000"


def _add_series_and_equipment(dataset: Dataset, study: PhantomStudy) -> None:
    """General Series, General Equipment and Frame of Reference modules (PS3.3 C.7.3.1, C.7.5.1, C.7.4.1)."""
    dataset.Modality = "CT"
    dataset.SeriesInstanceUID = study.uid("series")
    dataset.SeriesNumber = 1
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = dataset.StudyDate
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = ACQUIRED_AT
    dataset.SeriesDescription = "Chest, 2.5 mm, generated"
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.Manufacturer = "Isthmus"
    dataset.ManufacturerModelName = "Phantom generator"
    dataset.SoftwareVersions = "1"
    dataset.FrameOfReferenceUID = study.uid("frame-of-reference")
    dataset.PositionReferenceIndicator = ""
    dataset.AnatomicRegionSequence = Sequence([_coded(codes.SCT.Chest)])


def _add_acquisition(dataset: Dataset, geometry: Geometry) -> None:
    """CT Image module, as far as a phantom has it (PS3.3 C.8.2.1)."""
    slice_spacing = geometry.spacing_mm[0]
    dataset.SeriesDescription = f"Chest, {slice_spacing:g} mm, generated"
    dataset.SliceThickness = _decimal(slice_spacing)
    dataset.SpacingBetweenSlices = _decimal(slice_spacing)
    dataset.KVP = 120
    dataset.GantryDetectorTilt = 0
    dataset.ConvolutionKernel = "STANDARD"
    dataset.AcquisitionNumber = 1


def _add_plane(dataset: Dataset, geometry: Geometry, index: int) -> None:
    """Image Plane module (PS3.3 C.7.6.2)."""
    _, row_spacing, column_spacing = geometry.spacing_mm
    position = geometry.position_lps_mm((index, 0, 0))
    directions = [*(geometry.affine[:3, 2] / column_spacing), *(geometry.affine[:3, 1] / row_spacing)]
    dataset.InstanceNumber = index + 1
    dataset.PixelSpacing = [_decimal(row_spacing), _decimal(column_spacing)]
    dataset.ImagePositionPatient = [_decimal(value) for value in position]
    dataset.ImageOrientationPatient = [_decimal(value) for value in directions]
    dataset.SliceLocation = _decimal(position[2])


def _add_pixels(dataset: Dataset, voxels: NDArray[np.int16]) -> None:
    """Image Pixel and Modality LUT (PS3.3 C.7.6.3, C.11.1): unsigned, 12 bits, offset by the intercept."""
    stored = np.clip(voxels.astype(np.int32) - RESCALE_INTERCEPT, 0, 4095).astype("<u2")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.WindowCenter = [40, -600]
    dataset.WindowWidth = [400, 1500]
    dataset.WindowCenterWidthExplanation = ["SOFT TISSUE", "LUNG"]
    dataset.RescaleIntercept = RESCALE_INTERCEPT
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    dataset.PixelData = stored.tobytes()


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _decimal(value: float) -> DSfloat:
    """A Decimal String of at most 16 characters (PS3.5 6.2)."""
    return DSfloat(round(float(value), 6) + 0.0, auto_format=True)
