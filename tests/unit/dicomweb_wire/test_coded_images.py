"""Heads of coded images, against images that codecs made (ISO/IEC 10918-1, 14495-1, 15444-1)."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.coded_images import CodedImage, read_coded_image, without_boxes

ROWS, COLUMNS = 8, 12
GREY = Image.fromarray(np.arange(ROWS * COLUMNS, dtype=np.uint8).reshape(ROWS, COLUMNS))


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    target = io.BytesIO()
    image.save(target, kind, **options)
    return target.getvalue()


def image(uid: str, samples: int, photometric: str, *, bits: int = 8, lossy: bool = True) -> CodedImage:
    return CodedImage(uid, ROWS, COLUMNS, samples, bits, signed=False, photometric=photometric, lossy=lossy)


COLOUR = GREY.convert("RGB")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (saved(GREY, "JPEG"), image(ts.JPEGBaseline8Bit, 1, "MONOCHROME2")),
        (saved(COLOUR, "JPEG"), image(ts.JPEGBaseline8Bit, 3, "YBR_FULL_422")),
        (saved(COLOUR, "JPEG", subsampling=0), image(ts.JPEGBaseline8Bit, 3, "YBR_FULL")),
        (saved(COLOUR, "JPEG", keep_rgb=True, subsampling=0), image(ts.JPEGBaseline8Bit, 3, "RGB")),
        (saved(GREY, "JPEG", icc_profile=bytes(70_000)), image(ts.JPEGBaseline8Bit, 1, "MONOCHROME2")),
        (
            saved(GREY, "JPEG2000", no_jp2=True),
            image(ts.JPEG2000Lossless, 1, "MONOCHROME2", lossy=False),
        ),
        (
            saved(COLOUR, "JPEG2000", no_jp2=True, irreversible=True, mct=1),
            image(ts.JPEG2000, 3, "YBR_ICT"),
        ),
        (
            saved(COLOUR, "JPEG2000", no_jp2=True, mct=0),
            image(ts.JPEG2000Lossless, 3, "RGB", lossy=False),
        ),
    ],
    ids=["grey", "colour", "4:4:4", "RGB", "long header", "reversible", "irreversible", "no transform"],
)
def test_what_codecs_write(data: bytes, expected: CodedImage) -> None:
    assert read_coded_image(data) == expected
    assert read_coded_image(memoryview(data)) == expected


def lossless(marker: int, selection: int) -> bytes:
    frame = struct.pack(">BBHBHHB", 0xFF, marker, 11, 12, ROWS, COLUMNS, 1) + b"\1\x11\0"
    scan = b"\xff\xda\0\x08\1\1\0" + bytes([selection, 0, 0])
    return b"\xff\xd8" + frame + b"\xff" + scan


@pytest.mark.parametrize(
    ("marker", "selection", "uid", "lossy"),
    [
        (0xC3, 1, ts.JPEGLosslessSV1, False),
        (0xC3, 6, ts.JPEGLossless, False),
        (0xF7, 0, ts.JPEGLSLossless, False),
        (0xF7, 2, ts.JPEGLSNearLossless, True),
        (0xC1, 0, ts.JPEGExtended12Bit, True),
    ],
)
def test_what_scan_headers_tell(marker: int, selection: int, uid: str, lossy: bool) -> None:
    found = read_coded_image(lossless(marker, selection))
    assert found == image(uid, 1, "MONOCHROME2", bits=12, lossy=lossy)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG",
        saved(GREY, "JPEG", progressive=True),
        saved(GREY, "JPEG")[:100],
        saved(GREY, "JPEG2000", no_jp2=True)[:44],
        b"\xff\xd8\xff" + b"\xff" * 50,
        b"\xff\xd8" + b"\xff\xe0\0\2" * 2000,
    ],
)
def test_what_is_none_of_them(data: bytes) -> None:
    assert read_coded_image(data) is None


def test_high_throughput_is_told_by_its_capabilities() -> None:
    plain = saved(GREY, "JPEG2000", no_jp2=True)
    at = 4 + struct.unpack_from(">H", plain, 4)[0]
    found = read_coded_image(plain[:at] + b"\xff\x50\0\6\0\2\0\0" + plain[at:])
    assert found is not None
    assert found.transfer_syntax_uid == ts.HTJ2KLossless


def test_a_jp2_file_loses_its_boxes() -> None:
    boxed = saved(GREY, "JPEG2000")
    plain = bytes(without_boxes(boxed))
    assert boxed.startswith(b"\0\0\0\x0cjP")
    assert plain.startswith(b"\xff\x4f\xff\x51")
    assert read_coded_image(plain) == image(ts.JPEG2000Lossless, 1, "MONOCHROME2", lossy=False)
    assert without_boxes(plain) is plain
    cut = boxed[:20]
    assert without_boxes(cut) == cut
