"""Softcopy Presentation States: Grayscale, Color, Pseudo-Color (PS3.3 A.33, C.10, C.11; PS3.4 N). Pure.

Applied to gray: Modality LUT or rescale, Softcopy VOI LUT, Presentation LUT or its shape, or the palette. To
both: displayed area, rotation and flip, rectangular, circular and polygonal shutters, graphic and text
objects. A state that asks for anything else is refused: a picture that lacks it would say something else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin
from typing import Any

from dicomweb.render.describe import DicomJson, Source, is_inverse, lookup_table, modality_of, number, voi_of
from dicomweb.render.geometry import Shown
from dicomweb.render.media import NotRendered
from dicomweb.render.values import Drawing, Grayscale, Shutter
from dicomweb.wire.dicom_json import items_of, text_of, values_of
from dicomweb.wire.dictionary import key_of

Point = tuple[float, float]
MAX_POINTS = 20_000  # of all graphic objects
FARTHEST = 16.0  # from the picture that a line may lead, in pictures
ARC_POINTS = 72  # of a circle or an ellipse
REFUSED: Mapping[str, str] = {  # attribute: what it asks for
    "MaskSubtractionSequence": "mask subtraction",
    "CompoundGraphicSequence": "compound graphics",
    "BlendingSequence": "blending",
    "PaletteColorLookupTableUID": "a palette",
}


@dataclass(frozen=True, slots=True)
class Reference:
    """An image that a state is for; no frames: all of them."""

    series: str
    instance: str
    frames: tuple[int, ...]


def references_of(state: DicomJson) -> list[Reference]:
    """The images that a presentation state names (PS3.3 C.11.11)."""
    return [
        Reference(
            text_of(series, "SeriesInstanceUID"), text_of(image, "ReferencedSOPInstanceUID"), _frames(image)
        )
        for series in items_of(state, "ReferencedSeriesSequence")
        for image in items_of(series, "ReferencedImageSequence")
    ]


def _frames(item: DicomJson) -> tuple[int, ...]:
    return tuple(number for number in _integers(item, "ReferencedFrameNumber") if number > 0)


def _integers(dicom_json: DicomJson, keyword: str) -> list[int]:
    """The values of a numeric attribute, cut to integers; those that are no numbers are left out."""
    found = (number(dicom_json, keyword, index) for index in range(len(values_of(dicom_json, keyword))))
    return [int(value) for value in found if value is not None]


def require_supported(state: DicomJson) -> None:
    """Refuse what would be left out silently.

    Raises:
        NotRendered: the state asks for something that is not applied; the text names it.
    """
    asked = [what for keyword, what in REFUSED.items() if key_of(keyword) in state]
    if "BITMAP" in values_of(state, "ShutterShape"):
        asked.append("a bitmap shutter")
    if any(key.startswith("60") for key in state):
        asked.append("overlays")
    if asked:
        raise NotRendered(f"The presentation state asks for what is not rendered: {', '.join(asked)}.")


def sop_class_of(state: Source) -> str:
    """Which kind of state it is."""
    return text_of(state.dicom_json, "SOPClassUID")


@dataclass(frozen=True, slots=True)
class Target:
    """The frame of an image that a state is applied to."""

    instance: str
    frame: int
    columns: int
    rows: int


def _items_for(sequence: Sequence[DicomJson], target: Target) -> Iterator[DicomJson]:
    """The items that concern the target: those that name it, and those that name nothing."""
    for item in sequence:
        images = items_of(item, "ReferencedImageSequence")
        named = [image for image in images if text_of(image, "ReferencedSOPInstanceUID") == target.instance]
        if not images or any(not _frames(image) or target.frame in _frames(image) for image in named):
            yield item


def grayscale_by(state: Source, image: Source, target: Target) -> Grayscale:
    """The transformations that the state gives; those of the image itself are not used (PS3.4 N.2.1)."""
    slope, intercept, modality_lut = modality_of(state.dicom_json, image_signed(state, image))
    ends = [value * slope + intercept for value in _stored_range(image)]
    voi = next(_items_for(items_of(state.dicom_json, "SoftcopyVOILUTSequence"), target), None)
    window, voi_lut = voi_of(voi, state, is_signed=min(ends) < 0) if voi is not None else (None, None)
    presentation = items_of(state.dicom_json, "PresentationLUTSequence")
    return Grayscale(
        slope=slope,
        intercept=intercept,
        modality_lut=modality_lut,
        window=window,
        voi_lut=voi_lut,
        value_range=None if window or voi_lut or modality_lut else (min(ends), max(ends)),
        inverse=is_inverse(state.dicom_json, "MONOCHROME2"),
        presentation_lut=lookup_table(presentation[0], state) if presentation else None,
    )


def image_signed(state: Source, image: Source) -> Source:
    """The state's values, its tables' first entries read with the sign of the image's pixels (C.11.1.1)."""
    return Source(state.dicom_json, image.fmt, state.bulk)


