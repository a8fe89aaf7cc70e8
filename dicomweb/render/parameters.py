"""Query parameters of rendered resources (PS3.18 §8.3.5). Pure.

Parameters that the section does not know are ignored (PS3.18 §8.3.2); a value that it does not allow is 400.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from dicomweb.render.values import Window, WindowFunction
from server.kernel.faults import Fault

MAX_SIDE = 8192  # pixels of a picture in one direction; more is no picture for a screen
DEFAULT_QUALITY = 90  # of JPEG: no artefact shows at the window that was asked for
_DECIMAL = re.compile(r"[+-]?(?:[0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})(?:[eE][+-]?[0-9]{1,3})?")
_INTEGER = re.compile(r"[0-9]{1,9}")


class InvalidRendering(Fault):
    """A query parameter that does not say how to render (PS3.18 §8.3.5); the message names it."""


class IccProfile(Enum):
    """Values of `iccprofile` (PS3.18 §8.3.5.1.5) that are answered; the others need profiles not at hand."""

    NO = "no"
    YES = "yes"
    SRGB = "srgb"


ANNOTATIONS = frozenset({"patient", "technique"})  # keywords of PS3.18 §8.3.5.1.1


@dataclass(frozen=True, slots=True)
class Viewport:
    """The size asked for and the region of the source, in pixels; None: to the image's edge (§8.3.5.1.3)."""

    width: int | None  # None: as the other one allows, or as large as it is
    height: int | None
    left: float = 0.0
    top: float = 0.0
    region_width: float | None = None  # negative: flipped horizontally
    region_height: float | None = None  # negative: flipped vertically
    is_relative: bool = False  # the region is told in fractions of the image (PS3.18 9.4.1.1.5, `region`)

    @property
    def box(self) -> tuple[int, int] | None:
        """Width and height that the picture must fit in; None: it may be as large as it is."""
        if self.width is None and self.height is None:
            return None
        return self.width or MAX_SIDE, self.height or MAX_SIDE

    @property
    def names_region(self) -> bool:
        """Whether the source region is anything but the whole image."""
        is_whole = self.region_width is None and self.region_height is None
        return bool(self.left or self.top) or not is_whole


@dataclass(frozen=True, slots=True)
class RenderParameters:
    """How the client wants it."""

    window: Window | None = None
    viewport: Viewport | None = None
    quality: int = DEFAULT_QUALITY
    annotation: frozenset[str] = frozenset()
    icc_profile: IccProfile = IccProfile.NO
    presentation_state: tuple[str, str] | None = None  # Series and SOP Instance UID, of the same study

    @property
    def text(self) -> str:
        """All of it, for keys of caches and entity tags."""
        return repr((self.window, self.viewport, self.quality, sorted(self.annotation), self.icc_profile))


def parse_parameters(items: Iterable[tuple[str, str]]) -> RenderParameters:
    """The parameters of a request.

    Raises:
        InvalidRendering: one is malformed, or given twice.
    """
    given: dict[str, str] = {}
    for name, value in items:
        if name in given and name in KNOWN:
            raise InvalidRendering(f"The parameter {name} is given twice.")
        given[name] = value
    read: dict[str, Any] = {
        member: parse(given[name]) for name, (member, parse) in _PARSERS.items() if name in given
    }
    if presentation := parse_presentation_state(given):
        read["presentation_state"] = presentation
    return RenderParameters(**read)


def parse_thumbnail_parameters(items: Iterable[tuple[str, str]]) -> RenderParameters:
    """Of a thumbnail only the size is told (PS3.18 §8.3.5.2); how it looks is the server's.

    Raises:
        InvalidRendering: the viewport is malformed, or names a region: a thumbnail shows the whole.
    """
    viewport = parse_parameters(item for item in items if item[0] == "viewport").viewport
    if viewport is not None and viewport.names_region:
        raise InvalidRendering("The viewport of a thumbnail must be vw,vh.")
    return RenderParameters(viewport=viewport)


