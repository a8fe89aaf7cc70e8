"""Pixel Data to Hounsfield units (PS3.3 C.7.6.3, C.11.1; PS3.5 8).

Native little endian is read here with numpy; everything else goes through pydicom's decoders.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ai_engine.preprocess.plane import Plane, numbers_of
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused

AIR_HU = -1024  # the lowest value kept; also what padding outside the scanned circle becomes
NATIVE_LITTLE_ENDIAN = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})
UNDECODABLE = (AttributeError, EOFError, IndexError, KeyError, RuntimeError, TypeError, ValueError)
NOT_IN_HOUNSFIELD_MESSAGE = "RescaleType is not HU: the pixel values are not Hounsfield units"


def decode_stack(planes: tuple[Plane, ...], threads: int = 2) -> NDArray[np.int16]:
    """The voxels of ordered planes: int16 HU with axes (slice, row, column), decoded side by side.

    Raises:
        SeriesRefused: a slice cannot be decoded, or its values are not Hounsfield units.
    """
    voxels = np.empty((len(planes), *planes[0].shape), np.int16)

    def fill(index: int) -> None:
        voxels[index] = hounsfield(planes[index].dataset)

    with ThreadPoolExecutor(max_workers=threads) as pool:
        for _ in pool.map(fill, range(len(planes))):
            pass
    return voxels


def hounsfield(dataset: Dataset) -> NDArray[np.int16]:
    """One slice in Hounsfield units, rounded, within [AIR_HU, 32767]; padding is air."""
    check_greyscale(dataset)
    stored = stored_values(dataset)
    (slope,) = numbers_of(dataset, "RescaleSlope", 1)
    (intercept,) = numbers_of(dataset, "RescaleIntercept", 1)
    if str(dataset.get("RescaleType") or "HU").upper() not in {"HU", "HU_MOD"}:
        raise SeriesRefused(RefusalReason.NOT_HOUNSFIELD, NOT_IN_HOUNSFIELD_MESSAGE)
    if slope == 0:
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, "RescaleSlope is zero")
    values = _rescaled(stored, slope, intercept)
    padding = padding_of(dataset, stored)
    if padding is not None:
        values[padding] = AIR_HU
    return np.clip(values, AIR_HU, np.iinfo(np.int16).max).astype(np.int16)


def check_greyscale(dataset: Dataset) -> None:
    """Refuse what a CT slice cannot be (PS3.3 A.3.3, C.8.2.1)."""
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, "SamplesPerPixel is not 1")
    if str(dataset.get("PhotometricInterpretation") or "MONOCHROME2") != "MONOCHROME2":
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, "PhotometricInterpretation is not MONOCHROME2")


def stored_values(dataset: Dataset) -> NDArray[np.signedinteger | np.unsignedinteger]:
    """The stored values of one slice, shape (rows, columns)."""
    if not dataset.get("PixelData"):
        raise SeriesRefused(RefusalReason.MISSING_ATTRIBUTE, "PixelData is missing or empty")
    syntax = transfer_syntax_of(dataset)
    if syntax in NATIVE_LITTLE_ENDIAN and dataset.get("BitsAllocated") in (8, 16):
        return _native(dataset)
    try:
        values: NDArray[np.signedinteger | np.unsignedinteger] = dataset.pixel_array
    except NotImplementedError as error:
        raise _no_decoder(syntax) from error
    except UNDECODABLE as error:
        if syntax.is_compressed and "plugin" in str(error) and "missing" in str(error):
            raise _no_decoder(syntax) from error
        raise SeriesRefused(
            RefusalReason.PIXEL_DATA_UNREADABLE, f"PixelData cannot be decoded as {syntax.name}"
        ) from error
    expected = (int(dataset.Rows), int(dataset.Columns))
    if values.shape != expected:
        raise SeriesRefused(
            RefusalReason.PIXEL_DATA_UNREADABLE, "PixelData does not hold one frame of Rows times Columns"
        )
    return values


def transfer_syntax_of(dataset: Dataset) -> UID:
    """The transfer syntax of the file meta information; native little endian where there is none."""
    meta = getattr(dataset, "file_meta", None)
    return (
        UID(str(meta.get("TransferSyntaxUID") or ExplicitVRLittleEndian)) if meta else ExplicitVRLittleEndian
    )


def padding_of(
    dataset: Dataset, stored: NDArray[np.signedinteger | np.unsignedinteger]
) -> NDArray[np.bool_] | None:
    """Which pixels are padding (PS3.3 C.7.5.1.1.2), or None when the slice states no padding value."""
    value = dataset.get("PixelPaddingValue")
    if value is None:
        return None
    limit = dataset.get("PixelPaddingRangeLimit")
    signed = bool(dataset.get("PixelRepresentation"))
    bounds = sorted(
        _as_stored(int(each), signed=signed) for each in (value, value if limit is None else limit)
    )
    return (stored >= bounds[0]) & (stored <= bounds[1])


def _as_stored(value: int, *, signed: bool) -> int:
    """A padding value as the pixels hold it: its VR is often written as US where the pixels are signed."""
    if signed and value > 0x7FFF:
        return value - 0x10000
    return value + 0x10000 if not signed and value < 0 else value


def _native(dataset: Dataset) -> NDArray[np.signedinteger | np.unsignedinteger]:
    """Stored values of uncompressed little endian Pixel Data; bits above Bits Stored are dropped."""
    shape = (int(dataset.Rows), int(dataset.Columns))
    allocated = int(dataset.BitsAllocated)
    stored_bits = int(dataset.get("BitsStored") or allocated)
    high_bit = int(dataset.get("HighBit") or stored_bits - 1)
    if not 1 <= stored_bits <= high_bit + 1 <= allocated:
        raise SeriesRefused(
            RefusalReason.INVALID_ATTRIBUTE, "BitsStored and HighBit do not fit BitsAllocated"
        )
    signed = bool(dataset.get("PixelRepresentation"))
    count = shape[0] * shape[1]
    if len(dataset.PixelData) < count * allocated // 8:
        raise SeriesRefused(
            RefusalReason.PIXEL_DATA_UNREADABLE, "PixelData is shorter than Rows times Columns"
        )
    dtype = np.dtype(f"<{'i' if signed else 'u'}{allocated // 8}")
    values = np.frombuffer(dataset.PixelData, dtype, count).reshape(shape)
    if stored_bits == allocated:
        return values
    # Left shift drops what lies above High Bit, right shift extends the sign (PS3.5 8.1.1).
    return (values << (allocated - 1 - high_bit)) >> (allocated - stored_bits)


def _rescaled(
    stored: NDArray[np.signedinteger | np.unsignedinteger], slope: float, intercept: float
) -> NDArray[np.int32] | NDArray[np.float64]:
    """Modality LUT (PS3.3 C.11.1.1.2); exact in integers, which nearly every CT allows."""
    if slope.is_integer() and intercept.is_integer() and abs(slope) < 0x4000 and abs(intercept) < 0x10000000:
        return stored.astype(np.int32) * np.int32(slope) + np.int32(intercept)
    return np.rint(stored.astype(np.float64) * slope + intercept)


def _no_decoder(syntax: UID) -> SeriesRefused:
    return SeriesRefused(
        RefusalReason.TRANSFER_SYNTAX_NOT_SUPPORTED, f"no decoder for transfer syntax {syntax.name}"
    )
