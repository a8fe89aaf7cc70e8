"""Pictures of slices with what was found drawn in: for captures and for the report. Pixels only, no DICOM.

Each says on itself what made it and what it may be used for; nothing on it tells whose it is.
"""

from collections.abc import Iterator, Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from pydicom import Dataset

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.wording import finding_words
from ai_engine.findings import Finding, Findings, Location, Point

LONGEST_SIDE = 768  # pixels of the drawn slice; larger images are made smaller, smaller ones larger
MOST_STRETCHED = 8.0  # ratio of pixel spacings that is believed
BANNER = 22  # pixels above and below
FONT_SIZE = 14
UNSEGMENTED_RGB = (255, 210, 60)
SOFT_TISSUE = (40.0, 400.0)  # center and width where a CT states no window
PERCENTILES = (1.0, 99.0)  # of other images without one
CROSS = 6  # pixels from a point to the end of its cross

Rgb = tuple[int, int, int]


def picture(analysed: Analysed, at: int) -> Image.Image:
    """The slice, RGB, with contours, lines, boxes and names of what was found on it, between two banners."""
    findings, source = analysed.findings, analysed.source
    assert source.voxels is not None
    image = source.slices[at]
    plane = source.voxels[at, : int(image.Rows), : int(image.Columns)]
    gray = levels_of(plane.astype(np.float32)) if source.is_presented else gray_levels(plane, image)
    width, height = drawn_size(image)
    drawn = Image.fromarray(gray).resize((width, height)).convert("RGB")
    shown = [each for each in findings.findings if at in analysed.slices_of(each)]
    if findings.labels is not None:
        _draw_contours(drawn, findings, findings.labels[at])
    pen = ImageDraw.Draw(drawn)
    scale = (width / plane.shape[1], height / plane.shape[0])
    for line, finding in enumerate(shown):
        _draw_finding(pen, finding, _colour(finding, findings), scale, line)
    return _between_banners(drawn, findings, analysed.slice_names[at])


def drawn_size(image: Dataset) -> tuple[int, int]:
    """Columns and rows of the picture, of square pixels, from those of the slice and their spacing."""
    spacing = image.get("PixelSpacing") or image.get("ImagerPixelSpacing") or (1.0, 1.0)
    ratio = float(spacing[0]) / float(spacing[1])
    stretch = ratio if 1 / MOST_STRETCHED <= ratio <= MOST_STRETCHED else 1.0
    columns, rows = float(image.Columns), float(image.Rows) * stretch
    scale = LONGEST_SIDE / max(columns, rows)
    return max(1, round(columns * scale)), max(1, round(rows * scale))


def gray_levels(plane: NDArray[np.generic], image: Dataset) -> NDArray[np.uint8]:
    """The slice in the first window that it states, 0 to 255 (PS3.3 C.11.2.1.2)."""
    values = plane.astype(np.float32)
    low, high = _window(values, image)
    shown = np.clip((values - low) / max(high - low, 1e-6), 0.0, 1.0)
    return levels_of(1.0 - shown if image.get("PhotometricInterpretation") == "MONOCHROME1" else shown)


def levels_of(shown: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grays of 0 to 1 as 0 to 255."""
    return np.asarray(np.clip(shown, 0.0, 1.0) * 255.0, dtype=np.uint8)


def _window(values: NDArray[np.float32], image: Dataset) -> tuple[float, float]:
    center, width = (_first(image, keyword) for keyword in ("WindowCenter", "WindowWidth"))
    if center is None or width is None or width <= 0:
        if image.get("Modality") != "CT":
            low, high = np.percentile(values, PERCENTILES)
            return float(low), float(high)
        center, width = SOFT_TISSUE
    return center - width / 2, center + width / 2


def _first(image: Dataset, keyword: str) -> float | None:
    """The first value of a window attribute; None: it has none that is a number."""
    value = image.get(keyword)
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        number = float(values[0])
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def _draw_contours(drawn: Image.Image, findings: Findings, labels: NDArray[np.uint8]) -> None:
    """The outline of each segment, inside its edge."""
    pixels = np.array(drawn)
    large = np.array(Image.fromarray(labels).resize(drawn.size, Image.Resampling.NEAREST))
    for segment in findings.segments:
        mask = large == segment.number
        if mask.any():
            pixels[mask & ~_eroded(mask)] = segment.recommended_rgb
    drawn.paste(Image.fromarray(pixels))


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without those of its pixels that have a neighbour outside of it, or the border beside."""
    padded = np.pad(mask, 1)
    return np.asarray(
        padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:], dtype=np.bool_
    )


def _draw_finding(
    pen: ImageDraw.ImageDraw, finding: Finding, colour: Rgb, scale: tuple[float, float], line: int
) -> None:
    place = (4.0, 4.0 + line * (FONT_SIZE + 4))
    if finding.location is not None:
        _draw_location(pen, finding.location, colour, scale)
        column, row = _placed(finding.location.centre.index, scale)
        place = (column + 2 * CROSS, row + CROSS)
    pen.text(place, finding_words(finding), fill=colour, font=_font(), stroke_width=1, stroke_fill=(0, 0, 0))


def _draw_location(
    pen: ImageDraw.ImageDraw, location: Location, colour: Rgb, scale: tuple[float, float]
) -> None:
    if location.box is not None:
        pen.rectangle(_edges(location.box, scale), outline=colour)
    if location.long_axis is not None:
        pen.line(
            [coordinate for end in location.long_axis for coordinate in _placed(end.index, scale)], colour
        )
    elif location.box is None:
        pen.line(list(_cross(_placed(location.centre.index, scale), horizontal=True)), colour)
        pen.line(list(_cross(_placed(location.centre.index, scale), horizontal=False)), colour)


def _edges(box: tuple[Point, Point], scale: tuple[float, float]) -> list[float]:
    """The outermost columns and rows that show pixels of a box; those at its corners belong to it."""
    (_, top, left), (_, bottom, right) = (corner.index for corner in box)
    x, y = left * scale[0], top * scale[1]
    return [x, y, max(x, (right + 1) * scale[0] - 1), max(y, (bottom + 1) * scale[1] - 1)]


def _placed(index: tuple[float, float, float], scale: tuple[float, float]) -> tuple[float, float]:
    """Column and row on the picture; an index counts pixel centres."""
    _, row, column = index
    return (column + 0.5) * scale[0], (row + 0.5) * scale[1]


def _cross(centre: tuple[float, float], *, horizontal: bool) -> Iterator[float]:
    for sign in (-1, 1):
        yield centre[0] + (sign * CROSS if horizontal else 0)
        yield centre[1] + (0 if horizontal else sign * CROSS)


def _colour(finding: Finding, findings: Findings) -> Rgb:
    for segment in findings.segments:
        if segment.number == finding.segment_number:
            return segment.recommended_rgb
    return UNSEGMENTED_RGB


def _between_banners(drawn: Image.Image, findings: Findings, name: str) -> Image.Image:
    model = findings.model
    framed = Image.new("RGB", (drawn.width, drawn.height + 2 * BANNER))
    framed.paste(drawn, (0, BANNER))
    pen = ImageDraw.Draw(framed)
    pen.text((4, 3), f"{model.title} {model.version}, image {name}", fill=(255, 255, 255), font=_font())
    below = BANNER + drawn.height + 3
    pen.text((4, below), model.intended_use[:200], fill=(255, 120, 120), font=_font())
    return framed


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(FONT_SIZE)
