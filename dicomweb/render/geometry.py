"""Where the pixels of a picture come from (PS3.18 §8.3.5.1.3, PS3.3 C.7.6.3.1.7). Pure."""

from dataclasses import dataclass
from math import ceil, floor

from dicomweb.render.parameters import MAX_SIDE, InvalidRendering, Viewport
from dicomweb.render.values import Placement

SQUARE_WITHIN = 0.01  # a pixel aspect ratio so near to 1 is drawn as 1: no row is worth resampling for it
MAX_ASPECT = 10.0  # more is a mistake in the header


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a frame, and how tall one of its pixels is in terms of its width."""

    columns: int
    rows: int
    aspect: float = 1.0

    @property
    def usable_aspect(self) -> float:
        """1 for what is nearly square, and for what cannot be meant."""
        if not 1 / MAX_ASPECT <= self.aspect <= MAX_ASPECT or abs(self.aspect - 1) <= SQUARE_WITHIN:
            return 1.0
        return self.aspect


def place(frame: Frame, viewport: Viewport | None) -> Placement:
    """The region of the frame that the viewport shows, as large as fits in it and not distorted.

    Raises:
        InvalidRendering: the region has nothing of the frame in it.
    """
    flips = (
        viewport is not None and (viewport.region_width or 0) < 0,
        viewport is not None and (viewport.region_height or 0) < 0,
    )
    shown = Shown(_region(frame, viewport), frame.usable_aspect, flips)
    return fit(shown, viewport.box if viewport else None)


@dataclass(frozen=True, slots=True)
class Shown:
    """A region of a frame and how it is turned: by `rotation` degrees clockwise, then flipped."""

    region: tuple[int, int, int, int]
    aspect: float = 1.0
    flips: tuple[bool, bool] = (False, False)  # horizontally, vertically
    rotation: int = 0


def fit(shown: Shown, box: tuple[int, int] | None, magnification: float = 1.0) -> Placement:
    """As large as `box` allows, not distorted.

    Without a box a pixel of the frame is a pixel of the picture, or `magnification` of them; where they are
    not square their shorter side is stretched, so nothing is lost.
    """
    left, top, right, bottom = shown.region
    width = (right - left) * max(1 / shown.aspect, 1.0)
    height = (bottom - top) * max(shown.aspect, 1.0)
    if shown.rotation in (90, 270):
        width, height = height, width
    if box is None:
        scale = min(magnification, MAX_SIDE / width, MAX_SIDE / height)
    else:
        scale = min(box[0] / width, box[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return Placement(shown.region, *size, *shown.flips, shown.rotation)


def _region(frame: Frame, viewport: Viewport | None) -> tuple[int, int, int, int]:
    """Whole pixels that cover the region, cut at the edges of the frame."""
    if viewport is None:
        return 0, 0, frame.columns, frame.rows
    x, y = (frame.columns, frame.rows) if viewport.is_relative else (1, 1)
    width, height = viewport.region_width, viewport.region_height
    left, right = _span(viewport.left * x, width and width * x, frame.columns)
    top, bottom = _span(viewport.top * y, height and height * y, frame.rows)
    return left, top, right, bottom


def _span(start: float, length: float | None, available: int) -> tuple[int, int]:
    if start >= available:
        raise InvalidRendering("The region of the parameter viewport lies outside the image.")
    stop = available if length is None else min(start + abs(length), available)
    first = floor(start)
    return first, max(ceil(stop), first + 1)
