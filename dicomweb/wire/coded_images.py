"""What the head of a coded image says: its transfer syntax and its Image Pixel attributes. Pure.

JPEG (ISO/IEC 10918-1 Annex B), JPEG-LS (14495-1 Annex C), JPEG 2000 and HTJ2K codestreams (15444-1 Annex A,
15444-15), also within the boxes of a JP2 file. Only heads are read; nothing is decoded.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from struct import Struct
from struct import error as CutOff  # noqa: N812  it is an exception

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.pieces import Piece

MAX_HEAD_BYTES = 1 << 20  # looked at; ICC profiles and thumbnails stand there too
MAX_SEGMENTS = 1000  # before the first scan; real images have a dozen
_U16, _SIZ, _BOX = Struct(">H").unpack_from, Struct(">HHLLLLLLLLH").unpack_from, Struct(">L4s").unpack_from
_SOS, _EOI, _APP14 = 0xDA, 0xD9, 0xEE
_LOSSLESS, _JPEG_LS = 0xC3, 0xF7
_FRAME_HEADERS = {0xC0: ts.JPEGBaseline8Bit, 0xC1: ts.JPEGExtended12Bit, _LOSSLESS: "", _JPEG_LS: ""}
_JP2_SIGNATURE = b"\0\0\0\x0cjP  "
_CODESTREAM = b"\xff\x4f\xff\x51"
_CAP, _COD, _SOT = 0xFF50, 0xFF52, 0xFF90


@dataclass(frozen=True, slots=True)
class CodedImage:
    """One coded frame as its head describes it."""

    transfer_syntax_uid: str
    rows: int
    columns: int
    samples: int
    bits: int  # of a sample
    signed: bool
    photometric: str  # of what a decoder gives before any conversion of colour
    lossy: bool


def read_coded_image(piece: Piece) -> CodedImage | None:
    """What the head of an image says; None when it is no image of these kinds, or is cut off."""
    data = bytes(piece[:MAX_HEAD_BYTES])
    read: Callable[[bytes], CodedImage | None]
    if data.startswith(b"\xff\xd8\xff"):
        read = _read_jpeg
    elif data.startswith(_CODESTREAM):
        read = _read_jpeg_2000
    else:
        return None
    try:
        return read(data)
    except (CutOff, IndexError):
        return None


def without_boxes(piece: Piece) -> Piece:
    """The codestream of a JP2 file, which is what DICOM has (PS3.5 A.4.4); other bytes as they are."""
    data, at = bytes(piece[:MAX_HEAD_BYTES]), 0
    if not data.startswith(_JP2_SIGNATURE):
        return piece
    while at + 8 <= len(data):
        length, kind = _BOX(data, at)
        if kind == b"jp2c":
            start, stop = (at + 16, None) if length == 1 else (at + 8, at + length if length else None)
            return piece[start:stop]
        if length < 8:
            break
        at += length
    return piece


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and position of the parameters of each segment, the first scan header last."""
    at = 2
    for _ in range(MAX_SEGMENTS):
        while data[at] == 0xFF and data[at + 1] == 0xFF:
            at += 1  # fill bytes
        marker = data[at + 1]
        if data[at] != 0xFF or marker == _EOI:
            return
        yield marker, at + 4
        if marker == _SOS:
            return
        at += 2 + _U16(data, at + 2)[0]


def _read_jpeg(data: bytes) -> CodedImage | None:
    header: tuple[int, int] | None = None
    adobe_transform: int | None = None
    for marker, at in _segments(data):
        if marker in _FRAME_HEADERS:
            header = marker, at
        elif marker == _APP14 and data.startswith(b"Adobe", at):
            adobe_transform = data[at + 11]
        elif marker == _SOS and header is not None:
            return _jpeg(data, *header, at, adobe_transform)
    return None


def _jpeg(data: bytes, marker: int, at: int, scan: int, adobe_transform: int | None) -> CodedImage:
    """`at`: parameters of the frame header; `scan`: those of the first scan header."""
    samples = data[at + 5]
    components = [(data[at + 6 + 3 * n], data[at + 7 + 3 * n]) for n in range(samples)]
    selection = scan + 1 + 2 * data[scan]  # predictor of lossless JPEG, NEAR of JPEG-LS
    syntax = _FRAME_HEADERS[marker] or _jpeg_syntax(marker, data[selection])
    return CodedImage(
        transfer_syntax_uid=syntax,
        rows=_U16(data, at + 1)[0],
        columns=_U16(data, at + 3)[0],
        samples=samples,
        bits=data[at],
        signed=False,
        photometric=_jpeg_colour(marker, components, adobe_transform),
        lossy=syntax in (ts.JPEGBaseline8Bit, ts.JPEGExtended12Bit, ts.JPEGLSNearLossless),
    )


def _jpeg_syntax(marker: int, selection: int) -> str:
    if marker == _JPEG_LS:
        return ts.JPEGLSNearLossless if selection else ts.JPEGLSLossless
    return ts.JPEGLosslessSV1 if selection == 1 else ts.JPEGLossless


def _jpeg_colour(marker: int, components: list[tuple[int, int]], adobe_transform: int | None) -> str:
    if len(components) != 3:
        return "MONOCHROME2"
    named_rgb = bytes(name for name, _ in components) == b"RGB"
    if marker in (_LOSSLESS, _JPEG_LS) or adobe_transform == 0 or named_rgb:
        return "RGB"
    return "YBR_FULL_422" if components[0][1] != 0x11 else "YBR_FULL"


def _read_jpeg_2000(data: bytes) -> CodedImage | None:
    _, _, right, bottom, left, top, *_, samples = _SIZ(data, 4)
    depth = data[42]
    high_throughput, at = False, 2
    for _ in range(MAX_SEGMENTS):
        marker, length = _U16(data, at)[0], _U16(data, at + 2)[0]
        if marker == _SOT:
            return None  # without coding style: nothing can be said
        if marker == _CAP:
            high_throughput = True
        if marker == _COD:
            transforms, reversible = bool(data[at + 8]), data[at + 13] == 1
            return CodedImage(
                transfer_syntax_uid=_JPEG_2000[high_throughput][reversible],
                rows=bottom - top,
                columns=right - left,
                samples=samples,
                bits=(depth & 0x7F) + 1,
                signed=bool(depth & 0x80),
                photometric=_JPEG_2000_COLOUR[transforms][reversible] if samples == 3 else "MONOCHROME2",
                lossy=not reversible,
            )
        at += 2 + length
    return None


# By whether the wavelet is reversible.
_JPEG_2000 = ((ts.JPEG2000, ts.JPEG2000Lossless), (ts.HTJ2K, ts.HTJ2KLossless))
_JPEG_2000_COLOUR = (("RGB", "RGB"), ("YBR_ICT", "YBR_RCT"))
