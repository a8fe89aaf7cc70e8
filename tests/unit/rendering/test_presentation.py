"""Grayscale softcopy presentation states (PS3.3 A.33.1, C.10.4 to C.10.6, C.11, C.7.6.11; PS3.4 N.2)."""

from typing import Any

import numpy as np
import pytest

from dicomweb.pixels.format import PixelFormat
from dicomweb.render.describe import Source
from dicomweb.render.geometry import Shown
from dicomweb.render.media import NotRendered
from dicomweb.render.picture import compose, shut
from dicomweb.render.presentation import (
    FARTHEST,
    Reference,
    Target,
    drawings_of,
    grayscale_by,
    references_of,
    require_supported,
    shown_by,
    shutter_of,
)
from dicomweb.render.values import Drawing, Grayscale, LookupTable, Placement, Recipe, Shutter, Window
from dicomweb.wire.dicom_json import data_set, element, sequence

Json = Any
TARGET = Target("1.1", 2, columns=100, rows=50)
WHOLE = Shown((0, 0, 100, 50))


def image(uid: str, *frames: int) -> dict[str, Json]:
    return data_set(
        element("ReferencedSOPInstanceUID", uid),
        *([element("ReferencedFrameNumber", *frames)] if frames else []),
    )


def of(*images: dict[str, Json]) -> dict[str, Json]:
    return sequence("ReferencedImageSequence", images)


def source(dicom_json: dict[str, Json], signed: int = 0) -> Source:
    fmt = PixelFormat(50, 100, 1, 16, 12, 11, signed, "MONOCHROME2")
    return Source(dicom_json, fmt, {}.__getitem__)


def by(*elements: dict[str, Json], signed: int = 0) -> Grayscale:
    stored = data_set(element("WindowCenter", 1), element("WindowWidth", 1), element("RescaleSlope", 9))
    return grayscale_by(source(data_set(*elements)), source(stored, signed), TARGET)


def test_references() -> None:
    series = data_set(element("SeriesInstanceUID", "1"), of(image("1.1"), image("1.2", 3, 4)))
    state = data_set(sequence("ReferencedSeriesSequence", [series]))
    assert references_of(state) == [Reference("1", "1.1", ()), Reference("1", "1.2", (3, 4))]


def test_what_the_image_itself_says_does_not_count() -> None:
    assert by() == Grayscale(value_range=(0, 4095))
    assert by(signed=1) == Grayscale(value_range=(-2048, 2047))
    assert by(element("RescaleSlope", 2), element("RescaleIntercept", -10)).value_range == (-10, 8180)


def voi(center: float, *references: dict[str, Json]) -> dict[str, Json]:
    return data_set(element("WindowCenter", center), element("WindowWidth", 100), *references)


@pytest.mark.parametrize(
    ("items", "center"),
    [
        pytest.param([voi(1)], 1, id="for all images"),
        pytest.param([voi(1, of(image("1.9"))), voi(2, of(image("1.1")))], 2, id="for this one"),
        pytest.param([voi(1, of(image("1.1", 1))), voi(2, of(image("1.1", 2)))], 2, id="for this frame"),
        pytest.param([voi(1, of(image("1.9")))], None, id="for another one"),
    ],
)
def test_softcopy_voi(items: list[dict[str, Json]], center: float | None) -> None:
    assert by(sequence("SoftcopyVOILUTSequence", items)).window == (center and Window(center, 100))


def test_polarity_and_presentation_lut() -> None:
    assert by(element("PresentationLUTShape", "INVERSE")).inverse
    table = data_set(element("LUTDescriptor", 2, 0, 8), element("LUTData", 255, 0, vr="US"))
    assert by(sequence("PresentationLUTSequence", [table])).presentation_lut == LookupTable(
        2, 0, 8, b"\xff\0\0\0"
    )


@pytest.mark.parametrize(
    ("elements", "named"),
    [
        pytest.param([sequence("MaskSubtractionSequence", [])], "mask subtraction", id="mask"),
        pytest.param([element("ShutterShape", "RECTANGULAR", "BITMAP")], "bitmap shutter", id="bitmap"),
        pytest.param([{"60001001": {"vr": "CS", "Value": ["x"]}}], "overlays", id="overlay"),
        pytest.param([sequence("CompoundGraphicSequence", [])], "compound graphics", id="compound"),
    ],
)
def test_what_would_be_left_out_is_refused(elements: list[dict[str, Json]], named: str) -> None:
    require_supported(data_set())
    with pytest.raises(NotRendered, match=named):
        require_supported(data_set(*elements))


