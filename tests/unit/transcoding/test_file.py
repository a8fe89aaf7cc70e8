"""Whole files in another transfer syntax, read by pydicom (PS3.5 Annex A; PS3.3 C.7.6.1.1.5, C.7.6.3)."""

import asyncio
import io

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.uid import EncapsulatedPDFStorage

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.encode import encode_frame
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import pixel_format
from dicomweb.pixels.syntaxes import ENCODABLE, LOSSY_METHOD, can_encode
from dicomweb.transcode import file as file_module
from dicomweb.transcode.file import transcode_file
from dicomweb.wire.instance import parse_instance
from tests.conformance.ps3_18.kit import as_file, ct_slice
from tests.unit.transcoding.kit import (
    decoded_by_pydicom,
    in_process,
    installed_files,
    stored_file,
    transcoded,
)

# One of each kind: native of every byte order and depth, every coding, colour, frames, bits, floats.
STORED = (
    "MR_small_implicit.dcm",
    "MR_small_expb.dcm",
    "MR_small_RLE.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "MR_small_jp2klossless.dcm",
    "CT_small.dcm",
    "image_dfl.dcm",
    "liver_1frame.dcm",
    "ExplVR_BigEnd.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "SC_rgb_rle_2frame.dcm",
    "SC_rgb_rle_16bit_2frame.dcm",
    "SC_rgb_rle_32bit_2frame.dcm",
    "SC_ybr_full_422_uncompressed.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "J2K_pixelrep_mismatch.dcm",
)
WITHOUT_ORACLE = {ts.JPEGLossless, ts.JPEGLosslessSV1, ts.JPEGExtended12Bit, ts.DeflatedImageFrameCompression}
COLOUR = {"00280004", "00280006"}
HISTORY = {"00282110", "00282112", "00282114", "00080008"}


def pairs() -> list:
    found = []
    for name in STORED:
        pixels = pixel_format(parse_instance(installed_files()[name].read_bytes()).dicom_json)
        targets = [target for target in ENCODABLE if can_encode(target, pixels)]
        found += [
            pytest.param(name, each, id=f"{name} as {ts.TRANSFER_SYNTAXES[each][0]}") for each in targets
        ]
    return found


def frames(file: bytes, *, is_lossy_colour: bool = False) -> np.ndarray:
    return decoded_by_pydicom(pydicom.dcmread(io.BytesIO(file)), raw=not is_lossy_colour)[0]


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, of padding and the like
@pytest.mark.parametrize(("name", "target"), pairs())
def test_pixels_and_attributes_stay(name: str, target: str) -> None:
    file = installed_files()[name].read_bytes()
    made = transcoded(file, target)
    before, after = parse_instance(file), parse_instance(made)
    assert after.transfer_syntax_uid == target
    assert after.pixels.frames_known
    assert after.pixels.number_of_frames == before.pixels.number_of_frames
    changed = {
        key
        for key in before.dicom_json | after.dicom_json
        if before.dicom_json.get(key) != after.dicom_json.get(key) and not key.startswith("7FE0")
    }
    assert changed <= COLOUR | HISTORY
    assert not changed & (HISTORY - {"00282110"}) or target in LOSSY_METHOD
    if target in WITHOUT_ORACLE or before.transfer_syntax_uid in WITHOUT_ORACLE:
        return
    is_jpeg = before.transfer_syntax_uid == ts.JPEGBaseline8Bit
    expected = frames(file, is_lossy_colour=is_jpeg).astype("f8")
    found = frames(made, is_lossy_colour=target == ts.JPEGBaseline8Bit)
    if target not in LOSSY_METHOD:
        assert np.array_equal(found, expected)
    elif target != ts.JPEGBaseline8Bit:
        assert np.abs(found - expected).max() <= 32


@pytest.mark.parametrize("target", [ts.ExplicitVRLittleEndian, ts.JPEGLSLossless])
def test_there_and_back_is_the_same_frame_by_frame(target: str) -> None:
    random = np.random.default_rng(1)
    pixels = random.integers(0, 4096, (5, 4, 4), "u2")
    said = {"NumberOfFrames": 5, "BitsStored": 12, "HighBit": 11}
    file = as_file(ct_slice(**said, PixelData=pixels.tobytes()))
    coded = transcoded(file, ts.JPEG2000Lossless)
    assert frames(transcoded(coded, target)).tolist() == pixels.tolist()


