"""What metadata says of how to render (PS3.3 C.7.6.3, C.7.6.16.2, C.11.1, C.11.2)."""

from base64 import b64encode
from typing import Any

import numpy as np
import pytest

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat
from dicomweb.render.describe import (
    Source,
    aspect_of,
    bulk_uris,
    frame_time_ms,
    grayscale_of,
    icc_profile_of,
    palette_of,
)
from dicomweb.render.grayscale import to_gray
from dicomweb.render.values import Grayscale, LookupTable, Window, WindowFunction
from dicomweb.wire.dicom_json import data_set, element, sequence

Json = Any


def source(*elements: dict[str, Json], **changes: Any) -> Source:
    given = {"bits_allocated": 16, "bits_stored": 12, "high_bit": 11, "pixel_representation": 0, **changes}
    fmt = PixelFormat(4, 4, 1, photometric_interpretation=given.pop("photometric", "MONOCHROME2"), **given)
    return Source(data_set(*elements), fmt, {"bulkdata/00283006": b"\1\0\2\0"}.__getitem__)


def binary(keyword: str, data: bytes) -> dict[str, Json]:
    (key,) = element(keyword)
    return {key: {"vr": "OW", "InlineBinary": b64encode(data).decode()}}


WINDOWS = (element("WindowCenter", 40, 500), element("WindowWidth", 400, 2000))
LUT_ITEM = data_set(element("LUTDescriptor", 2, 10, 16), element("LUTData", 1, 65535, vr="US"))
TABLE = LookupTable(2, 10, 16, b"\1\0\xff\xff")


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        pytest.param([], Grayscale(), id="nothing"),
        pytest.param(WINDOWS, Grayscale(window=Window(40, 400)), id="the first of two windows"),
        pytest.param(
            [*WINDOWS, element("VOILUTFunction", "LINEAR_EXACT")],
            Grayscale(window=Window(40, 400, WindowFunction.LINEAR_EXACT)),
            id="with its function",
        ),
        pytest.param(
            [*WINDOWS, sequence("VOILUTSequence", [LUT_ITEM])],
            Grayscale(window=Window(40, 400)),
            id="a window before a VOI LUT",
        ),
        pytest.param([sequence("VOILUTSequence", [LUT_ITEM])], Grayscale(voi_lut=TABLE), id="a VOI LUT"),
        pytest.param(
            [element("WindowCenter", 40), element("WindowWidth", 0)], Grayscale(), id="a width that none has"
        ),
        pytest.param(
            [element("WindowCenter", "40"), element("WindowWidth", "4e2")],
            Grayscale(window=Window(40, 400)),
            id="numbers kept as text",
        ),
        pytest.param(
            [element("RescaleSlope", 2), element("RescaleIntercept", -1024)],
            Grayscale(slope=2, intercept=-1024),
            id="rescale",
        ),
        pytest.param([element("RescaleSlope", 0)], Grayscale(), id="a slope that none has"),
        pytest.param(
            [sequence("ModalityLUTSequence", [LUT_ITEM]), element("RescaleSlope", 2)],
            Grayscale(modality_lut=TABLE),
            id="a modality LUT before rescale",
        ),
        pytest.param([element("PresentationLUTShape", "INVERSE")], Grayscale(inverse=True), id="inverse"),
        pytest.param(
            [element("PixelPaddingValue", 7), element("PixelPaddingRangeLimit", 3)],
            Grayscale(padding=(3, 7)),
            id="a range of padding",
        ),
        pytest.param(
            [element("MaximumFractionalValue", 200)], Grayscale(value_range=(0, 200)), id="a segmentation"
        ),
        pytest.param(
            [
                element("SegmentationType", "LABELMAP"),
                sequence("SegmentSequence", [data_set(element("SegmentNumber", n)) for n in (1, 3)]),
            ],
            Grayscale(value_range=(0, 3)),
            id="a label map: its first segment is not black",
        ),
    ],
)
def test_grayscale(elements: list[dict[str, Json]], expected: Grayscale) -> None:
    assert grayscale_of(source(*elements), 1) == expected


