"""Frames into every transfer syntax and back: nothing changes, or not much where the syntax is lossy."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.decode import decode_cells, sample_values
from dicomweb.pixels.encode import encode_frame
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat
from dicomweb.pixels.syntaxes import DECODABLE, ENCODABLE, LOSSY_METHOD, NATIVE, can_encode
from tests.conformance.ps3_18.kit import as_file, ct_slice
from tests.unit.transcoding.kit import decoded_by_pydicom

GRAY, RGB, YCBCR, PALETTE = "MONOCHROME2", "RGB", "YBR_FULL", "PALETTE COLOR"
# Bits allocated, stored, high bit, representation, samples, photometric interpretation, rows, columns
FORMATS = {
    "bit": PixelFormat(7, 5, 1, 1, 1, 0, 0, GRAY),
    "gray 8": PixelFormat(48, 36, 1, 8, 8, 7, 0, GRAY),
    "gray 7": PixelFormat(48, 36, 1, 8, 7, 6, 0, GRAY),
    "signed 8": PixelFormat(48, 36, 1, 8, 8, 7, 1, GRAY),
    "gray 12": PixelFormat(48, 36, 1, 16, 12, 11, 0, "MONOCHROME1"),
    "signed 12": PixelFormat(48, 36, 1, 16, 12, 11, 1, GRAY),
    "gray 12 on top": PixelFormat(48, 36, 1, 16, 12, 15, 0, GRAY),
    "gray 8 in 16": PixelFormat(48, 36, 1, 16, 8, 7, 0, GRAY),
    "gray 16": PixelFormat(48, 36, 1, 16, 16, 15, 0, GRAY),
    "signed 16": PixelFormat(48, 36, 1, 16, 16, 15, 1, GRAY),
    "gray 32": PixelFormat(48, 36, 1, 32, 32, 31, 0, GRAY),
    "float": PixelFormat(48, 36, 1, 32, 32, 31, 0, GRAY, is_float=True),
    "rgb": PixelFormat(48, 36, 3, 8, 8, 7, 0, RGB),
    "rgb 16": PixelFormat(48, 36, 3, 16, 16, 15, 0, RGB),
    "ycbcr": PixelFormat(48, 36, 3, 8, 8, 7, 0, YCBCR),
    "palette": PixelFormat(48, 36, 1, 8, 8, 7, 0, PALETTE),
    "gray 2": PixelFormat(48, 36, 1, 16, 2, 1, 0, GRAY),
    "one column": PixelFormat(5, 1, 3, 8, 8, 7, 0, RGB),
    "one pixel": PixelFormat(1, 1, 1, 8, 8, 7, 0, GRAY),
    "wide": PixelFormat(100, 700, 1, 16, 10, 9, 1, GRAY),
}
PAIRS = [
    pytest.param(name, syntax, id=f"{name} as {ts.TRANSFER_SYNTAXES[syntax][0]}")
    for name, pixels in FORMATS.items()
    for syntax in ENCODABLE
    if can_encode(syntax, pixels)
]


def waves(pixels: PixelFormat) -> np.ndarray:
    """Something like an image, over most of the range."""
    rows, columns = np.mgrid[0 : pixels.rows, 0 : pixels.columns]
    most = (1 << (pixels.high_bit + 1)) - 1
    image = ((np.sin(columns / 9) + np.cos(rows / 7) + 2) / 4 * most * 0.9).astype("u8")
    if pixels.samples_per_pixel == 3:
        image = np.stack([image, image // 2, image // 3], axis=-1)
    if pixels.is_float:
        return image.astype("f4") / 3
    return image.astype({1: "u1", 8: "u1", 16: "u2", 32: "u4"}[pixels.bits_allocated])


def noise(pixels: PixelFormat) -> np.ndarray:
    """What no coding makes shorter."""
    shape = waves(pixels).shape
    random = np.random.default_rng(1)
    if pixels.is_float:
        return random.random(shape, "f4")
    kind = {1: "u1", 8: "u1", 16: "u2", 32: "u4"}[pixels.bits_allocated]
    return random.integers(0, 1 << (pixels.high_bit + 1), shape).astype(kind)


def named(syntax: str, pixels: PixelFormat) -> PixelFormat:
    """The format as its attributes say once it is coded."""
    if pixels.photometric_interpretation != RGB:
        return pixels
    return pixels.with_photometric_interpretation(ENCODABLE[syntax].rgb_becomes)


@pytest.mark.parametrize(("name", "syntax"), PAIRS)
def test_what_is_coded_is_decoded_again(name: str, syntax: str) -> None:
    pixels = FORMATS[name]
    for cells in (waves(pixels), noise(pixels)):
        found = decode_cells(encode_frame(cells, syntax, pixels), syntax, named(syntax, pixels))
        before, after = sample_values(cells, pixels), sample_values(found.pixels, pixels)
        if syntax not in LOSSY_METHOD:
            assert found.photometric_interpretation == pixels.photometric_interpretation
            assert np.array_equal(before, after)
        elif not (syntax == ts.JPEGBaseline8Bit and pixels.samples_per_pixel == 3):
            assert np.abs(before.astype("i8") - after).max() <= 24


@pytest.mark.parametrize("name", ["rgb", "ycbcr"])
def test_jpeg_keeps_colours(name: str) -> None:
    pixels = FORMATS[name]
    cells = np.full((48, 36, 3), (200, 100, 50), "u1")
    frame = encode_frame(cells, ts.JPEGBaseline8Bit, pixels)
    found = decode_cells(frame, ts.JPEGBaseline8Bit, named(ts.JPEGBaseline8Bit, pixels))
    assert found.photometric_interpretation == RGB
    if name == "rgb":
        assert np.abs(found.pixels.astype(int) - cells).max() <= 2


# What pydicom has decoders for; a frame of another length or precision than its attributes would show here.
ORACLE = [
    ts.RLELossless,
    ts.JPEGBaseline8Bit,
    ts.JPEGLSLossless,
    ts.JPEGLSNearLossless,
    ts.JPEG2000Lossless,
    ts.JPEG2000,
    ts.HTJ2KLossless,
    ts.HTJ2KLosslessRPCL,
    ts.HTJ2K,
]


CODED = [
    pytest.param(name, syntax, id=f"{name}-{ts.TRANSFER_SYNTAXES[syntax][0]}")
    for name in ("gray 8", "gray 12", "signed 12", "signed 16", "rgb", "wide")
    for syntax in ORACLE
    if can_encode(syntax, FORMATS[name])
]


@pytest.mark.parametrize(("name", "syntax"), CODED)
def test_pydicom_decodes_what_is_coded(name: str, syntax: str) -> None:
    pixels = FORMATS[name]
    cells = waves(pixels)
    frame = encode_frame(cells, syntax, pixels)
    dataset = ct_slice(
        Rows=pixels.rows,
        Columns=pixels.columns,
        SamplesPerPixel=pixels.samples_per_pixel,
        BitsAllocated=pixels.bits_allocated,
        BitsStored=pixels.bits_stored,
        HighBit=pixels.high_bit,
        PixelRepresentation=pixels.pixel_representation,
        PhotometricInterpretation=named(syntax, pixels).photometric_interpretation,
        PixelData=encapsulate([frame + bytes(len(frame) % 2)]),
    )
    if pixels.samples_per_pixel == 3:
        dataset.PlanarConfiguration = 0
    read = pydicom.dcmread(io.BytesIO(as_file(dataset, syntax)))
    found, _ = decoded_by_pydicom(read, raw=syntax != ts.JPEGBaseline8Bit)
    error = np.abs(found[0].astype("i8") - sample_values(cells, pixels)).max()
    assert error <= (24 if syntax in LOSSY_METHOD else 0)


@pytest.mark.parametrize(
    ("name", "syntax"),
    [
        ("gray 16", ts.JPEGBaseline8Bit),
        ("gray 16", ts.JPEGExtended12Bit),
        ("signed 12", ts.JPEGExtended12Bit),
        ("rgb 16", ts.JPEGExtended12Bit),
        ("palette", ts.JPEGBaseline8Bit),
        ("palette", ts.JPEG2000),
        ("signed 12", ts.JPEGLSNearLossless),
        ("gray 32", ts.JPEG2000Lossless),
        ("float", ts.RLELossless),
        ("bit", ts.JPEGLSLossless),
        ("gray 8", ts.MPEG2MPML),
        ("gray 8", ts.ImplicitVRLittleEndian),
        ("gray 8", ts.ExplicitVRBigEndian),
    ],
)
def test_what_a_syntax_cannot_hold_is_refused(name: str, syntax: str) -> None:
    with pytest.raises(PixelsUnreadable):
        encode_frame(waves(FORMATS[name]), syntax, FORMATS[name])


def test_rle_codes_every_row_by_itself() -> None:
    """PS3.5 G.3.1: a run never goes over the end of a row."""
    pixels = PixelFormat(2, 4, 1, 8, 8, 7, 0, GRAY)
    frame = encode_frame(np.full((2, 4), 7, "u1"), ts.RLELossless, pixels)
    assert frame[:8] == b"\x01\0\0\0\x40\0\0\0"
    assert frame[64:] == b"\xfd\x07\xfd\x07"


def test_jpeg_ls_has_the_precision_of_the_pixels() -> None:
    frame = encode_frame(waves(FORMATS["gray 12"]), ts.JPEGLSLossless, FORMATS["gray 12"])
    start = frame.index(b"\xff\xf7")
    assert frame[start + 4] == 12


def test_rpcl_streams_have_what_the_syntax_promises() -> None:
    """PS3.5 §10.18: progression RPCL, tile-part lengths, a lowest resolution of at most 64 by 64."""
    pixels = FORMATS["wide"]
    frame = encode_frame(waves(pixels), ts.HTJ2KLosslessRPCL, pixels)
    coding_style = frame.index(b"\xff\x52")
    assert frame[coding_style + 5] == 2
    assert max(pixels.rows, pixels.columns) >> frame[coding_style + 9] <= 64
    assert b"\xff\x55" in frame[: frame.index(b"\xff\x90")]


def test_every_syntax_that_is_made_can_be_read_and_lossy_ones_have_a_name() -> None:
    assert set(ENCODABLE) <= DECODABLE
    assert set(LOSSY_METHOD) <= set(ENCODABLE)
    assert set(ENCODABLE) & NATIVE == {ts.ExplicitVRLittleEndian, ts.DeflatedExplicitVRLittleEndian}
