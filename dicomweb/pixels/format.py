"""How the samples of a frame are described (PS3.3 C.7.6.3, PS3.5 §8.1). Plain Python: the server imports it.

What is impossible is refused here, before a byte of the pixels is looked at, and in whole numbers that do not
overflow: Rows × Columns × Samples is the memory that a decoder would take.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.wire.dictionary import key_of
from dicomweb.wire.pixel_data import SUBSAMPLED

Json = Any

MAX_FRAME_BYTES = 128 << 20  # decoded; the largest mammograms take 50 MB
ALLOCATED = frozenset({1, 8, 16, 32})
YBR_PARTIAL = "YBR_PARTIAL"  # what retired YBR_PARTIAL_422 is once it is expanded; no term of the standard
FLOAT_BITS: Mapping[str, int] = {"FloatPixelData": 32, "DoubleFloatPixelData": 64}


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """The Image Pixel attributes of an instance; the same for all of its frames."""

    rows: int
    columns: int
    samples_per_pixel: int
    bits_allocated: int
    bits_stored: int
    high_bit: int
    pixel_representation: int  # 0: unsigned, 1: two's complement
    photometric_interpretation: str
    planar_configuration: int = 0  # of the stored native bytes; arrays are always (rows, columns[, samples])
    is_float: bool = False  # Float or Double Float Pixel Data (PS3.3 C.7.6.24, C.7.6.25)
    in_words: bool = True  # OW, not OB: in Big Endian, also bytes come in words (PS3.5 §8.1.2)

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return self.rows * self.columns

    @property
    def frame_bytes(self) -> int:
        """Bytes of a decoded frame, every sample in whole bytes."""
        return self.pixels * self.samples_per_pixel * ((self.bits_allocated + 7) // 8)

    @property
    def is_subsampled(self) -> bool:
        """Whether two pixels share chrominance in native bytes (PS3.3 C.7.6.3.1.2)."""
        return self.samples_per_pixel == 3 and self.photometric_interpretation in SUBSAMPLED

    @property
    def stored_frame_bits(self) -> int:
        """Bits of a native frame as it is stored (PS3.5 §8.1.1)."""
        samples = 2 if self.is_subsampled else self.samples_per_pixel
        return self.pixels * samples * self.bits_allocated

    def with_photometric_interpretation(self, interpretation: str) -> "PixelFormat":
        """The same pixels in another colour space, sample by sample."""
        return replace(self, photometric_interpretation=interpretation, planar_configuration=0)


def to_header(pixels: PixelFormat) -> dict[str, Json]:
    """The format as plain values, for a task of the pool."""
    return asdict(pixels)


def from_header(values: Mapping[str, Json]) -> PixelFormat:
    """The format that `to_header` wrote."""
    return PixelFormat(**values)


def _value(dicom_json: Mapping[str, Json], keyword: str) -> Json:
    return (dicom_json.get(key_of(keyword), {}).get("Value") or (None,))[0]


def _number(dicom_json: Mapping[str, Json], keyword: str, default: int | None = None) -> int:
    value = _value(dicom_json, keyword)
    value = default if value is None else value
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 0xFFFF:
        raise PixelsUnreadable(f"{keyword} is absent or no number, so the pixels cannot be decoded.")
    return value


def _float_bits(dicom_json: Mapping[str, Json]) -> int | None:
    return next((bits for keyword, bits in FLOAT_BITS.items() if key_of(keyword) in dicom_json), None)


def pixel_format(dicom_json: Mapping[str, Json]) -> PixelFormat:
    """The pixel format of an instance, from its DICOM JSON.

    Raises:
        PixelsUnreadable: an attribute is absent, impossible, or says a frame over `MAX_FRAME_BYTES`.
    """
    float_bits = _float_bits(dicom_json)
    allocated = float_bits or _number(dicom_json, "BitsAllocated")
    stored = float_bits or _number(dicom_json, "BitsStored", allocated)
    interpretation = _value(dicom_json, "PhotometricInterpretation")
    found = PixelFormat(
        rows=_number(dicom_json, "Rows"),
        columns=_number(dicom_json, "Columns"),
        samples_per_pixel=_number(dicom_json, "SamplesPerPixel", 1),
        bits_allocated=allocated,
        bits_stored=stored,
        high_bit=float_bits - 1 if float_bits else _number(dicom_json, "HighBit", stored - 1),
        pixel_representation=0 if float_bits else _number(dicom_json, "PixelRepresentation", 0),
        photometric_interpretation=interpretation if isinstance(interpretation, str) else "MONOCHROME2",
        planar_configuration=_number(dicom_json, "PlanarConfiguration", 0),
        is_float=float_bits is not None,
        in_words=dicom_json.get(key_of("PixelData"), {}).get("vr") != "OB",
    )
    _check(found)
    return found


def _check(pixels: PixelFormat) -> None:
    problems = {
        "Rows or Columns": not pixels.pixels,
        "SamplesPerPixel": pixels.samples_per_pixel not in {1, 3, 4},
        "BitsAllocated": not pixels.is_float and pixels.bits_allocated not in ALLOCATED,
        "BitsStored": not 0 < pixels.bits_stored <= pixels.bits_allocated,
        "HighBit": not pixels.bits_stored - 1 <= pixels.high_bit < pixels.bits_allocated,
        "PixelRepresentation": pixels.pixel_representation not in {0, 1},
    }
    impossible = [name for name, wrong in problems.items() if wrong]
    if impossible:
        raise PixelsUnreadable(f"{', '.join(impossible)}: no pixels can be so.")
    if pixels.frame_bytes > MAX_FRAME_BYTES:
        raise PixelsUnreadable("A frame is larger than this server decodes.")
