"""Frames of every file that pydicom installs, against pydicom's own decoders."""

import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels import syntaxes
from dicomweb.pixels.decode import decode_cells, decode_frame
from dicomweb.pixels.encode import encode_frame
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import pixel_format
from dicomweb.wire.instance import inflated_file, parse_instance
from tests.conformance.ps3_18.kit import ct_slice
from tests.unit.transcoding.kit import decoded_by_pydicom, installed_files

# pydicom has no decoder for them here, or refuses what they are.
WITHOUT_ORACLE = {
    "JPEG-lossy.dcm",  # 12 bits
    "JPGExtended.dcm",
    "SC_rgb_jpeg_gdcm.dcm",  # JPEG lossless
}
DAMAGED = {"JPEG2000-embedded-sequence-delimiter.dcm"}
# Bytes in words, in frames of an odd length: taken apart where they are read (tests/unit/transcoding).
ODD_WORDS = {"SC_rgb_small_odd_big_endian.dcm"}
COMPARED = sorted(set(installed_files()) - WITHOUT_ORACLE - DAMAGED - ODD_WORDS)


def frames_of(file: bytes) -> list:
    parsed = parse_instance(file)
    pixels, layout = pixel_format(parsed.dicom_json), parsed.pixels
    buffer = inflated_file(file)
    frames = []
    for number in range(1, layout.number_of_frames + 1):
        data = b"".join(bytes(buffer[a : a + n]) for a, n in layout.frame_ranges(number))
        data = layout.align_frame(number, data)
        frames.append(decode_frame(data, parsed.transfer_syntax_uid, pixels))
    return frames


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of padding and the like
@pytest.mark.parametrize("name", COMPARED)
def test_samples_are_those_that_pydicom_finds(name: str) -> None:
    file = installed_files()[name].read_bytes()
    frames = frames_of(file)
    dataset = pydicom.dcmread(io.BytesIO(file))
    is_jpeg = dataset.file_meta.TransferSyntaxUID in syntaxes.JPEG
    expected, interpretation = decoded_by_pydicom(dataset, raw=not is_jpeg)
    if interpretation == "YBR_FULL_422":
        interpretation = "YBR_FULL"  # expanded
    assert np.array_equal(np.stack([each.pixels for each in frames]), expected)
    assert {each.photometric_interpretation for each in frames} == {interpretation}
    assert frames[0].pixels.dtype == expected.dtype.newbyteorder("=")
    assert all(each.pixels.flags.c_contiguous for each in frames)


def test_lossless_jpeg_is_the_file_that_it_was_made_of() -> None:
    (coded,) = frames_of(installed_files()["SC_rgb_jpeg_gdcm.dcm"].read_bytes())
    (other,) = frames_of(installed_files()["SC_rgb_rle.dcm"].read_bytes())
    assert np.array_equal(coded.pixels, other.pixels)


