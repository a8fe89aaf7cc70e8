"""A stored frame to its samples (PS3.5 §8, Annexes A.4 and G). Pure; run in the child process only.

The caller has checked the format (`pixel_format`); here the coded image must be the one that it describes,
which is looked up in its head before a decoder allocates anything. Arrays are C-contiguous, in native byte
order, (rows, columns) or (rows, columns, samples).
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels import syntaxes
from dicomweb.pixels.codestream import (
    CodedImage,
    check_agreement,
    codestream_offset,
    read_jpeg,
    read_jpeg_2000,
    require_end,
)
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import YBR_PARTIAL, PixelFormat
from dicomweb.wire.rewrite import turned_around

Array = NDArray[Any]

RLE_HEADER_BYTES = 64
RLE_SEGMENTS = 15
CONTAINERS: Mapping[int, str] = {1: "u1", 8: "u1", 16: "u2", 32: "u4"}  # by Bits Allocated, unsigned
FLOATS: Mapping[int, str] = {32: "f4", 64: "f8"}
EXPANDED: Mapping[str, str] = {  # decoded, each pixel has its own chrominance (PS3.3 C.7.6.3.1.2)
    "YBR_FULL_422": "YBR_FULL",
    "YBR_PARTIAL_422": YBR_PARTIAL,
}
YCBCR_NAMES = frozenset({"YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "YBR_ICT"})


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """The samples of a frame, and the colour space that they are in."""

    pixels: Array
    photometric_interpretation: str


def decode_frame(data: bytes, transfer_syntax: str, pixels: PixelFormat) -> DecodedFrame:
    """The sample values of a frame: stored values shifted down to bit 0 and sign-extended (PS3.5 §8.1.1).

    Coded colour comes out as RGB; native and RLE colour stays as it is stored, subsampled one expanded.

    Raises:
        PixelsUnreadable: the bytes are not such a frame.
    """
    cells = decode_cells(data, transfer_syntax, pixels)
    return DecodedFrame(sample_values(cells.pixels, pixels), cells.photometric_interpretation)


def decode_cells(data: bytes, transfer_syntax: str, pixels: PixelFormat) -> DecodedFrame:
    """The pixel cells of a frame, unsigned, with all bits as they are; otherwise as `decode_frame`.

    Raises:
        PixelsUnreadable: the bytes are not such a frame, or the syntax is not decoded here.
    """
    decoder = _DECODERS.get(transfer_syntax)
    if decoder is None:
        raise PixelsUnreadable("The transfer syntax is not one that this server decodes.")
    try:
        found = decoder(data, pixels)
    except (MemoryError, ValueError, TypeError, IndexError, zlib.error, RuntimeError) as error:
        raise PixelsUnreadable("The coded frame is damaged.") from error
    shape: tuple[int, ...] = (pixels.rows, pixels.columns)
    if pixels.samples_per_pixel > 1:
        shape = (*shape, pixels.samples_per_pixel)
    if found.pixels.shape != shape:
        raise PixelsUnreadable("The coded frame has another size than its attributes say.")
    name = EXPANDED.get(found.photometric_interpretation, found.photometric_interpretation)
    cells = _as_cells(found.pixels, pixels)
    if transfer_syntax not in syntaxes.NATIVE | syntaxes.BYTES:
        cells = _sign_extended(cells, pixels)
    return DecodedFrame(cells, name)


def sample_values(cells: Array, pixels: PixelFormat) -> Array:
    """Stored values from pixel cells: bits outside Bits Stored dropped, the sign extended."""
    if pixels.is_float or pixels.bits_allocated == 1:
        return cells
    width = cells.dtype.itemsize * 8
    above, shift = width - 1 - pixels.high_bit, width - pixels.bits_stored
    signed = cells.astype(f"i{cells.dtype.itemsize}") if pixels.pixel_representation else cells
    if not shift:
        return signed
    return (signed << above) >> shift if above else signed >> shift


def _sign_extended(cells: Array, pixels: PixelFormat) -> Array:
    """With the sign above High Bit too, of which image codings say nothing: readers take the whole cell."""
    above = cells.dtype.itemsize * 8 - 1 - pixels.high_bit
    if pixels.is_float or not pixels.pixel_representation or not above:
        return cells
    signed = cells.view(f"i{cells.dtype.itemsize}") << above
    return (signed >> above).view(cells.dtype)


def _as_cells(found: Array, pixels: PixelFormat) -> Array:
    """Samples of a decoder in the unsigned type that Bits Allocated asks for."""
    if pixels.is_float:
        return np.ascontiguousarray(found, FLOATS[pixels.bits_allocated])
    container = np.dtype(CONTAINERS[pixels.bits_allocated])
    return np.ascontiguousarray(found.astype(container, copy=False))


def _native(order: str) -> Callable[[bytes, PixelFormat], DecodedFrame]:
    def decode(data: bytes, pixels: PixelFormat) -> DecodedFrame:
        if order == ">" and pixels.in_words and pixels.bits_allocated <= 8:
            data = turned_around(data, 2)
        return unpack_native(data, pixels, order)

    return decode


def unpack_native(data: bytes, pixels: PixelFormat, order: str = "<") -> DecodedFrame:
    """A native frame that begins at bit 0 (PS3.5 §8.1.1, §8.2; PS3.3 C.7.6.3.1.3)."""
    if len(data) * 8 < pixels.stored_frame_bits:
        raise PixelsUnreadable("The frame is cut off.")
    name = pixels.photometric_interpretation
    if pixels.bits_allocated == 1:
        bits = np.unpackbits(np.frombuffer(data, "u1"), bitorder="little", count=pixels.pixels)
        return DecodedFrame(_shaped(bits, pixels), name)
    kind = FLOATS[pixels.bits_allocated] if pixels.is_float else CONTAINERS[pixels.bits_allocated]
    count = pixels.stored_frame_bits // pixels.bits_allocated
    cells = np.frombuffer(data, order + kind, count)
    if pixels.is_subsampled:
        return DecodedFrame(_expanded(cells, pixels), name)
    return DecodedFrame(_shaped(cells, pixels), name)


def _shaped(cells: Array, pixels: PixelFormat) -> Array:
    size = (pixels.rows, pixels.columns)
    if pixels.samples_per_pixel == 1:
        return cells.reshape(size)
    if pixels.planar_configuration == 1:
        return np.moveaxis(cells.reshape(pixels.samples_per_pixel, *size), 0, -1)
    return cells.reshape(*size, pixels.samples_per_pixel)


def _expanded(cells: Array, pixels: PixelFormat) -> Array:
    """Y1 Y2 Cb Cr to a Cb and a Cr for every pixel (PS3.3 C.7.6.3.1.2)."""
    pairs = cells.reshape(-1, 4)
    whole = np.empty((len(pairs) * 2, 3), cells.dtype)
    whole[0::2, 0], whole[1::2, 0] = pairs[:, 0], pairs[:, 1]
    whole[:, 1:] = np.repeat(pairs[:, 2:], 2, axis=0)
    return whole.reshape(pixels.rows, pixels.columns, 3)


def _rle(data: bytes, pixels: PixelFormat) -> DecodedFrame:
    """RLE Lossless: a segment for each byte of a sample, the most significant first (PS3.5 Annex G)."""
    if pixels.bits_allocated == 1:
        packed = _rle_segments(data, 1, (pixels.pixels + 7) // 8)
        return unpack_native(packed.tobytes(), pixels)
    width = pixels.bits_allocated // 8
    planes = _rle_segments(data, width * pixels.samples_per_pixel, pixels.pixels)
    bytes_first = planes.reshape(pixels.samples_per_pixel, width, pixels.rows, pixels.columns)
    cells = np.ascontiguousarray(bytes_first.transpose(2, 3, 0, 1)).view(f">u{width}")[..., 0]
    return DecodedFrame(
        cells[..., 0] if pixels.samples_per_pixel == 1 else cells, pixels.photometric_interpretation
    )


def _rle_segments(data: bytes, count: int, length: int) -> NDArray[np.uint8]:
    """(count, length) bytes; of a segment that says more, what is over is padding."""
    if len(data) < RLE_HEADER_BYTES or count > RLE_SEGMENTS:
        raise PixelsUnreadable("The frame has no RLE header that fits it.")
    header = np.frombuffer(data, "<u4", RLE_HEADER_BYTES // 4).tolist()
    if header[0] != count:
        raise PixelsUnreadable("The RLE frame has another number of segments than its attributes say.")
    bounds = [*header[1 : count + 1], len(data)]
    if bounds[0] < RLE_HEADER_BYTES or any(a >= b for a, b in pairwise(bounds)):
        raise PixelsUnreadable("The RLE segments do not follow each other.")
    planes = np.empty((count, length), np.uint8)
    for plane, (start, stop) in zip(planes, pairwise(bounds), strict=True):
        unpacked = imagecodecs.packbits_decode(data[start:stop])
        if len(unpacked) < length:
            raise PixelsUnreadable("An RLE segment is cut off.")
        plane[:] = np.frombuffer(unpacked, np.uint8, length)
    return planes


def _deflated(data: bytes, pixels: PixelFormat) -> DecodedFrame:
    """Deflated Image Frame Compression (PS3.5 A.4.13): a native frame, deflated (RFC 1951)."""
    length = (pixels.stored_frame_bits + 7) // 8
    return unpack_native(zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, length), pixels)


def _jpeg(data: bytes, pixels: PixelFormat) -> DecodedFrame:
    """JPEG processes 1, 2 and 4, and the lossless 14 (PS3.5 §8.2.1)."""
    coded = read_jpeg(data)
    check_agreement(coded, pixels)
    require_end(data)
    if coded.components != 3:
        found = _within(imagecodecs.jpeg8_decode(data), coded, pixels)
        return DecodedFrame(found, pixels.photometric_interpretation)
    is_ycbcr = pixels.photometric_interpretation in YCBCR_NAMES
    if coded.adobe_transform is not None:  # what the data itself says is believed first
        is_ycbcr = coded.adobe_transform == 1
    elif coded.component_ids == b"RGB":
        is_ycbcr = False
    space = "YCBCR" if is_ycbcr else "RGB"
    found = imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace="RGB")
    return DecodedFrame(found, "RGB")


def _jpeg_lossless(data: bytes, pixels: PixelFormat) -> DecodedFrame:
    """JPEG process 14: the samples as they are, in whatever colour space they are said to be."""
    check_agreement(read_jpeg(data), pixels)
    require_end(data)
    space = "RGB" if pixels.samples_per_pixel == 3 else None  # that is, none is made of another
    found = imagecodecs.jpeg8_decode(data, colorspace=space, outcolorspace=space)
    return DecodedFrame(found, pixels.photometric_interpretation)


def _jpeg_ls(data: bytes, pixels: PixelFormat) -> DecodedFrame:
    """JPEG-LS (PS3.5 §8.2.3)."""
    check_agreement(read_jpeg(data), pixels)
    found = imagecodecs.jpegls_decode(data)
    return DecodedFrame(found, pixels.photometric_interpretation)


def _jpeg_2000(data: bytes, pixels: PixelFormat) -> DecodedFrame:
    """JPEG 2000 and High-Throughput JPEG 2000 (PS3.5 §8.2.4); the decoder undoes the colour transformation.

    OpenJPEG reads both. OpenJPH would be faster, but imagecodecs lets its lossy samples wrap around.
    """
    coded = read_jpeg_2000(data)
    check_agreement(coded, pixels)
    found = imagecodecs.jpeg2k_decode(data[codestream_offset(data) :], numthreads=1)
    return _after_wavelets(found, coded, pixels)


def _after_wavelets(found: Array, coded: CodedImage, pixels: PixelFormat) -> DecodedFrame:
    name = pixels.photometric_interpretation
    return DecodedFrame(_within(found, coded, pixels), "RGB" if name in ("YBR_RCT", "YBR_ICT") else name)


def _within(found: Array, coded: CodedImage, pixels: PixelFormat) -> Array:
    """Samples within what the attributes allow: after a loss some lie a little beyond, and would wrap."""
    bits = pixels.high_bit + 1
    if coded.precision <= bits or coded.is_signed != bool(pixels.pixel_representation):
        return found
    low = -(1 << (bits - 1)) if coded.is_signed else 0
    return found.clip(low, low + (1 << bits) - 1)


_DECODERS: Mapping[str, Callable[[bytes, PixelFormat], DecodedFrame]] = {
    **dict.fromkeys(syntaxes.NATIVE - {ts.ExplicitVRBigEndian}, _native("<")),
    ts.ExplicitVRBigEndian: _native(">"),
    ts.RLELossless: _rle,
    ts.DeflatedImageFrameCompression: _deflated,
    **dict.fromkeys(syntaxes.JPEG, _jpeg),
    **dict.fromkeys(syntaxes.JPEG_LOSSLESS, _jpeg_lossless),
    **dict.fromkeys(syntaxes.JPEG_LS, _jpeg_ls),
    **dict.fromkeys(syntaxes.JPEG_2000 | syntaxes.HTJ2K, _jpeg_2000),
}
