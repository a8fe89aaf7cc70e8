"""The child's task "render": coded frames and a recipe in, a picture out (PS3.18 §8.7.4)."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicomweb.pixels.decode import decode_frame
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat, from_header
from dicomweb.render.colour import colour_to_rgb, palette_to_rgb, pseudo_colour
from dicomweb.render.encode import encode
from dicomweb.render.grayscale import to_gray
from dicomweb.render.picture import compose
from dicomweb.render.values import Order, Palette, Recipe

Json = Any


def render(header: Mapping[str, Json], body: bytes) -> tuple[dict[str, Json], bytes]:
    """One picture of one frame, or an animation of several.

    `header`: `format` and `order`, as `dicomweb.render.pictures` writes them; `body`: the frames, joined.
    """
    fmt, order = from_header(header["format"]), msgspec.convert(header["order"], Order)
    pictures = [
        _picture(data, fmt, order, order.recipes[use])
        for data, use in zip(_frames(body, order.lengths), order.uses, strict=True)
    ]
    return {}, encode(pictures, order.coding)


def _frames(body: bytes, lengths: Sequence[int]) -> list[bytes]:
    stops = np.cumsum(lengths).tolist()
    return [bytes(body[stop - length : stop]) for stop, length in zip(stops, lengths, strict=True)]


def _picture(data: bytes, fmt: PixelFormat, order: Order, recipe: Recipe) -> Image.Image:
    decoded = decode_frame(data, order.transfer_syntax, fmt)
    frame, photometric = decoded.pixels, decoded.photometric_interpretation
    return compose(to_pixels(frame, photometric, recipe, order.palette), recipe)


def to_pixels(
    frame: NDArray[np.number], photometric: str, recipe: Recipe, palette: Palette | None
) -> NDArray[np.uint8]:
    """Gray of shape (rows, columns), or RGB of shape (rows, columns, 3)."""
    if photometric == "PALETTE COLOR":
        if palette is None or frame.dtype.kind not in "iu":
            raise PixelsUnreadable("The instance is PALETTE COLOR and has no palette.")
        return palette_to_rgb(frame, palette)
    if frame.ndim == 3 and frame.shape[2] > 1:
        return colour_to_rgb(frame, photometric, recipe.bits_stored)
    gray = frame.reshape(frame.shape[:2])
    return pseudo_colour(gray, recipe.grayscale, palette) if palette else to_gray(gray, recipe.grayscale)
