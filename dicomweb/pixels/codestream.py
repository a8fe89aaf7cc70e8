"""What the head of a coded image says of it.

JPEG and JPEG-LS (ITU T.81 B.2.2, T.87 C.2.2), JPEG 2000 and HTJ2K (T.800 A.5.1).

Read before a decoder is let loose, so that none allocates what the attributes do not announce.
"""

from dataclasses import dataclass
from struct import Struct

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat

_FRAME_HEADER, _SEGMENT, _SIZ = Struct(">BHHB"), Struct(">H"), Struct(">HIIIIIIIIH")
SOI, SOS, EOI = 0xD8, 0xDA, 0xD9
# Start Of Frame: SOF0 to SOF15 without DHT, JPG and DAC, and SOF55 of JPEG-LS.
FRAME_MARKERS = frozenset({*range(0xC0, 0xD0), 0xF7} - {0xC4, 0xC8, 0xCC})
APP14 = 0xEE
_START_OF_SCAN, _END_OF_IMAGE = b"\xff\xda", b"\xff\xd9"
J2K_BEGINNING, JP2_BEGINNING = b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
MAX_BOXES = 64  # before the codestream of a JP2 file


@dataclass(frozen=True, slots=True)
class CodedImage:
    """Size and samples of a coded image."""

    rows: int
    columns: int
    components: int
    precision: int  # bits per sample
    is_signed: bool = False  # JPEG 2000 only
    adobe_transform: int | None = None  # of APP14: 0 none, 1 YCbCr; None: no such segment
    component_ids: bytes = b""  # of JPEG


def read_jpeg(data: bytes) -> CodedImage:
    """The frame header of JPEG or JPEG-LS data.

    Raises:
        PixelsUnreadable: there is none.
    """
    pos, transform = 2, None
    if data[:2] != b"\xff\xd8":
        raise PixelsUnreadable("The coded frame is not JPEG.")
    while pos + 4 <= len(data) and data[pos] == 0xFF:
        marker = data[pos + 1]
        if marker == 0xFF:  # fill bytes
            pos += 1
            continue
        (length,) = _SEGMENT.unpack_from(data, pos + 2)
        start = pos + 4
        if marker in FRAME_MARKERS and start + 6 <= len(data):
            precision, rows, columns, components = _FRAME_HEADER.unpack_from(data, start)
            ids = data[start + 6 : start + 6 + 3 * components : 3]
            return CodedImage(rows, columns, components, precision, False, transform, ids)
        if marker in (SOS, EOI) or length < 2:
            break
        if marker == APP14 and data[start : start + 5] == b"Adobe" and length >= 14:
            transform = data[start + 11]
        pos += 2 + length
    raise PixelsUnreadable("The coded frame has no JPEG frame header.")


def require_end(data: bytes) -> None:
    """That JPEG data ends with its End Of Image: its decoder makes gray of what is missing, and says nothing.

    Raises:
        PixelsUnreadable: it is cut off.
    """
    if data.rfind(_END_OF_IMAGE) < data.find(_START_OF_SCAN):  # no coded bits look like a marker
        raise PixelsUnreadable("The coded frame is cut off.")


def codestream_offset(data: bytes) -> int:
    """Where the JPEG 2000 codestream begins; within a JP2 file, in its first `jp2c` box (T.800 I.4).

    Raises:
        PixelsUnreadable: there is none.
    """
    if data.startswith(J2K_BEGINNING):
        return 0
    pos = 0
    for _ in range(MAX_BOXES if data.startswith(JP2_BEGINNING) else 0):
        length, kind = int.from_bytes(data[pos : pos + 4]), data[pos + 4 : pos + 8]
        head = 16 if length == 1 else 8
        if kind == b"jp2c" and data.startswith(J2K_BEGINNING, pos + head):
            return pos + head
        length = int.from_bytes(data[pos + 8 : pos + 16]) if length == 1 else length
        if length < head:
            break
        pos += length
    raise PixelsUnreadable("The coded frame is not JPEG 2000.")


def read_jpeg_2000(data: bytes) -> CodedImage:
    """The SIZ segment of JPEG 2000 or HTJ2K data.

    Raises:
        PixelsUnreadable: there is none, or components differ in size or depth.
    """
    at = codestream_offset(data) + 6
    if len(data) < at + _SIZ.size + 3:
        raise PixelsUnreadable("The coded frame is cut off.")
    _, right, bottom, left, top, _, _, _, _, components = _SIZ.unpack_from(data, at)
    described = data[at + _SIZ.size : at + _SIZ.size + 3 * components]
    if not components or len(set(zip(*[iter(described)] * 3, strict=False))) != 1:
        raise PixelsUnreadable("The components of the coded frame differ, or there are none.")
    depth = described[0]
    return CodedImage(bottom - top, right - left, components, (depth & 0x7F) + 1, bool(depth & 0x80))


def check_agreement(coded: CodedImage, pixels: PixelFormat) -> None:
    """That the coded image is the frame which the attributes describe.

    Raises:
        PixelsUnreadable: it is another one.
    """
    if (coded.rows, coded.columns) != (pixels.rows, pixels.columns):
        raise PixelsUnreadable("Rows and Columns are not those of the coded frame.")
    if coded.components != pixels.samples_per_pixel:
        raise PixelsUnreadable("SamplesPerPixel is not that of the coded frame.")
    if coded.precision > pixels.bits_allocated:
        raise PixelsUnreadable("BitsAllocated is less than the coded frame has.")
