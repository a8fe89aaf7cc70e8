"""Generated series, findings and validators for the encoders."""

import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage

from ai_engine.encode.codes import code_of
from ai_engine.encode.equipment import Equipment
from ai_engine.encode.source import Making
from ai_engine.encode.uids import UidSource
from ai_engine.findings import (
    Code,
    Finding,
    Findings,
    Measurement,
    ModelIdentity,
    NotMeasured,
    Segment,
)

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
MODEL = ModelIdentity(
    name="ct-quantification",
    title="CT quantification",
    version="1.0.0",
    manufacturer="Isthmus",
    family=code_of(codes.cid7162.MorphologicalOperations),
    intended_use="Research use only. Not for clinical use.",
)
SQUARE_CM = code_of(codes.UCUM.SquareCentimeter)
MILLILITRE = Code("ml", "UCUM", "milliliter")


def make_slices(
    count: int = 6,
    orientation: tuple[float, ...] = AXIAL,
    step: tuple[float, float, float] = (0.0, 0.0, 2.5),
    size: tuple[int, int] = (12, 10),
) -> list[Dataset]:
    """Headers of a CT series in the order of their positions, which their Instance Numbers do not follow."""
    numbers = np.random.default_rng(5).permutation(count) * 3 + 1
    slices = []
    for at in range(count):
        image = Dataset()
        image.SOPClassUID = CTImageStorage
        image.SOPInstanceUID = f"2.25.7{at:04d}"
        image.StudyInstanceUID, image.SeriesInstanceUID = "2.25.100", "2.25.200"
        image.FrameOfReferenceUID = "2.25.300"
        image.Modality = "CT"
        image.Rows, image.Columns = size
        image.PixelSpacing = [0.7, 0.8]
        image.SliceThickness = 2.5
        image.ImageOrientationPatient = list(orientation)
        image.ImagePositionPatient = [-100.0 + at * step[0], -90.5 + at * step[1], 30.25 + at * step[2]]
        image.InstanceNumber = int(numbers[at])
        image.SeriesNumber = 3
        image.PatientName, image.PatientID = "Doe^Jane", "P-1"
        image.IssuerOfPatientID = "HOSPITAL"
        image.PatientBirthDate, image.PatientSex = "19700102", "F"
        image.StudyDate, image.StudyTime, image.StudyID = "20260301", "101112", "S1"
        image.AccessionNumber = "A-7"
        slices.append(image)
    return slices


def segment(number: int, tracking_id: str) -> Segment:
    return Segment(
        number=number,
        label=f"Lung {number}",
        category=code_of(codes.SCT.Organ),
        type=code_of(codes.SCT.Lung),
        type_modifier=code_of(codes.SCT.Left if number == 1 else codes.SCT.Right),
        tracking_id=tracking_id,
        recommended_rgb=(200, 30 * number, 40),
    )


def make_findings(labels: NDArray[np.uint8] | None) -> Findings:
    lung = Finding(
        tracking_id="left-lung",
        finding=code_of(codes.SCT.Lung),
        site=code_of(codes.SCT.Lung),
        laterality=code_of(codes.SCT.Left),
        segment_number=1,
        measurements=(
            Measurement(code_of(codes.SCT.Volume), 2345.7, MILLILITRE, method="sum of voxels"),
            Measurement(
                code_of(codes.DCM.MeanAttenuationCoefficient),
                -812.4,
                code_of(codes.UCUM.HounsfieldUnit),
                derivation=code_of(codes.SCT.Mean),
            ),
        ),
        probability=0.93,
    )
    fat = Finding(
        tracking_id="fat",
        finding=code_of(codes.SCT.AdiposeTissue),
        measurements=(Measurement(code_of(codes.SCT.Area), 123.4, SQUARE_CM, slice_index=2),),
    )
    return Findings(
        model=MODEL,
        segments=(segment(1, "left-lung"), segment(2, "right-lung"), segment(3, "body")),
        labels=labels,
        findings=(lung, fat),
        not_measured=(NotMeasured("Right lung volume", "the right lung is cut by the field of view"),),
        conclusion="Left lung volume 2345.7 ml. Fat area 123.4 cm² on image 3. Research use only.",
    )


def blob(slices: list[Dataset]) -> NDArray[np.uint8]:
    """Segment 1 on slices 1 to 3, segment 2 on slices 3 and 4, segment 3 nowhere; no two planes alike."""
    labels = np.zeros((len(slices), slices[0].Rows, slices[0].Columns), np.uint8)
    for at in (1, 2, 3):
        labels[at, 2 : 4 + at, 1 : 3 + at] = 1
    for at in (3, 4):
        labels[at, 8:10, at:9] = 2
    return labels


@pytest.fixture
def making() -> Making:
    made_at = datetime(2026, 3, 2, 8, 15, 30, 250_000, tzinfo=UTC)
    return Making(Equipment.of(MODEL, "Isthmus 0.1.0"), made_at, UidSource("2.25.42"))


@pytest.fixture
def run_tool(tmp_path: Path) -> Callable[..., str]:
    """Runs an installed validator on a file's bytes and gives all it prints."""

    def run(tool: str, part10: bytes, *options: str) -> str:
        path = shutil.which(tool)
        assert path is not None, f"{tool} is not installed; the test set-up installs dicom3tools and dcmtk"
        file = tmp_path / "object.dcm"
        file.write_bytes(part10)
        done = subprocess.run([path, *options, str(file)], capture_output=True, timeout=60, check=False)
        return (done.stdout + done.stderr).decode(errors="replace")

    return run
