"""Pixel Data to stored values (PS3.3 C.7.6.3; PS3.5 8).

Native little endian is read here with numpy; everything else goes through a decoder: the one that is given,
or pydicom's.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ai_engine.preprocess.encoded import UNREADABLE, transfer_syntax_of
from ai_engine.preprocess.plane import numbers_of
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused

NATIVE_LITTLE_ENDIAN = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})
Stored = NDArray[np.signedinteger | np.unsignedinteger]
FrameDecoder = Callable[[Dataset], Stored]  # one compressed image to its stored values, or SeriesRefused

UNDECODABLE = (*UNREADABLE, RuntimeError)


def check_greyscale(dataset: Dataset, interpretations: frozenset[str]) -> None:
    """Refuse an image whose values are no measurements of one kind (PS3.3 C.8.2.1, C.8.3.1)."""
    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, "SamplesPerPixel is not 1")
    if str(dataset.get("PhotometricInterpretation") or "MONOCHROME2") not in interpretations:
        raise SeriesRefused(
            RefusalReason.INVALID_ATTRIBUTE,
            f"PhotometricInterpretation is not {' or '.join(sorted(interpretations))}",
        )


def stored_values(image: Dataset, decode: FrameDecoder | None = None) -> Stored:
    """The stored values of one image, shape (rows, columns).

    Args:
        image: with the Pixel Data of one image and file meta information.
        decode: of compressed Pixel Data; None: `decode_by_pydicom`.
    """
    if not image.get("PixelData"):
        raise SeriesRefused(RefusalReason.MISSING_ATTRIBUTE, "PixelData is missing or empty")
    syntax = transfer_syntax_of(image)
    if syntax in NATIVE_LITTLE_ENDIAN and image.get("BitsAllocated") in (8, 16):
        return _native(image)
    values = (decode if decode and syntax.is_encapsulated else decode_by_pydicom)(image)
    expected = (int(image.Rows), int(image.Columns))
    if values.shape != expected:
        raise SeriesRefused(
            RefusalReason.PIXEL_DATA_UNREADABLE, "PixelData does not hold one frame of Rows times Columns"
        )
    return values


def decode_by_pydicom(image: Dataset) -> Stored:
    """The stored values by pydicom and its plugins, which hold the interpreter's lock while they decode."""
    syntax = transfer_syntax_of(image)
    try:
        return image.pixel_array
    except NotImplementedError as error:
        raise no_decoder(syntax) from error
    except UNDECODABLE as error:
        if syntax.is_compressed and "plugin" in str(error) and "missing" in str(error):
            raise no_decoder(syntax) from error
        raise undecodable(syntax) from error


def padding_of(dataset: Dataset, stored: Stored) -> NDArray[np.bool_] | None:
    """Which pixels are padding (PS3.3 C.7.5.1.1.2), or None when the slice states no padding value."""
    if dataset.get("PixelPaddingValue") is None:
        return None
    value = stored_value_of(dataset, dataset, "PixelPaddingValue")
    has_limit = dataset.get("PixelPaddingRangeLimit") is not None
    limit = stored_value_of(dataset, dataset, "PixelPaddingRangeLimit") if has_limit else value
    return (stored >= min(value, limit)) & (stored <= max(value, limit))


def stored_value_of(dataset: Dataset, item: Dataset, keyword: str) -> int:
    """A stored value that `item` states; its VR is often US where those of the image are signed."""
    (number,) = numbers_of(item, keyword, 1)
    value, signed = int(number), bool(dataset.get("PixelRepresentation"))
    if signed and value > 0x7FFF:
        return value - 0x10000
    return value + 0x10000 if not signed and value < 0 else value


def _native(dataset: Dataset) -> Stored:
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


def no_decoder(syntax: UID) -> SeriesRefused:
    """That this transfer syntax is not decoded here."""
    return SeriesRefused(
        RefusalReason.TRANSFER_SYNTAX_NOT_SUPPORTED, f"no decoder for transfer syntax {syntax.name}"
    )


def undecodable(syntax: UID) -> SeriesRefused:
    """That Pixel Data is not what its transfer syntax says."""
    return SeriesRefused(RefusalReason.PIXEL_DATA_UNREADABLE, f"PixelData cannot be decoded as {syntax.name}")