def area(left: int, top: int, right: int, bottom: int, *more: dict[str, Json]) -> dict[str, Json]:
    item = data_set(
        element("DisplayedAreaTopLeftHandCorner", left, top),
        element("DisplayedAreaBottomRightHandCorner", right, bottom),
        *more,
    )
    return sequence("DisplayedAreaSelectionSequence", [item])


@pytest.mark.parametrize(
    ("elements", "shown", "magnification"),
    [
        pytest.param([], WHOLE, 1.0, id="the whole"),
        pytest.param([area(1, 1, 100, 50)], WHOLE, 1.0, id="the whole, stated"),
        pytest.param(
            [area(11, 6, 20, 10)], Shown((10, 5, 20, 10)), 1.0, id="corners are pixels from 1, inclusive"
        ),
        pytest.param([area(20, 10, 11, 6)], Shown((10, 5, 20, 10)), 1.0, id="corners of a turned image"),
        pytest.param([area(-9, -9, 200, 200)], WHOLE, 1.0, id="beyond the image"),
        pytest.param(
            [element("ImageRotation", 270), element("ImageHorizontalFlip", "Y")],
            Shown((0, 0, 100, 50), 1.0, (True, False), 270),
            1.0,
            id="turned and flipped",
        ),
        pytest.param(
            [area(1, 1, 100, 50, element("PresentationPixelAspectRatio", 2, 1))],
            Shown((0, 0, 100, 50), 2.0),
            1.0,
            id="aspect",
        ),
        pytest.param(
            [area(1, 1, 100, 50, element("PresentationPixelMagnificationRatio", 2.0))],
            WHOLE,
            2.0,
            id="magnified",
        ),
    ],
)
def test_displayed_area(elements: list[dict[str, Json]], shown: Shown, magnification: float) -> None:
    assert shown_by(data_set(*elements), TARGET, 1.0) == (shown, magnification)


@pytest.mark.parametrize("state", [data_set(area(101, 1, 200, 50)), data_set(element("ImageRotation", 45))])
def test_areas_that_cannot_be_shown(state: dict[str, Json]) -> None:
    with pytest.raises(NotRendered):
        shown_by(state, TARGET, 1.0)


@pytest.mark.parametrize(
    ("elements", "shutter"),
    [
        ([], None),
        ([element("ShutterShape", "RECTANGULAR"), element("ShutterLeftVerticalEdge", "left")], None),
        ([element("ShutterShape", "CIRCULAR"), element("CenterOfCircularShutter", 3, "x")], None),
        (
            [
                element("ShutterShape", "RECTANGULAR"),
                element("ShutterLeftVerticalEdge", 2),
                element("ShutterRightVerticalEdge", 3),
                element("ShutterUpperHorizontalEdge", 1),
                element("ShutterLowerHorizontalEdge", 2),
                element("ShutterPresentationValue", 0x8000),
            ],
            Shutter(rectangle=(1, 0, 2, 1), gray=128),
        ),
        (
            [
                element("ShutterShape", "CIRCULAR"),
                element("CenterOfCircularShutter", 3, 2),
                element("RadiusOfCircularShutter", 1),
            ],
            Shutter(circle=(1, 2, 1)),
        ),
        (
            [
                element("ShutterShape", "POLYGONAL"),
                element("VerticesOfThePolygonalShutter", 1, 1, 1, 4, 4, 1),
            ],
            Shutter(polygon=((0, 0), (3, 0), (0, 3))),
        ),
    ],
)
def test_shutters(elements: list[dict[str, Json]], shutter: Shutter | None) -> None:
    assert shutter_of(data_set(*elements)) == shutter


@pytest.mark.parametrize(
    ("shutter", "left"),
    [
        (Shutter(rectangle=(1, 0, 2, 1)), ["0110", "0110", "0000", "0000"]),
        (Shutter(circle=(1, 2, 1)), ["0000", "0100", "1110", "0100"]),
        (Shutter(polygon=((0, 0), (3, 0), (0, 3))), ["1111", "1110", "1100", "1000"]),
        (Shutter(rectangle=(0, 0, 3, 1), circle=(1, 2, 1)), ["0000", "0100", "0000", "0000"]),
    ],
)
def test_shut(shutter: Shutter, left: list[str]) -> None:
    covered = shut(np.ones((4, 4), np.uint8), shutter)
    assert ["".join(map(str, row)) for row in covered.tolist()] == left


def graphic(kind: str, *points: float, units: str = "PIXEL") -> dict[str, Json]:
    item = data_set(
        element("GraphicType", kind),
        element("GraphicData", *points),
        element("GraphicAnnotationUnits", units),
    )
    return sequence("GraphicAnnotationSequence", [data_set(sequence("GraphicObjectSequence", [item]))])


