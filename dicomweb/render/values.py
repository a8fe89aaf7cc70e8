"""What a rendering is made of, as values that cross to the child process; no numpy here (PS3.3 C.11)."""

from dataclasses import dataclass
from enum import Enum


class WindowFunction(Enum):
    """VOI LUT Function (0028,1056), PS3.3 C.11.2.1.2; values as the `window` parameter spells them."""

    LINEAR = "linear"
    LINEAR_EXACT = "linear-exact"
    SIGMOID = "sigmoid"


@dataclass(frozen=True, slots=True)
class Window:
    """Window Center and Width with the function that they mean, in output units of the Modality LUT."""

    center: float
    width: float
    function: WindowFunction = WindowFunction.LINEAR


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A LUT Descriptor and its LUT Data (PS3.3 C.11.1.1, C.7.6.3.1.5, C.7.9.2); `data` is little endian."""

    entries: int
    first: int  # the first value mapped; signed as the pixels are
    bits: int  # of an entry
    data: bytes
    is_segmented: bool = False


@dataclass(frozen=True, slots=True)
class Grayscale:
    """From stored values to presentation values (PS3.4 N.2.1)."""

    slope: float = 1.0
    intercept: float = 0.0
    modality_lut: LookupTable | None = None
    window: Window | None = None
    voi_lut: LookupTable | None = None
    value_range: tuple[float, float] | None = None  # without a VOI; None: that of the frame
    inverse: bool = False  # the smallest value is white
    presentation_lut: LookupTable | None = None
    padding: tuple[float, float] | None = None  # stored values that are no pixels, bounds inclusive


@dataclass(frozen=True, slots=True)
class Placement:
    """The region of the frame that is shown, and how large (PS3.18 §8.3.5.1.3).

    `region`: left, top, right, bottom in pixels of the frame from 0, right and bottom exclusive.
    """

    region: tuple[int, int, int, int]
    width: int
    height: int
    flip_horizontally: bool = False
    flip_vertically: bool = False
    rotation: int = 0  # clockwise by 0, 90, 180 or 270 degrees, before the flip


@dataclass(frozen=True, slots=True)
class Shutter:
    """What is covered, in pixels of the frame from 0 (PS3.3 C.7.6.11); what lies outside of any shape."""

    rectangle: tuple[int, int, int, int] | None = None  # left, top, right, bottom, inclusive
    circle: tuple[int, int, int] | None = None  # center column, center row, radius
    polygon: tuple[tuple[int, int], ...] = ()  # (column, row)
    gray: int = 0  # 0 to 255


@dataclass(frozen=True, slots=True)
class Drawing:
    """A graphic or text object in fractions of what is shown (PS3.3 C.10.5).

    `points`: (x, y), 0 at the left and top, 1 at the right and bottom of the picture.
    """

    kind: str  # Graphic Type, or "TEXT"
    points: tuple[tuple[float, float], ...]
    text: str = ""
    is_filled: bool = False


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that turns one decoded frame into pixels of a picture."""

    bits_stored: int
    grayscale: Grayscale
    placement: Placement
    shutter: Shutter | None = None
    drawings: tuple[Drawing, ...] = ()
    top_lines: tuple[str, ...] = ()  # burned in at the top left
    bottom_lines: tuple[str, ...] = ()  # and at the bottom left


Palette = tuple[LookupTable, LookupTable, LookupTable]  # red, green, blue


@dataclass(frozen=True, slots=True)
class Order:
    """What the child is to make of the coded frames in the body; the recipes are told once each."""

    transfer_syntax: str
    lengths: tuple[int, ...]  # of the frames in the body
    recipes: tuple[Recipe, ...]
    uses: tuple[int, ...]  # which recipe is whose, in the order of the frames
    coding: "Coding"
    palette: Palette | None = None


@dataclass(frozen=True, slots=True)
class Coding:
    """How the picture is coded (PS3.18 §8.3.5.1.2, .5; §8.7.4)."""

    media_type: str
    quality: int
    icc_profile: bytes | None = None  # of the pixels; None: theirs is not known
    wants_profile: bool = False  # embed one
    wants_srgb: bool = False  # convert to sRGB first
    frame_time_ms: int = 100  # of an animation