def parse_decimal(text: str, name: str) -> float:
    """A finite decimal number.

    Raises:
        InvalidRendering: it is none.
    """
    if not _DECIMAL.fullmatch(text.strip()) or not math.isfinite(float(text)):
        raise InvalidRendering(f"The parameter {name} holds something that is not a number.")
    return float(text)


def parse_window(text: str) -> Window:
    """`center,width,function`, all three (PS3.18 §8.3.5.1.4; bounds of the width: PS3.3 C.11.2.1.2)."""
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3:
        raise InvalidRendering("The parameter window must be center,width,function.")
    center, width = parse_decimal(parts[0], "window"), parse_decimal(parts[1], "window")
    try:
        function = WindowFunction(parts[2].lower().replace("_", "-"))
    except ValueError as error:
        names = ", ".join(each.value for each in WindowFunction)
        raise InvalidRendering(f"The function of the parameter window must be one of {names}.") from error
    if width <= 0 or (function is WindowFunction.LINEAR and width < 1):
        raise InvalidRendering("The width of the parameter window is too small.")
    return Window(center, width, function)


def parse_integer(text: str, name: str, largest: int) -> int:
    """An integer from 1 to `largest`.

    Raises:
        InvalidRendering: it is none.
    """
    number = int(text) if _INTEGER.fullmatch(text) else 0
    if not 1 <= number <= largest:
        raise InvalidRendering(f"The parameter {name} takes integers from 1 to {largest}.")
    return number


def _length(text: str) -> float | None:
    if not text:
        return None
    length = parse_decimal(text, "viewport")
    if length == 0:
        raise InvalidRendering("The region of the parameter viewport is empty.")
    return length


def parse_viewport(text: str) -> Viewport:
    """`vw,vh` or `vw,vh,sx,sy,sw,sh`, of which the last four may be left empty (PS3.18 §8.3.5.1.3)."""
    parts = [part.strip() for part in text.split(",")]
    if not 2 <= len(parts) <= 6:
        raise InvalidRendering("The parameter viewport must be vw,vh or vw,vh,sx,sy,sw,sh.")
    parts += [""] * (6 - len(parts))
    left, top = (abs(parse_decimal(part or "0", "viewport")) for part in parts[2:4])
    width, height = (parse_integer(part, "viewport", MAX_SIDE) for part in parts[:2])
    return Viewport(width, height, left, top, _length(parts[4]), _length(parts[5]))


def _quality(text: str) -> int:
    return parse_integer(text, "quality", 100)


def parse_annotation(text: str) -> frozenset[str]:
    """`patient`, `technique` or both; other keywords are not supported (PS3.18 §8.3.5.1.1)."""
    keywords = frozenset(part.strip().lower() for part in text.split(","))
    if not keywords <= ANNOTATIONS:
        raise InvalidRendering(f"The parameter annotation takes {', '.join(sorted(ANNOTATIONS))}.")
    return keywords


def _icc_profile(text: str) -> IccProfile:
    try:
        return IccProfile(text.strip().lower())
    except ValueError as error:
        names = ", ".join(each.value for each in IccProfile)
        raise InvalidRendering(f"The parameter iccprofile must be one of {names}.") from error


def parse_presentation_state(given: Mapping[str, str]) -> tuple[str, str] | None:
    """`presentationSeriesUID` with `presentationUID`, as the URI service names them (PS3.18 9.1.2.3)."""
    series, instance = given.get("presentationSeriesUID"), given.get("presentationUID")
    if series is None and instance is None:
        return None
    if not series or not instance:
        raise InvalidRendering("presentationSeriesUID and presentationUID need each other.")
    return series, instance


_Parser = Callable[[str], Any]
_PARSERS: Mapping[str, tuple[str, _Parser]] = {
    "window": ("window", parse_window),
    "viewport": ("viewport", parse_viewport),
    "quality": ("quality", _quality),
    "annotation": ("annotation", parse_annotation),
    "iccprofile": ("icc_profile", _icc_profile),
}
KNOWN = frozenset({*_PARSERS, "accept", "presentationSeriesUID", "presentationUID"})