def _stored_range(image: Source) -> tuple[int, int]:
    if image.fmt.pixel_representation:
        return -(1 << (image.fmt.bits_stored - 1)), (1 << (image.fmt.bits_stored - 1)) - 1
    return 0, (1 << image.fmt.bits_stored) - 1


def shown_by(state: DicomJson, target: Target, aspect: float) -> tuple[Shown, float]:
    """The displayed area and how it is turned (PS3.3 C.10.4, C.10.6), and the magnification that it states.

    What of the area lies outside the image is not shown.
    """
    area = next(_items_for(items_of(state, "DisplayedAreaSelectionSequence"), target), {})
    corners = [
        values_of(area, name)
        for name in ("DisplayedAreaTopLeftHandCorner", "DisplayedAreaBottomRightHandCorner")
    ]
    whole = (0, 0, target.columns, target.rows)
    region = _area(corners, target) if all(_are_pair(each) for each in corners) else whole
    for keyword in ("PresentationPixelAspectRatio", "PresentationPixelSpacing"):
        vertical, horizontal = number(area, keyword, 0), number(area, keyword, 1)
        if vertical and horizontal and 0.1 <= vertical / horizontal <= 10:
            aspect = vertical / horizontal
    rotation = int(number(state, "ImageRotation") or 0) % 360
    if rotation % 90:
        raise NotRendered("The presentation state turns by what is no multiple of 90 degrees.")
    is_flipped = text_of(state, "ImageHorizontalFlip") == "Y"
    ratio = number(area, "PresentationPixelMagnificationRatio") or 1.0
    return Shown(region, aspect, (is_flipped, False), rotation), min(max(ratio, 0.1), 10.0)


def _are_pair(values: list[Any]) -> bool:
    return len(values) == 2 and all(isinstance(value, int) for value in values)


def _area(corners: list[list[int]], target: Target) -> tuple[int, int, int, int]:
    """Corner pixels, from 1 and inclusive, in any order: a turned image has others at its top left."""
    columns, rows = sorted(corner[0] for corner in corners), sorted(corner[1] for corner in corners)
    left, right = max(columns[0] - 1, 0), min(columns[1], target.columns)
    top, bottom = max(rows[0] - 1, 0), min(rows[1], target.rows)
    if left >= right or top >= bottom:
        raise NotRendered("The displayed area of the presentation state has nothing of the image in it.")
    return left, top, right, bottom


def shutter_of(dicom_json: DicomJson) -> Shutter | None:
    """The display shutter of an image or a state (PS3.3 C.7.6.11), None: there is none."""
    shapes = values_of(dicom_json, "ShutterShape")
    edges = [
        number(dicom_json, f"Shutter{name}Edge")
        for name in ("LeftVertical", "UpperHorizontal", "RightVertical", "LowerHorizontal")
    ]
    rectangle = tuple(int(edge) - 1 for edge in edges if edge is not None)
    center = _integers(dicom_json, "CenterOfCircularShutter")
    radius = number(dicom_json, "RadiusOfCircularShutter")
    circle = (center[1] - 1, center[0] - 1, int(radius)) if len(center) == 2 and radius else None
    flat = [value - 1 for value in _integers(dicom_json, "VerticesOfThePolygonalShutter")]
    polygon = tuple(zip(flat[1::2], flat[::2], strict=False))
    shutter = Shutter(
        rectangle=rectangle if "RECTANGULAR" in shapes and len(rectangle) == 4 else None,
        circle=circle if "CIRCULAR" in shapes else None,
        polygon=polygon if "POLYGONAL" in shapes and len(polygon) > 2 else (),
        gray=int(number(dicom_json, "ShutterPresentationValue") or 0) >> 8 & 0xFF,
    )
    return shutter if shutter.rectangle or shutter.circle or shutter.polygon else None


