"""Stored values in the unit a model wants (PS3.3 C.11.1, C.7.6.16.2.9, C.7.6.16.2.11)."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pydicom import Dataset
from pydicom.pixels.processing import apply_modality_lut

from ai_engine.preprocess.decoding import Decoding
from ai_engine.preprocess.pixels import Stored, padding_of, stored_value_of
from ai_engine.preprocess.plane import Plane, numbers_of
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.wants import Units
from terminology.definitions import sop_classes

AIR_HU = -1024  # the lowest value kept; also what padding outside the scanned circle becomes
CT_CLASSES = frozenset(
    {sop_classes.CTImageStorage, sop_classes.EnhancedCTImageStorage}
    | {sop_classes.LegacyConvertedEnhancedCTImageStorage}
)
MAPPED_RANGE = ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped")
NOT_IN_HOUNSFIELD_MESSAGE = "RescaleType is not HU: the pixel values are not Hounsfield units"


def decode_stack(planes: tuple[Plane, ...], units: Units, decoding: Decoding) -> NDArray[np.generic]:
    """The voxels of ordered planes with axes (slice, row, column), decoded side by side.

    Hounsfield units are int16, all others float32.

    Raises:
        SeriesRefused: a slice cannot be decoded, or has no values in these units.
    """
    convert, dtype = CONVERSIONS[units]
    voxels = np.empty((len(planes), *planes[0].shape), dtype)

    def fill(index: int) -> None:
        image = planes[index].image
        stored = decoding.stored(image)
        if stored.shape != voxels.shape[1:]:  # numpy would spread a smaller image over the slice
            raise SeriesRefused(
                RefusalReason.PIXEL_DATA_UNREADABLE, "PixelData is not of the Rows and Columns of its header"
            )
        voxels[index] = convert(image.header, stored)

    decoding.each(fill, len(planes))
    return voxels


def hounsfield(header: Dataset, stored: Stored) -> NDArray[np.int16]:
    """Hounsfield units, rounded, within [AIR_HU, 32767]; padding is air."""
    slope, intercept = _rescale_of(header)
    unstated = "US" if is_ct(header) is False else "HU"  # CT alone may leave HU unsaid
    if str(header.get("RescaleType") or unstated).upper() not in {"HU", "HU_MOD"}:
        raise SeriesRefused(RefusalReason.NOT_HOUNSFIELD, NOT_IN_HOUNSFIELD_MESSAGE)
    values = _linear(stored, slope, intercept)
    padding = padding_of(header, stored)
    if padding is not None:
        values[padding] = AIR_HU
    return np.clip(values, AIR_HU, np.iinfo(np.int16).max).astype(np.int16)


def rescaled(header: Dataset, stored: Stored) -> NDArray[np.float32]:
    """The values after the Modality LUT, whatever their unit; stored values where there is none."""
    if "ModalityLUTSequence" in header:
        return _padded(header, stored, apply_modality_lut(stored, header).astype(np.float32))
    if header.get("RescaleSlope") is None and header.get("RescaleIntercept") is None:
        return as_stored(header, stored)
    slope, intercept = _rescale_of(header)
    return _padded(header, stored, stored.astype(np.float32) * np.float32(slope) + np.float32(intercept))


def real_world(header: Dataset, stored: Stored) -> NDArray[np.float32]:
    """The values by the first Real World Value Mapping, which must be linear and hold for all of them."""
    items = header.get("RealWorldValueMappingSequence")
    if not items:
        raise SeriesRefused(
            RefusalReason.MISSING_ATTRIBUTE, "RealWorldValueMappingSequence is missing or empty"
        )
    (slope,) = numbers_of(items[0], "RealWorldValueSlope", 1)
    (intercept,) = numbers_of(items[0], "RealWorldValueIntercept", 1)
    _require_mapped(header, items[0], stored)
    return _padded(header, stored, stored.astype(np.float32) * np.float32(slope) + np.float32(intercept))


def _require_mapped(header: Dataset, mapping: Dataset, stored: Stored) -> None:
    """Refuse values outside the range that a mapping is for, padding aside; without a range it is for all."""
    if any(mapping.get(keyword) is None for keyword in MAPPED_RANGE):
        return
    ends = [stored_value_of(header, mapping, keyword) for keyword in MAPPED_RANGE]
    padding = padding_of(header, stored)
    values = stored if padding is None else stored[~padding]
    if values.size and not min(ends) <= values.min() <= values.max() <= max(ends):
        raise SeriesRefused(
            RefusalReason.INVALID_ATTRIBUTE,
            "RealWorldValueFirstValueMapped, RealWorldValueLastValueMapped: there are values beyond them",
        )


def is_ct(header: Dataset) -> bool | None:
    """Whether an image is CT, by Modality, and without one by its SOP class; None: it states neither."""
    if modality := header.get("Modality"):
        return str(modality) == "CT"
    if sop_class_uid := header.get("SOPClassUID"):
        return str(sop_class_uid) in CT_CLASSES
    return None


def as_stored(header: Dataset, stored: Stored) -> NDArray[np.float32]:
    """The stored values, as they are."""
    return _padded(header, stored, stored.astype(np.float32))


CONVERSIONS: Mapping[Units, tuple[Callable[[Dataset, Stored], NDArray[np.generic]], DTypeLike]] = {
    "hounsfield": (hounsfield, np.int16),
    "rescaled": (rescaled, np.float32),
    "real-world": (real_world, np.float32),
    "stored": (as_stored, np.float32),
}


def _rescale_of(header: Dataset) -> tuple[float, float]:
    (slope,) = numbers_of(header, "RescaleSlope", 1)
    (intercept,) = numbers_of(header, "RescaleIntercept", 1)
    if slope == 0:
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, "RescaleSlope is zero")
    return slope, intercept


def _linear(stored: Stored, slope: float, intercept: float) -> NDArray[np.int32] | NDArray[np.float64]:
    """Modality LUT (PS3.3 C.11.1.1.2); exact in integers, which nearly every CT allows."""
    if slope.is_integer() and intercept.is_integer() and abs(slope) < 0x4000 and abs(intercept) < 0x10000000:
        return stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    return np.rint(stored.astype(np.float64) * slope + intercept)


def _padded(header: Dataset, stored: Stored, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Padding gets the lowest value of the rest of its image, so that it stands out in no unit."""
    padding = padding_of(header, stored)
    if padding is not None and padding.any():
        values[padding] = values[~padding].min(initial=np.inf) if not padding.all() else 0
    return values
