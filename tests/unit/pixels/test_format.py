"""Image Pixel attributes, believed only where they are possible (PS3.3 C.7.6.3)."""

import pytest
from pydicom.dataset import Dataset

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import MAX_FRAME_BYTES, PixelFormat, from_header, pixel_format, to_header
from tests.conformance.ps3_18.kit import ct_slice


def test_the_format_of_an_image() -> None:
    found = pixel_format(ct_slice(BitsStored=12, HighBit=11, PixelRepresentation=1).to_json_dict())
    assert found == PixelFormat(4, 4, 1, 16, 12, 11, 1, "MONOCHROME2")
    assert from_header(to_header(found)) == found


@pytest.mark.parametrize(("keyword", "bits"), [("FloatPixelData", 32), ("DoubleFloatPixelData", 64)])
def test_float_pixels_say_less_of_themselves(keyword: str, bits: int) -> None:
    dataset = Dataset()
    dataset.Rows, dataset.Columns, dataset.BitsAllocated = 2, 3, bits
    setattr(dataset, keyword, bytes(6 * bits // 8))
    found = pixel_format(dataset.to_json_dict())
    assert (found.is_float, found.bits_allocated, found.frame_bytes) == (True, bits, 6 * bits // 8)


@pytest.mark.parametrize(
    ("attributes", "named"),
    [
        ({"Rows": None}, "Rows"),
        ({"Rows": 0}, "Rows"),
        ({"Columns": 0}, "Rows or Columns"),
        ({"BitsAllocated": None}, "BitsAllocated"),
        ({"BitsAllocated": 12}, "BitsAllocated"),
        ({"BitsAllocated": 64}, "BitsAllocated"),
        ({"BitsStored": 17}, "BitsStored"),
        ({"BitsStored": 0}, "BitsStored"),
        ({"HighBit": 16}, "HighBit"),
        ({"HighBit": 3}, "HighBit"),
        ({"SamplesPerPixel": 2}, "SamplesPerPixel"),
        ({"SamplesPerPixel": 60000}, "SamplesPerPixel"),
        ({"PixelRepresentation": 2}, "PixelRepresentation"),
    ],
)
def test_what_no_pixels_can_be_is_refused(attributes: dict, named: str) -> None:
    with pytest.raises(PixelsUnreadable, match=named):
        pixel_format(ct_slice(**attributes).to_json_dict())


def test_a_frame_that_would_fill_the_memory_is_refused() -> None:
    with pytest.raises(PixelsUnreadable, match="larger"):
        pixel_format(ct_slice(Rows=65535, Columns=65535).to_json_dict())
    rows = MAX_FRAME_BYTES // 2 // 4096
    assert pixel_format(ct_slice(Rows=rows, Columns=4096).to_json_dict()).frame_bytes == MAX_FRAME_BYTES


def test_subsampled_frames_are_stored_shorter() -> None:
    pixels = PixelFormat(2, 4, 3, 8, 8, 7, 0, "YBR_FULL_422")
    assert (pixels.stored_frame_bits, pixels.frame_bytes) == (128, 24)