@pytest.mark.parametrize(
    ("photometric", "shape", "inverse"),
    [
        ("MONOCHROME1", None, True),
        ("MONOCHROME2", None, False),
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
    ],
)
def test_polarity(photometric: str, shape: str | None, inverse: bool) -> None:
    elements = [element("PresentationLUTShape", shape)] if shape else []
    assert grayscale_of(source(*elements, photometric=photometric), 1).inverse is inverse


@pytest.mark.parametrize(
    ("value", "signed", "bits", "padding"),
    [
        (63536, 1, 16, -2000),
        (-2000, 1, 16, -2000),
        (2000, 0, 12, 2000),
        (0x8000, 0, 16, 0x8000),
        (63536, 1, 12, -2000),
    ],
)
def test_padding_has_the_sign_of_the_pixels(value: int, signed: int, bits: int, padding: int) -> None:
    described = source(
        element("PixelPaddingValue", value), pixel_representation=signed, bits_stored=bits, high_bit=bits - 1
    )
    assert grayscale_of(described, 1).padding == (padding, padding)


def test_bits_of_a_segmentation_show_black_and_white_whatever_is_in_the_frame() -> None:
    described = source(bits_allocated=1, bits_stored=1, high_bit=0)
    assert grayscale_of(described, 1).value_range == (0, 1)


def test_functional_groups_of_the_frame_stand_first() -> None:
    def group(center: float) -> dict[str, Json]:
        voi = data_set(element("WindowCenter", center), element("WindowWidth", 100))
        return sequence("FrameVOILUTSequence", [voi])

    transformation = data_set(element("RescaleSlope", 3), element("RescaleIntercept", 1))
    described = source(
        *WINDOWS,
        sequence(
            "SharedFunctionalGroupsSequence",
            [data_set(group(5), sequence("PixelValueTransformationSequence", [transformation]))],
        ),
        sequence("PerFrameFunctionalGroupsSequence", [group(1), data_set()]),
    )
    assert grayscale_of(described, 1) == Grayscale(slope=3, intercept=1, window=Window(1, 100))
    assert grayscale_of(described, 2).window == Window(5, 100)


@pytest.mark.parametrize(
    ("item", "table"),
    [
        pytest.param(
            data_set(element("LUTDescriptor", 0, 0, 16), binary("LUTData", b"\1\0")), (65536, 0), id="0"
        ),
        pytest.param(
            data_set(element("LUTDescriptor", 2, 65535, 16), binary("LUTData", b"\1\0")), (2, -1), id="signed"
        ),
        pytest.param(
            data_set(
                element("LUTDescriptor", 2, 0, 16),
                {"00283006": {"vr": "OW", "BulkDataURI": "bulkdata/00283006"}},
            ),
            (2, 0),
            id="in the file",
        ),
    ],
)
def test_tables(item: dict[str, Json], table: tuple[int, int]) -> None:
    described = source(sequence("VOILUTSequence", [item]), pixel_representation=1)
    found = grayscale_of(described, 1).voi_lut
    assert found is not None
    assert (found.entries, found.first) == table


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(
            data_set(element("LUTDescriptor", 2, 0), element("LUTData", 1, 2, vr="US")), id="two numbers"
        ),
        pytest.param(
            data_set(element("LUTDescriptor", 2, 0, 17), element("LUTData", 1, 2, vr="US")), id="bits"
        ),
        pytest.param(data_set(element("LUTDescriptor", 2, 0, 16)), id="no data"),
    ],
)
def test_tables_that_are_none(item: dict[str, Json]) -> None:
    with pytest.raises(PixelsUnreadable):
        grayscale_of(source(sequence("VOILUTSequence", [item])), 1)


def test_the_linear_window_of_float_pixels_is_exact() -> None:
    own = (element("WindowCenter", 0.5), element("WindowWidth", 0.8))
    floats = source(*own, bits_allocated=32, bits_stored=32, high_bit=31, is_float=True)
    assert grayscale_of(floats, 1).window == Window(0.5, 0.8, WindowFunction.LINEAR_EXACT)
    assert grayscale_of(source(*own), 1).window is None


