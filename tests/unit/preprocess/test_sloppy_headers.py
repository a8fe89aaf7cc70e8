"""Headers that are not what the standard says: read where they can be, else refused by name (PS3.5 6.2)."""

import copy
import struct
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, FileDataset
from pydicom.uid import RLELossless

from ai_engine.phantom.enhanced import enhanced
from ai_engine.preprocess import volume as volume_module
from ai_engine.preprocess.decoding import BY_PYDICOM
from ai_engine.preprocess.frames import SourceImage
from ai_engine.preprocess.projections import read_projections
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused
from ai_engine.preprocess.values import real_world
from ai_engine.preprocess.volume import build_volume
from ai_engine.wants import Wants
from server.workflows.decoding import archive_decoding

ANY = Wants(modalities=(), sop_classes=(), minimum_slices=10)
HOUNSFIELD = Wants(modalities=(), sop_classes=(), minimum_slices=10, units="hounsfield")


def refused(datasets: list[FileDataset], wants: Wants = ANY) -> RefusalReason:
    with pytest.raises(SeriesRefused) as caught:
        build_volume(datasets, wants, archive_decoding())
    return caught.value.reason


def with_first(series: list[FileDataset], keyword: str, vr: str, value: Any) -> list[FileDataset]:
    """The series whose first image has another value, written with this VR."""
    first = copy.deepcopy(series[0])
    first.add_new(keyword, vr, value)
    return [first, *series[1:]]


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [("InstanceNumber", "LO", "abc"), ("AcquisitionNumber", "IS", [1, 2]), ("InstanceNumber", "OB", b"\1")],
)
def test_what_only_orders_may_be_anything(
    keyword: str, vr: str, value: Any, series: list[FileDataset]
) -> None:
    made = build_volume(with_first(series, keyword, vr, value), ANY)
    assert np.array_equal(made.voxels, build_volume(series, ANY).voxels)


@pytest.mark.parametrize(
    ("keyword", "vr", "value"),
    [
        ("PixelPaddingValue", "OW", b"\x30\xf8"),
        ("PixelPaddingValue", "LO", "none"),
        ("Rows", "OB", b"64"),
        ("SamplesPerPixel", "LO", "one"),
        ("BitsStored", "LO", "twelve"),
    ],
)
def test_what_voxels_depend_on_is_refused(
    keyword: str, vr: str, value: Any, series: list[FileDataset]
) -> None:
    assert refused(with_first(series, keyword, vr, value)) is RefusalReason.INVALID_ATTRIBUTE


@pytest.mark.parametrize("error", [struct.error("unpack"), OverflowError("int"), KeyError("x"), EOFError()])
def test_whatever_reading_raises_is_a_refusal_without_its_text(
    error: Exception, series: list[FileDataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(volume_module, "read_plane", fail)
    assert refused(series) is RefusalReason.INVALID_ATTRIBUTE


def test_fragments_that_end_too_early_are_refused(series: list[FileDataset]) -> None:
    image = enhanced(series)
    image.compress(RLELossless)
    whole = image.PixelData
    for end in (3, 9, len(whole) // 2, len(whole) // 2 + 3):
        image.PixelData = whole[:end]
        assert refused([image]) is RefusalReason.PIXEL_DATA_UNREADABLE
    image.PixelData = whole
    image.ExtendedOffsetTable = image.ExtendedOffsetTableLengths = bytes(9)
    assert refused([image]) is RefusalReason.PIXEL_DATA_UNREADABLE
    images = copy.deepcopy(series)
    for each in images:
        each.compress(RLELossless, generate_instance_uid=False)
    images[3].PixelData = images[3].PixelData[:19]
    assert refused(images) is RefusalReason.PIXEL_DATA_UNREADABLE


def test_only_ct_is_in_hounsfield_units_without_saying_so(series: list[FileDataset]) -> None:
    silent = copy.deepcopy(series)
    for each in silent:
        del each.RescaleType
    assert build_volume(silent, HOUNSFIELD).voxels.dtype == np.int16
    for each in silent:
        each.Modality = "MR"
    assert refused(silent, HOUNSFIELD) is RefusalReason.NOT_HOUNSFIELD
    for each in silent:
        each.RescaleType = "HU"
    assert build_volume(silent, HOUNSFIELD).voxels.dtype == np.int16


def test_a_real_world_mapping_is_for_its_range() -> None:
    header, mapping = Dataset(), Dataset()
    mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept = 2.0, 1.0
    mapping.add_new("RealWorldValueFirstValueMapped", "US", 65535)  # -1, by a writer who knows no SS
    mapping.add_new("RealWorldValueLastValueMapped", "US", 9)
    header.PixelRepresentation, header.RealWorldValueMappingSequence = 1, [mapping]
    stored = np.array([[-1, 9]], np.int16)
    assert real_world(header, stored).tolist() == [[-1, 19]]
    with pytest.raises(SeriesRefused, match="RealWorldValueLastValueMapped"):
        real_world(header, stored + np.int16(1))
    header.add_new("PixelPaddingValue", "SS", 10)
    assert real_world(header, np.array([[0, 10]], np.int16)).tolist() == [[1, 1]]


def test_radiographs_larger_than_is_read_are_refused(series: list[FileDataset]) -> None:
    images = copy.deepcopy(series[:2])
    for each in images:
        each.Rows = each.Columns = 0xFFFF
    with pytest.raises(SeriesRefused) as caught:
        read_projections([SourceImage(each) for each in images], BY_PYDICOM)
    assert caught.value.reason is RefusalReason.LIMIT_EXCEEDED