def test_frames_of_bits_are_joined_without_gaps() -> None:
    """PS3.5 §8.1.1: the second frame of 5 x 5 begins in the middle of the fourth byte."""
    bits = int.from_bytes(np.random.default_rng(1).bytes(10), "little") & ((1 << 75) - 1)
    said = {"Rows": 5, "Columns": 5, "BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}
    file = as_file(ct_slice(**said, NumberOfFrames=3, PixelData=bits.to_bytes(10, "little")))
    coded = transcoded(file, ts.DeflatedImageFrameCompression)
    back = parse_instance(plain := transcoded(coded, ts.ExplicitVRLittleEndian))
    assert plain[back.pixels.first_offset :] == bits.to_bytes(10, "little")


def test_lossy_answers_say_so() -> None:
    file = as_file(ct_slice(ImageType=["ORIGINAL", "PRIMARY", "AXIAL"]))
    read = pydicom.dcmread(io.BytesIO(transcoded(file, ts.JPEG2000)))
    assert (read.LossyImageCompression, read.LossyImageCompressionMethod) == ("01", "ISO_15444_1")
    assert read.ImageType == ["DERIVED", "PRIMARY", "AXIAL"]
    assert float(read.LossyImageCompressionRatio) > 0
    untyped = pydicom.dcmread(io.BytesIO(transcoded(as_file(ct_slice()), ts.JPEG2000)))
    assert "ImageType" not in untyped
    assert read.SOPInstanceUID == ct_slice().SOPInstanceUID


def test_what_was_lost_before_is_said_before() -> None:
    said = {
        "LossyImageCompression": "01",
        "LossyImageCompressionRatio": 12.5,
        "LossyImageCompressionMethod": "ISO_10918_1",
    }
    read = pydicom.dcmread(io.BytesIO(transcoded(as_file(ct_slice(**said)), ts.JPEGLSNearLossless)))
    assert read.LossyImageCompressionMethod == ["ISO_10918_1", "ISO_14495_1"]
    assert read.LossyImageCompressionRatio[0] == 12.5
    kept = pydicom.dcmread(io.BytesIO(transcoded(as_file(ct_slice(**said)), ts.JPEGLSLossless)))
    assert (kept.LossyImageCompressionRatio, kept.LossyImageCompressionMethod) == (12.5, "ISO_10918_1")


def test_loss_that_the_stored_file_does_not_tell_is_told() -> None:
    file = installed_files()["SC_rgb_small_odd_jpeg.dcm"].read_bytes()
    read = pydicom.dcmread(io.BytesIO(file))
    if "LossyImageCompression" in read:
        del read.LossyImageCompression
        out = io.BytesIO()
        read.save_as(out)
        file = out.getvalue()
    made = pydicom.dcmread(io.BytesIO(transcoded(file, ts.ExplicitVRLittleEndian)))
    assert (made.LossyImageCompression, made.PhotometricInterpretation) == ("01", "RGB")


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (ts.JPEG2000Lossless, "YBR_RCT"),
        (ts.JPEG2000, "YBR_ICT"),
        (ts.JPEGBaseline8Bit, "YBR_FULL_422"),
        (ts.JPEGLSLossless, "RGB"),
        (ts.RLELossless, "RGB"),
    ],
)
def test_colour_is_named_as_it_is_coded(target: str, name: str) -> None:
    file = installed_files()["SC_rgb_small_odd.dcm"].read_bytes()
    read = pydicom.dcmread(io.BytesIO(transcoded(file, target)))
    assert (read.PhotometricInterpretation, read.PlanarConfiguration) == (name, 0)


def test_colour_by_plane_stays_so_where_nothing_is_coded() -> None:
    file = installed_files()["ExplVR_BigEnd.dcm"].read_bytes()
    read = pydicom.dcmread(io.BytesIO(transcoded(file, ts.ExplicitVRLittleEndian)))
    assert read.PlanarConfiguration == 1


@pytest.mark.parametrize("stored", [ts.ImplicitVRLittleEndian, ts.DeflatedExplicitVRLittleEndian])
@pytest.mark.parametrize("target", [ts.ExplicitVRLittleEndian, ts.JPEG2000Lossless])
def test_objects_without_pixels_are_explicit_vr_little_endian(stored: str, target: str) -> None:
    dataset = ct_slice(SOPClassUID=EncapsulatedPDFStorage)
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(dataset, keyword)
    dataset.EncapsulatedDocument = b"%PDF-1.7" + bytes(3000)
    read = pydicom.dcmread(io.BytesIO(transcoded(as_file(dataset, stored), target)))
    assert read.file_meta.TransferSyntaxUID == ts.ExplicitVRLittleEndian
    assert read.EncapsulatedDocument == dataset.EncapsulatedDocument


def test_what_follows_the_pixels_stays() -> None:
    dataset = ct_slice()
    dataset.add_new(0xFFFAFFFA, "SQ", [Dataset()])
    coded = transcoded(as_file(dataset, ts.ImplicitVRLittleEndian), ts.RLELossless)
    plain = transcoded(coded, ts.ExplicitVRLittleEndian)
    for each in (coded, plain):
        assert len(pydicom.dcmread(io.BytesIO(each))[0xFFFAFFFA].value) == 1


def test_offset_tables_of_the_old_coding_go() -> None:
    frame = transcoded(as_file(ct_slice()), ts.JPEGLSLossless)
    layout = parse_instance(frame).pixels
    ((at, length),) = layout.frame_ranges(1)
    data, offsets, lengths = encapsulate_extended([frame[at : at + length]] * 2)
    dataset = ct_slice(NumberOfFrames=2, PixelData=data)
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = offsets, lengths
    made = pydicom.dcmread(io.BytesIO(transcoded(as_file(dataset, ts.JPEGLSLossless), ts.RLELossless)))
    assert "ExtendedOffsetTable" not in made
    assert "ExtendedOffsetTableLengths" not in made
    assert made.NumberOfFrames == 2