def test_palettes() -> None:
    assert palette_of(source()) is None
    elements = []
    for number, colour in enumerate(("Red", "Green", "Blue")):
        elements.append(element(f"{colour}PaletteColorLookupTableDescriptor", 1, 0, 16))
        name = (
            f"Segmented{colour}PaletteColorLookupTableData"
            if colour == "Blue"
            else f"{colour}PaletteColorLookupTableData"
        )
        elements.append(binary(name, bytes([number, 0])))
    found = palette_of(source(*elements))
    assert found is not None
    assert [(table.data, table.is_segmented) for table in found] == [
        (b"\0\0", False),
        (b"\1\0", False),
        (b"\2\0", True),
    ]


@pytest.mark.parametrize("kind", ["Float", "DoubleFloat"])
def test_padding_of_floats(kind: str) -> None:
    said = [element(f"{kind}PixelPaddingValue", -1e30), element(f"{kind}PixelPaddingRangeLimit", -1e20)]
    found = grayscale_of(source(*said, bits_allocated=32, is_float=True), 1)
    assert found.padding == (-1e30, -1e20)
    frame = np.array([[-1e30, -5e20, 1.0, 3.0]], "f4")
    assert to_gray(frame, found).tolist() == [[0, 0, 0, 255]]


def test_a_voi_lut_begins_below_zero_where_the_values_do() -> None:
    """C.11.2.1.1: of implicit VR the first value mapped is read as the unsigned pixels are."""
    table = data_set(element("LUTDescriptor", 2, 0x10000 - 1000, 16), element("LUTData", 1, 65535, vr="US"))
    found = grayscale_of(source(element("RescaleIntercept", -1024), sequence("VOILUTSequence", [table])), 1)
    assert found.voi_lut is not None
    assert found.voi_lut.first == -1000
    found = grayscale_of(source(sequence("VOILUTSequence", [table])), 1)
    assert found.voi_lut is not None
    assert found.voi_lut.first == 0x10000 - 1000


def test_what_lies_in_the_file() -> None:
    bulk = {"vr": "OW", "BulkDataURI": "bulkdata/x"}
    dicom_json = {"00281201": bulk, "00283010": {"vr": "SQ", "Value": [{"00283006": bulk}]}, "7FE00010": bulk}
    assert bulk_uris(dicom_json, with_profile=True) == ["bulkdata/x", "bulkdata/x"]
    softcopy = {"00283110": {"vr": "SQ", "Value": [dicom_json]}}
    assert bulk_uris(softcopy, with_profile=True) == ["bulkdata/x", "bulkdata/x"]
    profile = {"00282000": bulk}
    assert bulk_uris(profile, with_profile=True) == ["bulkdata/x"]
    assert bulk_uris(profile, with_profile=False) == []


@pytest.mark.parametrize(
    ("elements", "aspect"),
    [
        pytest.param([], 1.0, id="nothing"),
        pytest.param([element("PixelAspectRatio", 4, 3)], 4 / 3, id="vertical first"),
        pytest.param([element("PixelSpacing", 0.5, 1.0)], 0.5, id="row spacing first"),
        pytest.param([element("PixelSpacing", 0, 0), element("ImagerPixelSpacing", 2, 1)], 2.0, id="zeros"),
    ],
)
def test_aspect(elements: list[dict[str, Json]], aspect: float) -> None:
    assert aspect_of(data_set(*elements), 1) == aspect


@pytest.mark.parametrize(
    ("elements", "time_ms"),
    [
        ([], 100),
        ([element("FrameTime", 40.2)], 40),
        ([element("CineRate", 25)], 40),
        ([element("FrameTime", 0.001)], 20),
        ([element("FrameTime", 1e9)], 2000),
        ([element("RecommendedDisplayFrameRate", -1)], 100),
    ],
)
def test_frame_time(elements: list[dict[str, Json]], time_ms: int) -> None:
    assert frame_time_ms(data_set(*elements)) == time_ms


def test_colour_profile() -> None:
    assert icc_profile_of(source()) is None
    assert icc_profile_of(source(binary("ICCProfile", b"own"))) == b"own"
    path = data_set(binary("ICCProfile", b"of the path"))
    assert icc_profile_of(source(sequence("OpticalPathSequence", [path]))) == b"of the path"
