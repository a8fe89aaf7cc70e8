from struct import pack

import pytest

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.wire.instance import parse_instance
from dicomweb.wire.pixel_data import PixelLayout, decode_layout, encode_layout
from tests.unit.dicomweb_wire.files import SEQUENCE_END, UNDEFINED, explicit, file, item

SOI = b"\xff\xd8\xff\xe0"


def _image(rows=2, columns=3, *, frames=None, allocated=8, samples=1, photometric=b"MONOCHROME2 "):
    elements = [
        explicit(0x00280002, "US", pack("<H", samples)),
        explicit(0x00280004, "CS", photometric),
        explicit(0x00280010, "US", pack("<H", rows)),
        explicit(0x00280011, "US", pack("<H", columns)),
        explicit(0x00280100, "US", pack("<H", allocated)),
    ]
    if frames is not None:
        elements.append(explicit(0x00280008, "IS", frames))
    return elements


def _native(value: bytes, **image) -> tuple[bytes, PixelLayout]:
    data = file(*_image(**image), explicit(0x7FE00010, "OB", value))
    return data, parse_instance(data).pixels


def _encapsulated(*fragments: bytes, frames=b"2 ", table=b"", extra=()) -> tuple[bytes, PixelLayout]:
    value = item(table) + b"".join(map(item, fragments)) + SEQUENCE_END
    pixels = explicit(0x7FE00010, "OB", value, UNDEFINED)
    data = file(*_image(frames=frames), *extra, pixels, syntax=ts.JPEGBaseline8Bit)
    return data, parse_instance(data).pixels


def _frames(data: bytes, layout: PixelLayout) -> list[bytes]:
    return [
        b"".join(data[at : at + length] for at, length in layout.frame_ranges(number))
        for number in range(1, layout.number_of_frames + 1)
    ]


def test_native_frames_follow_each_other():
    data, layout = _native(b"abcdefghijkl", frames=b"2 ")
    assert _frames(data, layout) == [b"abcdef", b"ghijkl"]
    assert layout.frame_length == 6


def test_subsampled_chrominance_takes_two_bytes_per_pixel():
    data, layout = _native(b"12345678", rows=2, columns=2, samples=3, photometric=b"YBR_FULL_422")
    assert _frames(data, layout) == [b"12345678"]


def test_one_bit_frames_are_cut_within_bytes():
    value = (0b110101 | 0b011011 << 6 | 0b000001 << 12).to_bytes(3, "little") + b"\0"
    data, layout = _native(value, frames=b"3 ", allocated=1)
    aligned = [layout.align_frame(n + 1, frame) for n, frame in enumerate(_frames(data, layout))]
    assert aligned == [bytes([0b110101]), bytes([0b011011]), bytes([0b000001])]
    assert [layout.frame_shift(n) for n in (1, 2, 3)] == [0, 6, 4]


@pytest.mark.parametrize(
    "image",
    [
        {"frames": b"3 "},
        {"frames": b"99999999999 "},
        {"frames": b"-1"},
        {"frames": b"x "},
        {"frames": b"0 "},
        {"rows": 0},
        {"rows": 65535, "columns": 65535},
        {"allocated": 0},
    ],
)
def test_frames_that_do_not_fit_the_bytes_are_unknown(image):
    data = file(*_image(**image), explicit(0x7FE00010, "OB", b"abcdefghijkl"))
    parsed = parse_instance(data)
    assert not parsed.pixels.frames_known
    assert "frames-unknown" in parsed.warnings
    with pytest.raises(IndexError):
        parsed.pixels.frame_ranges(1)


def test_frame_numbers_begin_at_one():
    _, layout = _native(b"abcdef")
    for number in (0, 2, -1):
        with pytest.raises(IndexError):
            layout.frame_ranges(number)


def test_one_fragment_per_frame():
    data, layout = _encapsulated(b"aa", b"bbbb")
    assert _frames(data, layout) == [b"aa", b"bbbb"]


def test_the_basic_offset_table_cuts_fragments_into_frames():
    data, layout = _encapsulated(b"aa", b"bb", b"cc", table=pack("<LL", 0, 20))
    assert _frames(data, layout) == [b"aabb", b"cc"]


def test_the_extended_offset_table_gives_lengths_too():
    tables = (
        explicit(0x7FE00001, "OV", pack("<QQ", 0, 12)),
        explicit(0x7FE00002, "OV", pack("<QQ", 3, 2)),
    )
    data, layout = _encapsulated(b"aaa\0", b"bb", extra=tables)
    assert _frames(data, layout) == [b"aaa", b"bb"]


@pytest.mark.parametrize(
    "table", [pack("<LL", 0, 11), pack("<LL", 10, 0), pack("<L", 0), b"\0\0", pack("<LL", 0, 0)]
)
def test_a_wrong_offset_table_gives_way_to_the_fragments(table):
    data, layout = _encapsulated(b"aa", b"bb", table=table)
    assert _frames(data, layout) == [b"aa", b"bb"]


@pytest.mark.parametrize("lengths", [pack("<QQ", 3, 5), pack("<QQ", 0, 2), pack("<Q", 3)])
def test_a_wrong_extended_offset_table_gives_way(lengths):
    tables = (explicit(0x7FE00001, "OV", pack("<QQ", 0, 12)), explicit(0x7FE00002, "OV", lengths))
    data, layout = _encapsulated(b"aaa\0", b"bb", extra=tables)
    assert _frames(data, layout) == [b"aaa\0", b"bb"]


def test_without_a_table_frames_begin_where_images_do():
    data, layout = _encapsulated(SOI, b"aa", SOI + b"bb", b"cc")
    assert _frames(data, layout) == [SOI + b"aa", SOI + b"bbcc"]


def test_all_fragments_are_the_one_frame():
    data, layout = _encapsulated(SOI, b"aa", SOI, frames=None)
    assert _frames(data, layout) == [SOI + b"aa" + SOI]


@pytest.mark.parametrize(
    ("fragments", "frames"), [((b"aa", b"bb", b"cc"), b"2 "), ((), b"1 "), ((b"aa",), b"0 ")]
)
def test_fragments_that_cannot_be_told_apart_are_unknown(fragments, frames):
    _, layout = _encapsulated(*fragments, frames=frames)
    assert layout.encapsulated
    assert not layout.frames_known


def test_plain_pixels_under_a_compressed_syntax_are_unknown():
    data = file(*_image(), explicit(0x7FE00010, "OB", b"abcdef"), syntax=ts.JPEG2000)
    assert not parse_instance(data).pixels.frames_known


def test_an_instance_without_pixels_has_no_layout():
    assert parse_instance(file()).pixels is None
    assert parse_instance(file(explicit(0x7FE00010, "OB"))).pixels is None


def test_a_layout_survives_its_encoding():
    for layout in (
        _native(b"abcdef")[1],
        _encapsulated(b"aa", b"bb")[1],
        _encapsulated(b"aa", b"bb", b"cc")[1],
    ):
        assert decode_layout(encode_layout(layout)) == layout


def test_a_long_layout_is_read_once_for_many_frames() -> None:
    encoded = encode_layout(PixelLayout(20_000, True, fragments=tuple(((n, 1),) for n in range(20_000))))
    assert decode_layout(encoded) is decode_layout(bytes(bytearray(encoded)))
    assert decode_layout(encoded).frame_ranges(20_000) == ((19_999, 1),)