def test_jpeg_of_twelve_bits_is_near_the_same_image_in_jpeg_2000() -> None:
    (coded,) = frames_of(installed_files()["JPGExtended.dcm"].read_bytes())
    (other,) = frames_of(installed_files()["JPEG2000.dcm"].read_bytes())
    assert np.corrcoef(coded.pixels.ravel(), other.pixels.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("name", sorted(DAMAGED))
def test_what_pydicom_cannot_decode_is_refused(name: str) -> None:
    with pytest.raises(PixelsUnreadable):
        frames_of(installed_files()[name].read_bytes())


def gradient(rows: int = 24, columns: int = 18, bits: int = 12) -> np.ndarray:
    return (np.arange(rows * columns).reshape(rows, columns) * 37 % (1 << bits)).astype("u2")


CODED = (
    ts.RLELossless,
    ts.JPEGExtended12Bit,
    ts.JPEGLosslessSV1,
    ts.JPEGLSLossless,
    ts.JPEG2000Lossless,
    ts.HTJ2KLossless,
    ts.DeflatedImageFrameCompression,
)


@pytest.mark.parametrize("syntax", CODED)
@pytest.mark.parametrize(
    "lie",
    [
        pytest.param({"Rows": 48}, id="more rows"),
        pytest.param({"Columns": 36}, id="more columns"),
        pytest.param({"Rows": 65535, "Columns": 1}, id="many rows"),
        pytest.param({"SamplesPerPixel": 3, "PlanarConfiguration": 0}, id="more samples"),
        pytest.param({"BitsAllocated": 32}, id="more bits"),
    ],
)
def test_attributes_that_lie_about_coded_frames_are_refused(syntax: str, lie: dict) -> None:
    said = {"Rows": 24, "Columns": 18, "BitsStored": 12, "HighBit": 11}
    frame = encode_frame(gradient(), syntax, pixel_format(ct_slice(**said).to_json_dict()))
    lied = pixel_format(ct_slice(**(said | lie)).to_json_dict())
    if lie == {"BitsAllocated": 32} and syntax not in syntaxes.BYTES:
        assert decode_frame(frame, syntax, lied).pixels.dtype == "u4"  # more room does no harm
        return
    with pytest.raises(PixelsUnreadable):
        decode_frame(frame, syntax, lied)


@pytest.mark.parametrize("syntax", CODED)
@pytest.mark.parametrize("share", [0, 0.01, 0.1, 0.5, 0.9])
def test_frames_that_are_cut_off_are_refused(syntax: str, share: float) -> None:
    """Never an image whose end is gray."""
    pixels = pixel_format(ct_slice(Rows=96, Columns=80, BitsStored=12, HighBit=11).to_json_dict())
    frame = encode_frame(gradient(96, 80), syntax, pixels)
    with pytest.raises(PixelsUnreadable):
        decode_frame(frame[: int(len(frame) * share)], syntax, pixels)


@pytest.mark.parametrize("syntax", CODED)
def test_garbage_behind_a_right_beginning_is_refused_or_decoded(syntax: str) -> None:
    """Never anything else: no crash, no other exception."""
    pixels = pixel_format(ct_slice(Rows=24, Columns=18, BitsStored=12, HighBit=11).to_json_dict())
    frame = bytearray(encode_frame(gradient(), syntax, pixels))
    random = np.random.default_rng(1)
    for at in range(0, len(frame), 11):
        damaged = frame.copy()
        damaged[at : at + 8] = random.bytes(len(damaged[at : at + 8]))
        try:
            assert decode_frame(bytes(damaged), syntax, pixels).pixels.shape == (24, 18)
        except PixelsUnreadable:
            continue


@pytest.mark.parametrize(
    ("attributes", "data", "expected"),
    [
        pytest.param({}, b"\xff\x0f\x00\x08", [[4095, 2048]], id="twelve bits"),
        pytest.param({}, b"\xff\xff\x00\xf8", [[4095, 2048]], id="what lies above them is not theirs"),
        pytest.param({"PixelRepresentation": 1}, b"\xff\x0f\x00\x08", [[-1, -2048]], id="signed"),
        pytest.param({"HighBit": 15}, b"\xf0\xff\x00\x80", [[4095, 2048]], id="high bits"),
        pytest.param({"HighBit": 15, "PixelRepresentation": 1}, b"\xf0\xff\x10\x00", [[-1, 1]], id="both"),
    ],
)
def test_stored_values(attributes: dict, data: bytes, expected: list) -> None:
    said = {"Rows": 1, "Columns": 2, "BitsStored": 12, "HighBit": 11} | attributes
    pixels = pixel_format(ct_slice(**said).to_json_dict())
    assert decode_frame(data, ts.ExplicitVRLittleEndian, pixels).pixels.tolist() == expected


@pytest.mark.parametrize(
    "syntax", [ts.RLELossless, ts.JPEGLosslessSV1, ts.JPEGLSLossless, ts.JPEG2000Lossless]
)
def test_coded_colour_that_is_said_to_be_subsampled_is_not_once_it_is_decoded(syntax: str) -> None:
    """Ultrasound says YBR_FULL_422 of RLE and of lossless JPEG, which hold every sample."""
    said = {"Rows": 2, "Columns": 4, "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    said |= {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    whole = pixel_format(ct_slice(**said, PhotometricInterpretation="YBR_FULL").to_json_dict())
    cells = np.arange(24, dtype="u1").reshape(2, 4, 3)
    frame = encode_frame(cells, syntax, whole)
    named = pixel_format(ct_slice(**said, PhotometricInterpretation="YBR_FULL_422").to_json_dict())
    found = decode_frame(frame, syntax, named)
    assert found.photometric_interpretation == "YBR_FULL"
    assert np.array_equal(found.pixels, cells)


@pytest.mark.parametrize(
    "syntax", [ts.JPEGLosslessSV1, ts.JPEGLSLossless, ts.JPEG2000Lossless, ts.HTJ2KLossless]
)
def test_cells_of_coded_signed_pixels_have_their_sign_above_high_bit(syntax: str) -> None:
    """Readers of the native file take the whole cell for the number."""
    said = {"Rows": 2, "Columns": 2, "BitsStored": 12, "HighBit": 11, "PixelRepresentation": 1}
    pixels = pixel_format(ct_slice(**said).to_json_dict())
    values = np.array([[-2048, -1], [0, 2047]], "i2")
    cells = decode_cells(encode_frame(values.view("u2"), syntax, pixels), syntax, pixels).pixels
    assert cells.view("i2").tolist() == values.tolist()


def test_bits_that_share_bytes() -> None:
    pixels = pixel_format(
        ct_slice(Rows=3, Columns=3, BitsAllocated=1, BitsStored=1, HighBit=0).to_json_dict()
    )
    found = decode_frame(b"\x55\x01", ts.ExplicitVRLittleEndian, pixels).pixels
    assert found.tolist() == [[1, 0, 1], [0, 1, 0], [1, 0, 1]]


def test_float_pixels() -> None:
    dataset = Dataset()
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 1, 2, 32
    dataset.FloatPixelData = np.array([1.5, -2], "<f4").tobytes()
    pixels = pixel_format(dataset.to_json_dict())
    found = decode_frame(dataset.FloatPixelData, ts.ExplicitVRLittleEndian, pixels).pixels
    assert (found.dtype, found.tolist()) == (np.float32, [[1.5, -2.0]])


def test_unknown_syntaxes_are_refused() -> None:
    pixels = pixel_format(ct_slice().to_json_dict())
    with pytest.raises(PixelsUnreadable, match="transfer syntax"):
        decode_frame(bytes(32), ts.MPEG2MPML, pixels)


@pytest.mark.parametrize("syntax", sorted(syntaxes.DECODABLE), ids=lambda uid: ts.TRANSFER_SYNTAXES[uid][0])
def test_every_syntax_that_is_said_to_be_decoded_has_a_decoder(syntax: str) -> None:
    pixels = pixel_format(ct_slice().to_json_dict())
    with pytest.raises(PixelsUnreadable, match="frame"):
        decode_frame(b"", syntax, pixels)
