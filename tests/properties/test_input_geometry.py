"""A voxel lies where the header of its image says, however the images came (PS3.3 C.7.6.2.1.1).

The place is computed here from the attributes alone, by Equation C.7.6.2.1-1, and not from any geometry.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from ai_engine.phantom.enhanced import enhanced
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.preprocess.volume import build_volume
from ai_engine.wants import Wants

ROWS, COLUMNS = 5, 7
MARK = 3000
ANY = Wants(modalities=(), sop_classes=(), minimum_slices=2)

angles = st.floats(-math.pi, math.pi)
lengths_mm = st.floats(0.3, 6)


@dataclass(frozen=True, slots=True)
class Scan:
    """How a made-up scanner went over its patient."""

    turns: tuple[float, float, float]  # about x, y, z
    spacing_mm: tuple[float, float, float]  # between slices, rows, columns
    origin_mm: tuple[float, float, float]
    tilt: float  # radians, along the columns
    count: int


scans = st.builds(
    Scan,
    turns=st.tuples(angles, angles, angles),
    spacing_mm=st.tuples(lengths_mm, lengths_mm, lengths_mm),
    origin_mm=st.tuples(*[st.floats(-500, 500)] * 3),
    tilt=st.sampled_from([0.0, 0.0, -0.35, 0.2, 0.5]),
    count=st.integers(6, 9),
)


def rotation(turns: Sequence[float]) -> NDArray[np.float64]:
    made = np.eye(3)
    for axis, angle in enumerate(turns):
        one, other = [each for each in range(3) if each != axis]
        turn = np.eye(3)
        turn[[one, one, other, other], [one, other, one, other]] = (
            math.cos(angle),
            -math.sin(angle),
            math.sin(angle),
            math.cos(angle),
        )
        made = turn @ made
    return made


def image(scan: Scan, index: int) -> FileDataset:
    """Slice `index`; its pixels tell the slice, so that no two are equal."""
    row, column, normal = rotation(scan.turns).T
    step = normal * scan.spacing_mm[0] + column * scan.spacing_mm[0] * math.tan(scan.tilt)
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta)
    made.SOPClassUID, made.SOPInstanceUID = CTImageStorage, f"1.2.3.{index + 1}"
    made.StudyInstanceUID, made.SeriesInstanceUID, made.FrameOfReferenceUID = "1.2", "1.3", "1.4"
    made.Modality, made.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    made.Rows, made.Columns = ROWS, COLUMNS
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 1
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.RescaleSlope, made.RescaleIntercept = 15, 1, 0
    made.PixelSpacing = [f"{each:.9g}" for each in scan.spacing_mm[1:]]
    made.ImageOrientationPatient = [f"{each:.10f}" for each in (*row, *column)]
    made.ImagePositionPatient = [f"{each:.8f}" for each in np.array(scan.origin_mm) + index * step]
    made.PixelData = np.full((ROWS, COLUMNS), index, "<i2").tobytes()
    return made


def marked(made: FileDataset, row: int, column: int) -> None:
    pixels = np.frombuffer(made.PixelData, "<i2").reshape(ROWS, COLUMNS).copy()
    pixels[row, column] = MARK
    made.PixelData = pixels.tobytes()


def place_by_the_standard(made: Dataset, row: int, column: int) -> NDArray[np.float64]:
    """Equation C.7.6.2.1-1: i is the column index, j the row index; Δi is the spacing of columns."""
    position = np.array([float(each) for each in made.ImagePositionPatient])
    cosines = np.array([float(each) for each in made.ImageOrientationPatient])
    row_spacing, column_spacing = map(float, made.PixelSpacing)
    return position + cosines[:3] * column_spacing * column + cosines[3:] * row_spacing * row


def place_of_the_mark(datasets: Sequence[Dataset]) -> tuple[float, float, float]:
    volume = build_volume(datasets, ANY)
    ((slice_index, row, column),) = np.argwhere(volume.voxels == MARK)
    return volume.geometry.position_lps_mm((slice_index, row, column))


@settings(max_examples=40, deadline=None)
@given(
    scan=scans,
    at=st.tuples(st.integers(0, 8), st.integers(0, ROWS - 1), st.integers(0, COLUMNS - 1)),
    arrival=st.randoms(use_true_random=False),
    what=st.sampled_from(["as it is", "gap", "sent twice", "frames"]),
)
def test_a_voxel_lies_where_its_image_says(
    scan: Scan, at: tuple[int, int, int], arrival: object, what: str
) -> None:
    index, row, column = at[0] % scan.count, at[1], at[2]
    images = [image(scan, each) for each in range(scan.count)]
    marked(images[index], row, column)
    expected = place_by_the_standard(images[index], row, column)
    for number, each in enumerate(reversed(images), 1):  # numbered against the normal
        each.InstanceNumber = number
    if what == "gap":
        end = 1 if index > scan.count // 2 else -1  # far from the mark
        del images[end if end > 0 else len(images) - 2]
    if what == "sent twice":
        again = image(scan, 2)
        again.PixelData, again.SOPInstanceUID = images[2].PixelData, "1.2.4"
        images.append(again)
    arrival.shuffle(images)  # type: ignore[attr-defined]
    found = place_of_the_mark([enhanced(images)] if what == "frames" else images)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@settings(max_examples=10, deadline=None)
@given(scan=scans)
def test_neighbouring_slices_are_a_step_of_the_affine_apart(scan: Scan) -> None:
    volume = build_volume([image(scan, each) for each in range(scan.count)], ANY)
    positions = [np.array(each.ImagePositionPatient, float) for each in volume.slices]
    for one, other in pairwise(positions):
        np.testing.assert_allclose(other - one, volume.geometry.affine[:3, 0], atol=1e-4)
    assert volume.geometry.tilt_degrees == pytest.approx(math.degrees(abs(scan.tilt)), abs=0.05)
    assert volume.geometry.voxel_volume_mm3 == pytest.approx(math.prod(scan.spacing_mm), rel=1e-3)


def test_a_tilt_that_the_model_does_not_take_is_refused() -> None:
    scan = Scan((0, 0, 0), (2, 1, 1), (0, 0, 0), math.radians(12), 6)
    images = [image(scan, each) for each in range(6)]
    upright = Wants(modalities=(), sop_classes=(), minimum_slices=2, maximum_tilt_degrees=10)
    with pytest.raises(SeriesRefused, match="tilted by 12 degrees; the model takes up to 10") as caught:
        build_volume(images, upright)
    assert caught.value.reason is RefusalReason.LIMIT_EXCEEDED
    assert len(build_volume(images, ANY).slices) == 6
