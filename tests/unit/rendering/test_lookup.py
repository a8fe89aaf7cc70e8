"""Lookup tables and segmented palettes (PS3.3 C.11.1.1, C.7.6.3.1.5, C.7.9.2)."""

import numpy as np
import pytest

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import YBR_PARTIAL
from dicomweb.render.colour import colour_to_rgb, palette_to_rgb
from dicomweb.render.lookup import entries_of, expand_segments, look_up
from dicomweb.render.values import LookupTable


def words(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


@pytest.mark.parametrize(
    ("table", "entries"),
    [
        pytest.param(LookupTable(3, 0, 16, words(1, 2, 65535)), [1, 2, 65535], id="16 bits"),
        pytest.param(LookupTable(3, 0, 8, words(1, 2, 255)), [1, 2, 255], id="8 bits, one to a word"),
        pytest.param(LookupTable(3, 0, 8, bytes([1, 2, 255, 0])), [1, 2, 255], id="8 bits, two to a word"),
        pytest.param(LookupTable(2, 0, 16, words(1, 2, 3)), [1, 2], id="more than said"),
    ],
)
def test_entries(table: LookupTable, entries: list[int]) -> None:
    assert entries_of(table).tolist() == entries


def test_too_few_entries() -> None:
    with pytest.raises(PixelsUnreadable, match="shorter"):
        entries_of(LookupTable(4, 0, 16, words(1, 2, 3)))


@pytest.mark.parametrize(
    ("segments", "entries"),
    [
        pytest.param([0, 3, 7, 8, 9], [7, 8, 9], id="discrete"),
        pytest.param([0, 1, 0, 1, 4, 100], [0, 25, 50, 75, 100], id="linear: in equal steps up to its end"),
        pytest.param([0, 1, 100, 1, 2, 0], [100, 50, 0], id="linear: falling"),
        # Two segments from byte offset 0 of the table once more (C.7.9.2.3).
        pytest.param([0, 1, 0, 1, 2, 20, 2, 2, 0, 0], [0, 10, 20, 0, 10, 20], id="indirect"),
        pytest.param([0, 1, 5, 0, 1, 9, 2, 1, 6, 0], [5, 9, 9], id="indirect: the offset counts bytes"),
    ],
)
def test_segments(segments: list[int], entries: list[int]) -> None:
    assert expand_segments(np.array(segments, np.uint16), len(entries)).tolist() == entries


def test_segments_of_8_bits_have_offsets_of_four_bytes() -> None:
    data = bytes([0, 1, 5, 0, 1, 9, 2, 1, 3, 0, 0, 0])
    assert entries_of(LookupTable(3, 0, 8, data, is_segmented=True)).tolist() == [5, 9, 9]


@pytest.mark.parametrize(
    "segments",
    [
        pytest.param([1, 4, 100], id="linear without a start"),
        pytest.param([3, 1, 1], id="no such opcode"),
        pytest.param([0, 1, 5], id="too few"),
        pytest.param([0, 1, 5, 2, 1, 6, 0], id="indirect onto itself"),
        pytest.param([0, 1, 5, *([0, 0] * 40), 2, 40, 6, 0], id="segments of nothing"),
        pytest.param([0, 1, 0] + [1, 65535, 1] * 9, id="more than a palette has"),
        pytest.param([0, 1, 5, 2, 1], id="cut off"),
    ],
)
def test_segments_that_are_none(segments: list[int]) -> None:
    with pytest.raises(PixelsUnreadable):
        expand_segments(np.array(segments, np.uint16), 70_000)


def table(*entries: int, first: int = 0, bits: int = 16) -> LookupTable:
    return LookupTable(len(entries), first, bits, words(*entries))


def test_what_is_no_number_has_an_entry_too() -> None:
    values = np.array([np.nan, -np.inf, np.inf, 11.4])
    assert look_up(table(5, 6, 7, first=10), values).tolist() == [5, 5, 7, 6]


def test_palette_takes_the_high_byte_and_the_end_entries() -> None:
    palette = (table(0, 0x8000, 0xFFFF, first=1), table(0, 1, 255, first=1), table(9, 9, 9, first=1, bits=8))
    rgb = palette_to_rgb(np.array([[0, 1, 2, 3, 200]], np.uint8), palette)
    # The second says 16 bits and holds 8.
    assert rgb[0].tolist() == [[0, 0, 9], [0, 0, 9], [128, 1, 9], [255, 255, 9], [255, 255, 9]]


def test_palette_of_signed_pixels() -> None:
    palette = (table(10, 20, 30, first=-1, bits=8),) * 3
    assert palette_to_rgb(np.array([[-2, -1, 0, 1]], np.int16), palette)[0, :, 0].tolist() == [10, 10, 20, 30]


@pytest.mark.parametrize(
    ("dtype", "bits_stored", "white"),
    [("u1", 8, 255), ("u2", 16, 65535), ("u2", 12, 4095), ("u4", 32, 2**32 - 1)],
)
def test_rgb_of_any_depth(dtype: str, bits_stored: int, white: int) -> None:
    frame = np.array([[[0, white // 2, white]]], dtype)
    assert colour_to_rgb(frame, "RGB", bits_stored)[0, 0].tolist() == [0, 127, 255]


def test_ybr_full() -> None:
    frame = np.array([[[76, 85, 255], [255, 128, 128]]], np.uint8)  # C.7.6.3.1.2: red and white
    red, white = colour_to_rgb(frame, "YBR_FULL", 8)[0].tolist()
    assert np.abs(np.array(red) - [254, 0, 0]).max() <= 1
    assert white == [255, 255, 255]


def test_ybr_partial_from_16_to_235() -> None:
    frame = np.array([[[16, 128, 128], [235, 128, 128], [81, 90, 240]]], np.uint8)  # black, white, red
    assert np.abs(colour_to_rgb(frame, YBR_PARTIAL, 8)[0] - [[0] * 3, [255] * 3, [254, 0, 0]]).max() <= 1


@pytest.mark.parametrize(
    ("frame", "photometric"),
    [
        pytest.param(np.zeros((1, 1, 3), np.uint8), "CMYK", id="another space"),
        pytest.param(np.zeros((1, 1, 4), np.uint8), "RGB", id="four samples"),
        pytest.param(np.zeros((1, 1, 3), np.int16), "RGB", id="signed"),
    ],
)
def test_colour_that_is_not_rendered(frame: np.ndarray, photometric: str) -> None:
    with pytest.raises(PixelsUnreadable):
        colour_to_rgb(frame, photometric, 8)
