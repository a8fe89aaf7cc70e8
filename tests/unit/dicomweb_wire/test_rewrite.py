"""Data sets in Explicit VR Little Endian say the same as before (PS3.5 §7.1, Annex A)."""

import io
from contextlib import suppress

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from dicomweb.wire.faults import UnreadableDataSet
from dicomweb.wire.instance import SYNTAXES, inflated_file, parse_instance
from dicomweb.wire.rewrite import element, rewrite, rewrite_file_meta, turned_around
from dicomweb.wire.walk import EXPLICIT_LITTLE, UNDEFINED
from tests.conformance.ps3_18.kit import as_file, ct_slice
from tests.unit.transcoding.kit import installed_files


def rewritten(file: bytes, changes: dict | None = None) -> tuple[bytes, bytes]:
    """The file without its pixel data in Explicit VR Little Endian; what was left of the old one."""
    parsed = parse_instance(file)
    whole = bytes(inflated_file(file))
    syntax = SYNTAXES.get(parsed.transfer_syntax_uid, EXPLICIT_LITTLE)
    data_set, pixels = rewrite(whole, parsed.data_set_offset, syntax, changes or {})
    meta = rewrite_file_meta(whole, parsed.data_set_offset, ExplicitVRLittleEndian)
    return meta + data_set, whole[pixels.value_offset :] if pixels else b""


def without_pixels(dicom_json: dict) -> dict:
    """Attributes by value; where a bulk value lies is another matter."""
    return {key: value for key, value in dicom_json.items() if not key.startswith("7FE0")}


@pytest.mark.parametrize("name", sorted(installed_files()))
def test_installed_files_say_the_same(name: str) -> None:
    file = installed_files()[name].read_bytes()
    made, _ = rewritten(file)
    before, after = parse_instance(file), parse_instance(made)
    assert after.transfer_syntax_uid == ExplicitVRLittleEndian
    assert without_pixels(after.dicom_json) == without_pixels(before.dicom_json)
    assert "file-meta-group-length" not in after.warnings


def nested() -> Dataset:
    """Numbers of every width, sequences in sequences, private and unknown attributes, texts."""
    inner = Dataset()
    inner.ReferencedFrameNumber = [1, 2]
    inner.ReferencedSOPInstanceUID = "1.2.3"
    outer = Dataset()
    outer.ReferencedSOPSequence = [inner, Dataset(), inner]
    outer.FrameReferenceTime = 1.5
    dataset = ct_slice(PixelRepresentation=1)
    dataset.SourceImageSequence = [outer, outer]
    dataset.SmallestImagePixelValue = -5
    dataset.FrameIncrementPointer = [0x00181063, 0x00181065]
    dataset.RealWorldValueMappingSequence = []
    dataset.add_new(0x00189321, "SQ", [outer])
    dataset.add_new(0x00091001, "FD", [1.25, -2.5])
    dataset.add_new(0x00090010, "LO", "PRIVATE")
    dataset.add_new(0x00091002, "UL", 0x01020304)
    dataset.add_new(0x00091003, "SL", -2)
    dataset.add_new(0x00091004, "FL", 0.5)
    dataset.RedPaletteColorLookupTableData = bytes(range(8))
    dataset.StudyComments = "x" * 70
    return dataset


SYNTAXES_OF_PYDICOM = (
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)


@pytest.mark.parametrize("syntax", SYNTAXES_OF_PYDICOM, ids=lambda uid: uid.name)
@pytest.mark.parametrize("is_undefined", [True, False], ids=["delimited", "with lengths"])
def test_sequences_and_numbers_of_every_width(syntax: str, is_undefined: bool) -> None:
    dataset = nested()
    for each in dataset.iterall():
        if each.VR == "SQ":
            each.is_undefined_length = is_undefined
            for item in each.value:
                item.is_undefined_length_sequence_item = is_undefined
    file = as_file(dataset, syntax)
    made, pixels = rewritten(file)
    assert without_pixels(parse_instance(made).dicom_json) == without_pixels(parse_instance(file).dicom_json)
    assert len(pixels) >= 32
    read = pydicom.dcmread(io.BytesIO(made))
    assert read.SourceImageSequence[1].ReferencedSOPSequence[2].ReferencedFrameNumber == [1, 2]


