"""Samples of a frame into a transfer syntax (PS3.5 §8.2, Annexes A.4 and G). Pure; in the child process only.

Lossless syntaxes give back every pixel cell up to High Bit. The lossy ones are made with one fixed, careful
setting each: a client that asks for one by name gets what no eye tells from the original.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import imagecodecs
import jpeg_ls
import numpy as np
from numpy.typing import NDArray

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.decode import sample_values
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import YBR_PARTIAL, PixelFormat
from dicomweb.pixels.syntaxes import can_encode

Array = NDArray[Any]

JPEG_QUALITY = 90
JPEG_12_BIT_QUALITY = 95
NEAR_LOSSLESS_ERROR = 2  # of a stored value, at most
DB_PER_BIT = 6  # of High Bit, as the PSNR of lossy JPEG 2000: two stored values, root mean square
HTJ2K_STEP = 2.0  # stored values that lossy HTJ2K rounds to
SMALLEST_RESOLUTION = 64  # rows or columns of the lowest resolution of an RPCL stream (PS3.5 §10.18)
BY_PIXEL = 2  # interleave mode of JPEG-LS: R1G1B1R2…


def encode_frame(cells: Array, transfer_syntax: str, pixels: PixelFormat) -> bytes:
    """The frame as a transfer syntax has it; `cells` as `decode_cells` gives them, `pixels` describes them.

    Native frames are little endian, by pixel, each from bit 0.

    Raises:
        PixelsUnreadable: the syntax cannot hold such a frame.
    """
    if not can_encode(transfer_syntax, pixels) or pixels.photometric_interpretation == YBR_PARTIAL:
        raise PixelsUnreadable("The frame cannot be put into the transfer syntax that is asked for.")
    return bytes(_ENCODERS[transfer_syntax](cells, pixels))


def _native(cells: Array, pixels: PixelFormat) -> bytes:
    if pixels.bits_allocated == 1:
        return np.packbits(cells.reshape(-1), bitorder="little").tobytes()
    return cells.astype(cells.dtype.newbyteorder("<"), copy=False).tobytes()


def _deflated(cells: Array, pixels: PixelFormat) -> bytes:
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return deflater.compress(_native(cells, pixels)) + deflater.flush()


def _rle(cells: Array, pixels: PixelFormat) -> bytes:
    """Each row of each byte of each sample by itself (PS3.5 G.3.1)."""
    width = pixels.bits_allocated // 8
    bytes_first = np.ascontiguousarray(cells.astype(f">u{width}")).view(np.uint8)
    by_sample = bytes_first.reshape(pixels.rows, pixels.columns, pixels.samples_per_pixel * width)
    segments = []
    for plane in np.moveaxis(by_sample, -1, 0):
        packed = imagecodecs.packbits_encode(
            plane.copy(), axis=-1
        )  # whose strides are its own: of one column too
        segments.append(packed + bytes(len(packed) % 2))
    offsets = np.zeros(16, "<u4")
    offsets[0] = len(segments)
    offsets[1 : len(segments) + 1] = 64 + np.cumsum([0, *map(len, segments[:-1])])
    return offsets.tobytes() + b"".join(segments)


def _unsigned(cells: Array, pixels: PixelFormat) -> Array:
    """Cells without what may lie above High Bit, in bytes where they fit."""
    masked = cells & ((1 << (pixels.high_bit + 1)) - 1)
    return np.ascontiguousarray(masked, np.uint8 if pixels.high_bit < 8 else np.uint16)


def _numbers(cells: Array, pixels: PixelFormat, *, smallest: int = 1) -> Array:
    """Cells up to High Bit as numbers, with a sign where there is one, in as few bytes as they need."""
    numbers = sample_values(cells, replace(pixels, bits_stored=pixels.high_bit + 1))
    width = max(smallest, 1 if pixels.high_bit < 8 else 2)
    return np.ascontiguousarray(numbers, f"{numbers.dtype.kind}{width}")


def _jpeg(cells: Array, pixels: PixelFormat) -> bytes:
    """Process 1; of RGB with half the chrominance, of YCbCr with all that is there (PS3.5 Table 8.2.1-1)."""
    image = _unsigned(cells, pixels)
    if pixels.samples_per_pixel == 1:
        return _bytes(imagecodecs.jpeg8_encode(image, JPEG_QUALITY))
    is_rgb = pixels.photometric_interpretation == "RGB"
    return _bytes(
        imagecodecs.jpeg8_encode(
            image,
            JPEG_QUALITY,
            colorspace="RGB" if is_rgb else "YCBCR",
            outcolorspace="YCBCR",
            subsampling="422" if is_rgb else "444",
        )
    )


def _jpeg_12_bit(cells: Array, pixels: PixelFormat) -> bytes:
    image = _unsigned(cells, pixels).astype(np.uint16, copy=False)
    return _bytes(imagecodecs.jpeg8_encode(image, JPEG_12_BIT_QUALITY, bitspersample=12))


def _jpeg_lossless(cells: Array, pixels: PixelFormat) -> bytes:
    """First-order prediction, which both lossless processes allow (ITU T.81 H.1.2.1)."""
    space = "RGB" if pixels.samples_per_pixel == 3 else None  # that is, none is made of another
    return _bytes(
        imagecodecs.jpeg8_encode(
            _unsigned(cells, pixels),
            lossless=True,
            predictor=1,
            bitspersample=pixels.high_bit + 1,
            colorspace=space,
            outcolorspace=space,
        )
    )


def _jpeg_ls(error: int) -> Callable[[Array, PixelFormat], bytes]:
    def encode(cells: Array, pixels: PixelFormat) -> bytes:
        image = _unsigned(cells, pixels)
        mode = BY_PIXEL if pixels.samples_per_pixel > 1 else 0
        samples, precision = pixels.samples_per_pixel, pixels.high_bit + 1
        size = (pixels.rows, pixels.columns, samples, precision)
        near = min(error, ((1 << precision) - 1) // 2)  # more is no NEAR (ITU T.87 C.2.3)
        try:
            return _bytes(jpeg_ls.encode_buffer(image.tobytes(), *size, near, mode))
        except RuntimeError:  # its buffer is too small for a few pixels, or for noise
            return _bytes(imagecodecs.jpegls_encode(image, near))

    return encode


def _jpeg_2000(*, reversible: bool) -> Callable[[Array, PixelFormat], bytes]:
    def encode(cells: Array, pixels: PixelFormat) -> bytes:
        return _bytes(
            imagecodecs.jpeg2k_encode(
                _numbers(cells, pixels),
                level=0 if reversible else DB_PER_BIT * pixels.high_bit,
                codecformat="J2K",
                bitspersample=pixels.high_bit + 1,
                reversible=reversible,
                mct=pixels.photometric_interpretation == "RGB",
                numthreads=1,
            )
        )

    return encode


def _htj2k(*, reversible: bool, random_access: bool = False) -> Callable[[Array, PixelFormat], bytes]:
    """HTJ2K; its progression is RPCL always, and with `random_access` there are the markers to skip by."""

    def encode(cells: Array, pixels: PixelFormat) -> bytes:
        # Where there are 16 bits, there is room for what lies a little beyond the range after a loss.
        image = _numbers(cells, pixels, smallest=1 if reversible else pixels.bits_allocated // 8)
        return _bytes(
            imagecodecs.htj2k_encode(
                image,
                level=None if reversible else HTJ2K_STEP / (1 << image.dtype.itemsize * 8),
                rgb=pixels.photometric_interpretation == "RGB",
                planar=False,
                resolutions=_resolutions(pixels) if random_access else None,
                reversible=reversible,
                tlm=random_access,
                tilepart=imagecodecs.HTJ2K.TILEPART.RESOLUTIONS if random_access else None,
            )
        )

    return encode


def _resolutions(pixels: PixelFormat) -> int:
    """As many as it takes for the lowest to be small (PS3.5 §10.18)."""
    halvings = 0
    while max(pixels.rows, pixels.columns) >> halvings > SMALLEST_RESOLUTION:
        halvings += 1
    return halvings


def _bytes(coded: bytes | bytearray) -> bytes:
    return bytes(coded)


_ENCODERS: Mapping[str, Callable[[Array, PixelFormat], bytes]] = {
    ts.ExplicitVRLittleEndian: _native,
    ts.DeflatedExplicitVRLittleEndian: _native,
    ts.DeflatedImageFrameCompression: _deflated,
    ts.RLELossless: _rle,
    ts.JPEGBaseline8Bit: _jpeg,
    ts.JPEGExtended12Bit: _jpeg_12_bit,
    ts.JPEGLossless: _jpeg_lossless,
    ts.JPEGLosslessSV1: _jpeg_lossless,
    ts.JPEGLSLossless: _jpeg_ls(0),
    ts.JPEGLSNearLossless: _jpeg_ls(NEAR_LOSSLESS_ERROR),
    ts.JPEG2000Lossless: _jpeg_2000(reversible=True),
    ts.JPEG2000: _jpeg_2000(reversible=False),
    ts.HTJ2KLossless: _htj2k(reversible=True),
    ts.HTJ2KLosslessRPCL: _htj2k(reversible=True, random_access=True),
    ts.HTJ2K: _htj2k(reversible=False),
}
