"""Rendering by the query parameters of WADO-URI (PS3.18 9.1.2, 9.4.1.1, Table 9.4.1-2). Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from dicomweb.render.parameters import (
    MAX_SIDE,
    InvalidRendering,
    RenderParameters,
    Viewport,
    parse_annotation,
    parse_decimal,
    parse_integer,
    parse_presentation_state,
)
from dicomweb.render.values import Window

MAX_FRAME = 999_999_999  # the largest number that a frame list may hold as well


def parse_uri_parameters(given: Mapping[str, str]) -> tuple[RenderParameters, int | None]:
    """How it is to look, and the frame from 1; None: none is named.

    Raises:
        InvalidRendering: a value that the section does not allow.
    """
    read: dict[str, Any] = {
        member: parse(given[name]) for name, (member, parse) in _PARSERS.items() if name in given
    }
    if window := _window(given):
        read["window"] = window
    if viewport := _viewport(given):
        read["viewport"] = viewport
    if state := parse_presentation_state(given):
        read["presentation_state"] = state
    frame = parse_integer(given["frameNumber"], "frameNumber", MAX_FRAME) if "frameNumber" in given else None
    return RenderParameters(**read), frame


def _window(given: Mapping[str, str]) -> Window | None:
    """`windowCenter` with `windowWidth`, linear (PS3.18 9.4.1.1.6, .7)."""
    center, width = given.get("windowCenter"), given.get("windowWidth")
    if center is None and width is None:
        return None
    if center is None or width is None:
        raise InvalidRendering("windowCenter and windowWidth need each other.")
    window = Window(parse_decimal(center, "windowCenter"), parse_decimal(width, "windowWidth"))
    if window.width < 1:
        raise InvalidRendering("The parameter windowWidth is too small.")
    return window


def _viewport(given: Mapping[str, str]) -> Viewport | None:
    """`rows`, `columns` and `region` (PS3.18 9.4.1.1.3 to .5)."""
    sides = (
        parse_integer(given[name], name, MAX_SIDE) if name in given else None for name in ("columns", "rows")
    )
    width, height = sides
    if "region" not in given:
        return Viewport(width, height) if width or height else None
    values = [parse_decimal(part, "region") for part in given["region"].split(",")]
    if len(values) != 4 or not all(0 <= value <= 1 for value in values):
        raise InvalidRendering("The parameter region must be xmin,ymin,xmax,ymax, from 0 to 1.")
    left, top, right, bottom = values
    if left >= right or top >= bottom:
        raise InvalidRendering("The region of the parameter region is empty.")
    return Viewport(width, height, left, top, right - left, bottom - top, is_relative=True)


def _quality(text: str) -> int:
    return parse_integer(text, "imageQuality", 100)


_PARSERS: Mapping[str, tuple[str, Callable[[str], Any]]] = {
    "imageQuality": ("quality", _quality),
    "annotation": ("annotation", parse_annotation),
}
