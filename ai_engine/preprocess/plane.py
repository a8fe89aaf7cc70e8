"""One image, or one frame, as a plane in the patient (PS3.3 C.7.6.2, C.7.6.3)."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from ai_engine.preprocess.frames import SourceImage
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from server.kernel.uids import derived_uid

UNIT_TOLERANCE = 0.01  # of a direction cosine vector's length, and of the angle between row and column


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """The place of one image. Vectors are float64, LPS; `position_lps_mm` is the first pixel's centre."""

    image: SourceImage
    sop_instance_uid: str
    frame_of_reference_uid: str
    shape: tuple[int, int]  # rows, columns
    spacing_mm: tuple[float, float]  # between rows, between columns
    position_lps_mm: NDArray[np.float64]
    row_direction: NDArray[np.float64]  # along which the column index grows
    column_direction: NDArray[np.float64]  # along which the row index grows

    @property
    def dataset(self) -> Dataset:
        """The image's header: its attributes as a single-frame image states them."""
        return self.image.header

    @property
    def normal(self) -> NDArray[np.float64]:
        """The cross product of row and column direction: the way axis 0 of a volume runs."""
        return np.cross(self.row_direction, self.column_direction)

    @property
    def order(self) -> tuple[float, float, str, int]:
        """What decides between two images at one place: acquisition, instance number, UID, frame."""
        return (
            order_number(self.dataset, "AcquisitionNumber"),
            order_number(self.dataset, "InstanceNumber"),
            self.sop_instance_uid,
            self.image.frame_number or 0,
        )


def read_plane(image: SourceImage) -> Plane:
    """The plane of an image.

    Raises:
        SeriesRefused: an attribute that the place depends on is missing, empty or impossible.
    """
    dataset = image.header
    row_direction, column_direction = _directions(dataset)
    row_spacing, column_spacing = numbers_of(dataset, "PixelSpacing", 2)
    if min(row_spacing, column_spacing) <= 0:
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, "PixelSpacing is not greater than zero")
    return Plane(
        image=image,
        sop_instance_uid=text_of(dataset, "SOPInstanceUID"),
        frame_of_reference_uid=frame_of_reference_of(dataset),
        shape=(count_of(dataset, "Rows"), count_of(dataset, "Columns")),
        spacing_mm=(row_spacing, column_spacing),
        position_lps_mm=np.array(numbers_of(dataset, "ImagePositionPatient", 3)),
        row_direction=row_direction,
        column_direction=column_direction,
    )


def frame_of_reference_of(dataset: Dataset) -> str:
    """The Frame of Reference UID; where a de-identifier took it away, one that stands for the series' own."""
    stated = str(dataset.get("FrameOfReferenceUID") or "").strip()
    return stated or derived_uid(text_of(dataset, "SeriesInstanceUID"), "frame")


def text_of(dataset: Dataset, keyword: str) -> str:
    """The value of a required text attribute."""
    value = str(dataset.get(keyword) or "").strip()
    if not value:
        raise SeriesRefused(RefusalReason.MISSING_ATTRIBUTE, f"{keyword} is missing or empty")
    return value


def count_of(dataset: Dataset, keyword: str) -> int:
    """The value of a required attribute that counts something, at least one."""
    (value,) = numbers_of(dataset, keyword, 1)
    if value < 1:
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, f"{keyword} is less than one")
    return int(value)


def numbers_of(dataset: Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """The `count` finite numbers of a required attribute."""
    try:
        value = dataset.get(keyword)
        values = tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)
        if values in {(), (None,), ("",)}:
            raise SeriesRefused(RefusalReason.MISSING_ATTRIBUTE, f"{keyword} is missing or empty")
        numbers = tuple(float(each) for each in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, f"{keyword} is not numeric") from error
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise SeriesRefused(
            RefusalReason.INVALID_ATTRIBUTE, f"{keyword} does not hold {count} finite number(s)"
        )
    return numbers


def _directions(dataset: Dataset) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The orthonormal row and column directions of Image Orientation (Patient) (PS3.3 C.7.6.2.1.1)."""
    cosines = np.array(numbers_of(dataset, "ImageOrientationPatient", 6)).reshape(2, 3)
    lengths = np.linalg.norm(cosines, axis=1)
    if np.abs(lengths - 1).max() > UNIT_TOLERANCE or abs(cosines[0] @ cosines[1]) > UNIT_TOLERANCE:
        raise SeriesRefused(
            RefusalReason.INVALID_ATTRIBUTE,
            "ImageOrientationPatient does not hold two orthogonal unit vectors",
        )
    row = cosines[0] / lengths[0]
    column = cosines[1] - (cosines[1] @ row) * row
    return row, column / np.linalg.norm(column)


def order_number(dataset: Dataset, keyword: str) -> float:
    """A number to order by; what states none comes last."""
    try:
        (number,) = numbers_of(dataset, keyword, 1)
    except SeriesRefused:
        return math.inf
    return number