def drawings_of(state: DicomJson, target: Target, shown: Shown) -> tuple[Drawing, ...]:
    """The graphic and text objects of the target (PS3.3 C.10.5), as fractions of the picture.

    Raises:
        NotRendered: they have more points than are drawn, or a graphic type that the standard does not know.
    """
    drawings: list[Drawing] = []
    for annotation in _items_for(items_of(state, "GraphicAnnotationSequence"), target):
        drawings += (_graphic(item, shown) for item in items_of(annotation, "GraphicObjectSequence"))
        drawings += (_text_object(item, shown) for item in items_of(annotation, "TextObjectSequence"))
    if sum(len(drawing.points) for drawing in drawings) > MAX_POINTS:
        raise NotRendered("The presentation state has more graphics than are drawn.")
    return tuple(drawing for drawing in drawings if drawing.points)


def _graphic(item: DicomJson, shown: Shown) -> Drawing:
    kind = text_of(item, "GraphicType")
    if kind not in SHAPES:
        raise NotRendered("The presentation state has a graphic type that is not drawn.")
    points = SHAPES[kind](_points(values_of(item, "GraphicData")))
    units = text_of(item, "GraphicAnnotationUnits")
    is_filled = text_of(item, "GraphicFilled") == "Y"
    return Drawing(kind, tuple(_to_picture(each, units, shown) for each in points), is_filled=is_filled)


def _text_object(item: DicomJson, shown: Shown) -> Drawing:
    """At its bounding box, else at its anchor point."""
    corner = _points(values_of(item, "BoundingBoxTopLeftHandCorner"))
    units = text_of(item, "BoundingBoxAnnotationUnits")
    if not corner:
        corner = _points(values_of(item, "AnchorPoint"))
        units = text_of(item, "AnchorPointAnnotationUnits")
    points = tuple(_to_picture(each, units, shown) for each in corner[:1])
    return Drawing("TEXT", points, text_of(item, "UnformattedTextValue")[:1024])


def _points(values: list[Any]) -> list[Point]:
    numbers = [float(value) for value in values[: 2 * MAX_POINTS + 2] if isinstance(value, int | float)]
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def _as_they_are(points: list[Point]) -> list[Point]:
    return points


def _ellipse(points: list[Point]) -> list[Point]:
    """From the ends of both axes (PS3.3 C.10.5.2.1)."""
    if len(points) != 4:
        return []
    (ax, ay), (bx, by), (cx, cy), (dx, dy) = points
    major, minor = hypot(bx - ax, by - ay) / 2, hypot(dx - cx, dy - cy) / 2
    return _arc(((ax + bx) / 2, (ay + by) / 2), major, minor, atan2(by - ay, bx - ax))


def _circle(points: list[Point]) -> list[Point]:
    """From the center and a point on it."""
    if len(points) != 2:
        return []
    radius = hypot(points[1][0] - points[0][0], points[1][1] - points[0][1])
    return _arc(points[0], radius, radius, 0.0)


def _arc(center: Point, major: float, minor: float, angle: float) -> list[Point]:
    turns = [2 * pi * step / ARC_POINTS for step in range(ARC_POINTS + 1)]
    along = [(major * cos(turn), minor * sin(turn)) for turn in turns]
    return [
        (center[0] + x * cos(angle) - y * sin(angle), center[1] + x * sin(angle) + y * cos(angle))
        for x, y in along
    ]


SHAPES: Mapping[str, Callable[[list[Point]], list[Point]]] = {  # Graphic Type (0070,0023)
    "POINT": _as_they_are,
    "POLYLINE": _as_they_are,
    "INTERPOLATED": _as_they_are,  # the interpolation is the implementation's (C.10.5.2.1): straight here
    "CIRCLE": _circle,
    "ELLIPSE": _ellipse,
}


def _to_picture(point: Point, units: str, shown: Shown) -> Point:
    """Fractions of the picture: DISPLAY is so already, PIXEL counts from the image's top left corner."""
    if units == "DISPLAY":
        return _near(point)
    left, top, right, bottom = shown.region
    u, v = (point[0] - left) / (right - left), (point[1] - top) / (bottom - top)
    u, v = {90: (1 - v, u), 180: (1 - u, 1 - v), 270: (v, 1 - u)}.get(shown.rotation, (u, v))
    return _near((1 - u if shown.flips[0] else u, v))


def _near(point: Point) -> Point:
    """The point, or one as far away as matters: a line to the end of the world is drawn pixel by pixel."""
    x, y = (min(max(each, -FARTHEST), FARTHEST) for each in point)
    return x, y