@pytest.mark.parametrize(
    ("shown", "units", "place"),
    [
        pytest.param(WHOLE, "PIXEL", (0.25, 0.2), id="pixels"),
        pytest.param(Shown((0, 0, 50, 50)), "PIXEL", (0.5, 0.2), id="pixels of a region"),
        pytest.param(Shown((0, 0, 100, 50), rotation=90), "PIXEL", (0.8, 0.25), id="turned clockwise"),
        pytest.param(Shown((0, 0, 100, 50), rotation=180), "PIXEL", (0.75, 0.8), id="by a half"),
        pytest.param(Shown((0, 0, 100, 50), rotation=270), "PIXEL", (0.2, 0.75), id="by 270 degrees"),
        pytest.param(Shown((0, 0, 100, 50), 1.0, (True, False), 90), "PIXEL", (0.2, 0.25), id="then flipped"),
        pytest.param(
            Shown((0, 0, 100, 50), rotation=90), "DISPLAY", (0.25, 0.2), id="of the display already"
        ),
    ],
)
def test_where_graphics_stand(shown: Shown, units: str, place: tuple[float, float]) -> None:
    points = (25, 10) if units == "PIXEL" else (0.25, 0.2)
    (drawing,) = drawings_of(data_set(graphic("POINT", *points, units=units)), TARGET, shown)
    assert drawing.points[0] == pytest.approx(place)


@pytest.mark.parametrize("units", ["PIXEL", "DISPLAY"])
def test_lines_to_the_end_of_the_world_are_drawn_as_far_as_matters(units: str) -> None:
    (drawing,) = drawings_of(data_set(graphic("POLYLINE", 0.0, 0.0, 1e38, -1e38, units=units)), TARGET, WHOLE)
    assert drawing.points == ((0.0, 0.0), (FARTHEST, -FARTHEST))


def test_circles_and_ellipses_become_lines() -> None:
    (circle,) = drawings_of(data_set(graphic("CIRCLE", 50, 25, 60, 25)), TARGET, WHOLE)
    xs, ys = zip(*circle.points, strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == pytest.approx((0.4, 0.6, 0.3, 0.7))
    ellipse = graphic("ELLIPSE", 50, 5, 50, 45, 40, 25, 60, 25)  # its long axis is vertical
    xs, ys = zip(*drawings_of(data_set(ellipse), TARGET, WHOLE)[0].points, strict=True)
    assert (min(xs), max(xs), min(ys), max(ys)) == pytest.approx((0.4, 0.6, 0.1, 0.9))


def test_text_objects() -> None:
    text = data_set(
        element("UnformattedTextValue", "nodule"),
        element("AnchorPoint", 10.0, 5.0),
        element("AnchorPointAnnotationUnits", "PIXEL"),
    )
    state = data_set(
        sequence("GraphicAnnotationSequence", [data_set(sequence("TextObjectSequence", [text]))])
    )
    assert drawings_of(state, TARGET, WHOLE) == (Drawing("TEXT", ((0.1, 0.1),), "nodule"),)


def test_graphics_that_are_not_drawn() -> None:
    with pytest.raises(NotRendered):
        drawings_of(data_set(graphic("SPLINE", 1, 2)), TARGET, WHOLE)
    too_many = [float(number) for number in range(50_000)]
    with pytest.raises(NotRendered):
        drawings_of(data_set(graphic("POLYLINE", *too_many)), TARGET, WHOLE)


@pytest.mark.parametrize(
    "drawing",
    [
        Drawing("POLYLINE", ((0.0, 0.5), (1.0, 0.5))),
        Drawing("POINT", ((0.5, 0.5),)),
        Drawing("POLYLINE", ((0.4, 0.4), (0.6, 0.4), (0.6, 0.6), (0.4, 0.6)), is_filled=True),
        Drawing("TEXT", ((0.3, 0.3),), "WWWWWWWW\nWWWWWWWW"),
    ],
)
@pytest.mark.parametrize("shape", [(100, 100), (100, 100, 3)])
def test_drawings_are_drawn_in_white(drawing: Drawing, shape: tuple[int, ...]) -> None:
    recipe = Recipe(8, Grayscale(), Placement((0, 0, 100, 100), 100, 100), drawings=(drawing,))
    picture = np.asarray(compose(np.zeros(shape, np.uint8), recipe))
    assert picture[30:70, 30:70].max() > 200
    assert picture[0, 0].max() == 0
