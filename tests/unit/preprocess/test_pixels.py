"""Stored values become Hounsfield units (PS3.3 C.7.6.3, C.11.1)."""

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, JPEGExtended12Bit, RLELossless

from ai_engine.preprocess.decoding import MEASURED
from ai_engine.preprocess.pixels import check_greyscale, stored_values
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.preprocess.values import AIR_HU
from ai_engine.preprocess.values import hounsfield as converted


def hounsfield(dataset: Dataset) -> NDArray[np.int16]:
    check_greyscale(dataset, MEASURED)
    return converted(dataset, stored_values(dataset))


def image(values: list[int], dtype: str = "<u2", **attributes: object) -> Dataset:
    dataset = Dataset()
    dataset.Rows, dataset.Columns = 1, len(values)
    bits = np.dtype(dtype).itemsize * 8
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(dtype[1] == "i")
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
    dataset.PixelData = np.array(values, dtype).tobytes()
    for keyword, value in attributes.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        pytest.param(image([0, 24, 1064]), [-1024, -1000, 40], id="unsigned"),
        pytest.param(image([-24, 40], "<i2", RescaleIntercept=0), [-24, 40], id="signed"),
        pytest.param(image([0, 200], "<u1"), [-1024, -824], id="8 bits"),
        pytest.param(image([1, 3], RescaleSlope=0.5, RescaleIntercept=0.25), [1, 2], id="rounded"),
        pytest.param(image([-2000, 0], "<i2", RescaleIntercept=0), [-1024, 0], id="below air"),
        pytest.param(image([65535], RescaleIntercept=0), [32767], id="above int16"),
        pytest.param(image([0xF028], BitsStored=12, HighBit=11), [-984], id="overlay in high bits"),
        pytest.param(
            image([0x0FFF], "<i2", BitsStored=12, HighBit=11, RescaleIntercept=0), [-1], id="sign of 12 bits"
        ),
        pytest.param(image([0x0280], BitsStored=12, HighBit=15), [-984], id="left-justified"),
    ],
)
def test_hounsfield(dataset: Dataset, expected: list[int]) -> None:
    assert hounsfield(dataset).tolist() == [expected]


@pytest.mark.parametrize(
    ("padding", "limit", "expected"),
    [
        (63536, None, [AIR_HU, 500, 40]),
        (-2000, 500, [AIR_HU, AIR_HU, AIR_HU]),
        (None, None, [-1024, 500, 40]),
    ],
)
def test_padding_is_air(padding: int | None, limit: int | None, expected: list[int]) -> None:
    dataset = image([-2000, 500, 40], "<i2", RescaleIntercept=0)
    if padding is not None:
        dataset.add_new("PixelPaddingValue", "US" if padding > 0 else "SS", padding)
    if limit is not None:
        dataset.add_new("PixelPaddingRangeLimit", "SS", limit)
    assert hounsfield(dataset).tolist() == [expected]


def test_values_that_are_no_hounsfield_units_are_refused() -> None:
    with pytest.raises(SeriesRefused, match="RescaleType") as caught:
        hounsfield(image([1], RescaleType="OD"))
    assert caught.value.reason is RefusalReason.NOT_HOUNSFIELD


def test_pixel_data_too_short_is_refused() -> None:
    with pytest.raises(SeriesRefused, match="shorter") as caught:
        hounsfield(image([1, 2, 3], Rows=2))
    assert caught.value.reason is RefusalReason.PIXEL_DATA_UNREADABLE


def with_syntax(syntax: UID, pixel_data: bytes) -> Dataset:
    dataset = image([1, 2], SamplesPerPixel=1, PhotometricInterpretation="MONOCHROME2")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.PixelData = pixel_data
    return dataset


def test_a_broken_compressed_frame_is_refused() -> None:
    with pytest.raises(SeriesRefused) as caught:
        hounsfield(with_syntax(RLELossless, b"\xfe\xff\x00\xe0\x00\x00\x00\x00nonsense"))
    assert caught.value.reason is RefusalReason.PIXEL_DATA_UNREADABLE


def test_a_transfer_syntax_without_decoder_is_named() -> None:
    with pytest.raises(SeriesRefused, match="JPEG Extended") as caught:
        hounsfield(with_syntax(JPEGExtended12Bit, b"\xfe\xff\x00\xe0\x00\x00\x00\x00"))
    assert caught.value.reason in {
        RefusalReason.TRANSFER_SYNTAX_NOT_SUPPORTED,
        RefusalReason.PIXEL_DATA_UNREADABLE,
    }


def test_deflated_data_sets_hold_native_pixels() -> None:
    dataset = with_syntax(DeflatedExplicitVRLittleEndian, np.array([24, 1064], "<u2").tobytes())
    assert hounsfield(dataset).tolist() == [[-1000, 40]]


def test_a_compressed_image_equals_its_uncompressed_twin() -> None:
    names = ("MR_small.dcm", "MR_small_RLE.dcm", "MR_small_jp2klossless.dcm", "MR_small_bigendian.dcm")
    decoded = []
    for name in names:
        dataset = pydicom.dcmread(get_testdata_file(name, download=False))
        dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
        decoded.append(hounsfield(dataset))
    for other in decoded[1:]:
        assert np.array_equal(other, decoded[0])