def test_what_is_plain_already_stays_as_it_is() -> None:
    file = as_file(nested())
    made, pixels = rewritten(file)
    assert file.endswith(pixels)
    assert made[parse_instance(made).data_set_offset :] in file


def test_changes_take_their_places() -> None:
    changes = {
        0x00080008: element(0x00080008, b"CS", b"DERIVED"),
        0x00100010: None,
        0x00280004: element(0x00280004, b"CS", b"RGB"),
        0x00282110: element(0x00282110, b"CS", b"01"),
    }
    made, _ = rewritten(as_file(ct_slice()), changes)
    parsed = parse_instance(made)
    assert list(parsed.dicom_json) == sorted(parsed.dicom_json)
    assert parsed.dicom_json["00080008"]["Value"] == ["DERIVED"]
    assert parsed.dicom_json["00280004"]["Value"] == ["RGB"]
    assert parsed.dicom_json["00282110"]["Value"] == ["01"]
    assert "00100010" not in parsed.dicom_json


def test_group_lengths_padding_and_offset_tables_are_left_out() -> None:
    dataset = ct_slice()
    dataset.add_new(0x00280000, "UL", 99)
    dataset.add_new(0x7FE00001, "OV", bytes(8))
    dataset.add_new(0x7FE00002, "OV", bytes(8))
    made, _ = rewritten(as_file(dataset))
    assert b"\x28\0\0\0UL" not in made
    assert b"\xe0\x7f\x01\0" not in made


def test_values_too_long_for_their_vr_become_unknown() -> None:
    """PS3.5 §6.2.2: what a 16-bit length cannot say."""
    value = "\\".join(["1.5"] * 20000)
    dataset = ct_slice()
    dataset.add_new(0x30060050, "DS", value.split("\\"))
    made, _ = rewritten(as_file(dataset, ImplicitVRLittleEndian))
    at = made.index(b"\x06\x30\x50\x00")
    assert made[at + 4 : at + 6] == b"UN"
    assert int.from_bytes(made[at + 8 : at + 12], "little") == len(value) + len(value) % 2


def test_the_preamble_of_another_format_is_emptied() -> None:
    file = b"II*\0" + as_file(ct_slice())[4:]
    assert rewritten(file)[0][:132] == bytes(128) + b"DICM"


@pytest.mark.parametrize(
    ("width", "expected"), [(1, b"12345"), (2, b"21435"), (4, b"43215"), (8, b"12345"), (3, b"12345")]
)
def test_words_turned_around(width: int, expected: bytes) -> None:
    assert turned_around(b"12345", width) == expected


@pytest.mark.parametrize("syntax", SYNTAXES_OF_PYDICOM[:3], ids=lambda uid: uid.name)
@given(at=st.integers(0, 10_000), stop=st.integers(1, 10_000), byte=st.integers(0, 255))
def test_damaged_bytes_are_refused_or_rewritten(syntax: str, at: int, stop: int, byte: int) -> None:
    """Never anything else: the store has proven the bytes, but not that they stayed so."""
    file = bytearray(FILES[syntax])
    start = parse_instance(FILES[syntax]).data_set_offset
    file[start + at % (len(file) - start)] = byte
    del file[start + stop :]
    with suppress(UnreadableDataSet):
        rewrite(bytes(file), start, SYNTAXES.get(syntax, EXPLICIT_LITTLE), {})


FILES = {syntax: as_file(nested(), syntax) for syntax in SYNTAXES_OF_PYDICOM}


def test_encapsulated_pixels_stop_it_too() -> None:
    file = installed_files()["MR_small_RLE.dcm"].read_bytes()
    parsed = parse_instance(file)
    _, pixels = rewrite(file, parsed.data_set_offset, EXPLICIT_LITTLE, {})
    assert (pixels.tag, pixels.vr, pixels.length) == (0x7FE00010, b"OB", UNDEFINED)
