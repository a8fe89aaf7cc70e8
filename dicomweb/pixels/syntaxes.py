"""Which transfer syntaxes are decoded, and which frames are coded into which (PS3.5 §8.2, Annex A.4).

Plain Python, for the server decides by it before any work. Not decoded: video, JPEG XL, JPIP, the retired
JPEG processes, JPEG 2000 Part 2. Not made: Implicit VR and Big Endian, which no web service sends
(PS3.18 §8.7.3).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.format import PixelFormat

NATIVE = frozenset(
    {
        ts.ImplicitVRLittleEndian,
        ts.ExplicitVRLittleEndian,
        ts.ExplicitVRBigEndian,
        ts.DeflatedExplicitVRLittleEndian,
    }
)
JPEG = frozenset({ts.JPEGBaseline8Bit, ts.JPEGExtended12Bit})
JPEG_LOSSLESS = frozenset({ts.JPEGLossless, ts.JPEGLosslessSV1})
JPEG_LS = frozenset({ts.JPEGLSLossless, ts.JPEGLSNearLossless})
JPEG_2000 = frozenset({ts.JPEG2000Lossless, ts.JPEG2000})
HTJ2K = frozenset({ts.HTJ2KLossless, ts.HTJ2KLosslessRPCL, ts.HTJ2K})
BYTES = frozenset({ts.RLELossless, ts.DeflatedImageFrameCompression})  # of native pixels, whatever they mean
DECODABLE = NATIVE | JPEG | JPEG_LOSSLESS | JPEG_LS | JPEG_2000 | HTJ2K | BYTES

# Coded with loss, and the term for it (PS3.3 C.7.6.1.1.5.1).
LOSSY_METHOD: Mapping[str, str] = {
    ts.JPEGBaseline8Bit: "ISO_10918_1",
    ts.JPEGExtended12Bit: "ISO_10918_1",
    ts.JPEGLSNearLossless: "ISO_14495_1",
    ts.JPEG2000: "ISO_15444_1",
    ts.HTJ2K: "ISO_15444_15",
}
# Pixels found in these have lost something, whatever the attributes say; the other two may be reversible.
ALWAYS_LOSSY = frozenset({ts.JPEGBaseline8Bit, ts.JPEGExtended12Bit, ts.JPEGLSNearLossless})
EXPLICIT_FILES = frozenset({ts.ExplicitVRLittleEndian, ts.DeflatedExplicitVRLittleEndian})


@dataclass(frozen=True, slots=True)
class Coding:
    """What frames a transfer syntax is made of, and how their RGB is named once it is coded."""

    takes: Callable[[PixelFormat], bool]
    rgb_becomes: str = "RGB"


def _any(_: PixelFormat) -> bool:
    return True


def _whole_bytes(pixels: PixelFormat) -> bool:
    return not pixels.is_float and pixels.bits_allocated % 8 == 0


def _to_16_bits(pixels: PixelFormat) -> bool:
    return pixels.bits_allocated in {8, 16} and pixels.high_bit > 0 and pixels.samples_per_pixel in {1, 3}


def _image_to_16_bits(pixels: PixelFormat) -> bool:
    """Indices into a palette are no image that may lose anything."""
    return _to_16_bits(pixels) and pixels.photometric_interpretation != "PALETTE COLOR"


def _unsigned_image(pixels: PixelFormat) -> bool:
    """An error of one must not be a change of sign."""
    return _image_to_16_bits(pixels) and not pixels.pixel_representation


def _unsigned_to(bits: int) -> Callable[[PixelFormat], bool]:
    def takes(pixels: PixelFormat) -> bool:
        container = 8 if bits == 8 else 16
        return _unsigned_image(pixels) and pixels.high_bit < bits and pixels.bits_allocated == container

    return takes


def _gray_to_12_bits(pixels: PixelFormat) -> bool:
    return _unsigned_to(12)(pixels) and pixels.samples_per_pixel == 1


ENCODABLE: Mapping[str, Coding] = {
    ts.ExplicitVRLittleEndian: Coding(_any),
    ts.DeflatedExplicitVRLittleEndian: Coding(_any),
    ts.DeflatedImageFrameCompression: Coding(_any),
    ts.RLELossless: Coding(_whole_bytes),
    ts.JPEGBaseline8Bit: Coding(_unsigned_to(8), "YBR_FULL_422"),
    ts.JPEGExtended12Bit: Coding(_gray_to_12_bits),
    ts.JPEGLossless: Coding(_to_16_bits),
    ts.JPEGLosslessSV1: Coding(_to_16_bits),
    ts.JPEGLSLossless: Coding(_to_16_bits),
    ts.JPEGLSNearLossless: Coding(_unsigned_image),
    ts.JPEG2000Lossless: Coding(_to_16_bits, "YBR_RCT"),
    ts.JPEG2000: Coding(_image_to_16_bits, "YBR_ICT"),
    ts.HTJ2KLossless: Coding(_to_16_bits, "YBR_RCT"),
    ts.HTJ2KLosslessRPCL: Coding(_to_16_bits, "YBR_RCT"),
    ts.HTJ2K: Coding(_image_to_16_bits, "YBR_ICT"),
}


def can_encode(target: str, pixels: PixelFormat) -> bool:
    """Whether such frames can be put into this transfer syntax."""
    coding = ENCODABLE.get(target)
    return coding is not None and coding.takes(pixels)