def test_a_multi_frame_passes_frame_by_frame() -> None:
    """What is read at once is a frame, and only a few are made ahead of who reads."""
    many = 40
    said = {"Rows": 64, "Columns": 64, "NumberOfFrames": many, "BitsStored": 12, "HighBit": 11}
    file = transcoded(as_file(ct_slice(**said, PixelData=bytes(64 * 64 * 2 * many))), ts.RLELossless)
    stored, pixels = stored_file(file), in_process()

    async def run() -> int:
        made = await transcode_file(stored, ts.ExplicitVRLittleEndian, pixels)
        assert pixels.pool.asked == 1
        chunks = made.chunks
        for _ in range(5):
            await anext(chunks)
        ahead = pixels.pool.asked
        async for chunk in chunks:
            assert len(chunk) <= 64 * 64 * 2
        assert pixels.pool.asked == many
        return ahead

    assert asyncio.run(run()) <= 8
    assert stored.reader.longest < len(file) / 10


@pytest.mark.parametrize(
    ("attributes", "target"),
    [
        pytest.param({}, ts.JPEGBaseline8Bit, id="16 bits as 8"),
        pytest.param({"PhotometricInterpretation": "PALETTE COLOR"}, ts.JPEG2000, id="a palette with loss"),
        pytest.param({"Rows": 65535, "Columns": 65535}, ts.JPEG2000Lossless, id="a frame without end"),
        pytest.param({"NumberOfFrames": 1000}, ts.JPEG2000Lossless, id="frames that are not there"),
        pytest.param({"OverlayBitPosition": 12}, ts.JPEG2000Lossless, id="an overlay within the pixels"),
        pytest.param({}, ts.ExplicitVRBigEndian, id="big endian"),
    ],
)
def test_what_cannot_be_made_is_refused(attributes: dict, target: str) -> None:
    dataset = ct_slice()
    for keyword, value in attributes.items():
        if keyword == "OverlayBitPosition":
            dataset.add_new(0x60000102, "US", value)
        else:
            setattr(dataset, keyword, value)
    with pytest.raises(PixelsUnreadable):
        transcoded(as_file(dataset), target)


@pytest.mark.parametrize("syntax", [ts.RLELossless, ts.JPEGLosslessSV1])
def test_colour_that_is_only_said_to_be_subsampled(syntax: str) -> None:
    """Decoded, it has all of its samples, and says so."""
    said = {"Rows": 4, "Columns": 4, "SamplesPerPixel": 3, "PlanarConfiguration": 0}
    said |= {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "YBR_FULL"}
    cells = np.arange(48, dtype="u1").reshape(4, 4, 3)
    frame = encode_frame(cells, syntax, pixel_format(ct_slice(**said).to_json_dict()))
    said["PhotometricInterpretation"] = "YBR_FULL_422"
    file = as_file(ct_slice(**said, PixelData=encapsulate([frame])), syntax)
    made = pydicom.dcmread(io.BytesIO(transcoded(file, ts.ExplicitVRLittleEndian)))
    assert (made.PhotometricInterpretation, made.PixelData) == ("YBR_FULL", cells.tobytes())


def test_fragments_at_odd_offsets_end_where_they_end() -> None:
    """An attribute of an odd length before them, which old writers made."""
    cells = np.arange(16, dtype="u2").reshape(4, 4)
    frame = encode_frame(cells, ts.RLELossless, pixel_format(ct_slice().to_json_dict()))
    file = as_file(ct_slice(StudyID="S1", PixelData=encapsulate([frame])), ts.RLELossless)
    odd = file.replace(b"SH\2\0S1", b"SH\1\0S")
    assert len(odd) == len(file) - 1
    made = pydicom.dcmread(io.BytesIO(transcoded(odd, ts.ExplicitVRLittleEndian)))
    assert made.PixelData == cells.tobytes()


@pytest.mark.parametrize("fragment", [b"garbage!", b"\xff\x4f\xff\x51" + bytes(60), b""])
def test_frames_that_cannot_be_decoded_are_refused_before_the_first_byte(fragment: bytes) -> None:
    file = as_file(ct_slice(PixelData=encapsulate([fragment or b"\0\0"])), ts.JPEG2000Lossless)

    async def run() -> None:
        await transcode_file(stored_file(file), ts.ExplicitVRLittleEndian, in_process())

    with pytest.raises(PixelsUnreadable):
        asyncio.run(run())


def test_what_lies_around_the_pixels_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "MAX_AROUND_BYTES", 300)
    with pytest.raises(PixelsUnreadable, match="too large"):
        transcoded(as_file(ct_slice(), ts.ImplicitVRLittleEndian), ts.ExplicitVRLittleEndian)
