"""Colour frames to 8-bit RGB (PS3.3 C.7.6.3.1.2, C.7.6.3.1.5). Runs in the child process."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import YBR_PARTIAL
from dicomweb.render.grayscale import fractions, padding_mask, with_range
from dicomweb.render.lookup import entries_of
from dicomweb.render.values import Grayscale, LookupTable

Rgb = NDArray[np.uint8]
WHITE = 255
OFFSETS = np.array([16, 128, 128], np.float32)
FROM_PARTIAL = np.array(  # the inverse of the equation: rows Y, CB, CR; columns R, G, B
    [[1.1644, 1.1644, 1.1644], [0.0, -0.3917, 2.0172], [1.5960, -0.8129, 0.0]], np.float32
)


def palette_to_rgb(frame: NDArray[np.number], palette: tuple[LookupTable, ...]) -> Rgb:
    """PALETTE COLOR: the entry of each pixel in three tables; shape (rows, columns, 3)."""
    if frame.dtype.itemsize > 2:
        raise PixelsUnreadable("PALETTE COLOR has pixels of at most 16 bits.")
    unsigned = np.arange(2 ** (8 * frame.dtype.itemsize), dtype=f"u{frame.dtype.itemsize}")
    values = unsigned.view(frame.dtype).astype(np.int64)
    colours = np.empty((len(values), 3), np.uint8)
    for channel, table in enumerate(palette):
        entries = _eight_bits(table)
        colours[:, channel] = entries[np.clip(values - table.first, 0, len(entries) - 1)]
    return np.take(colours, frame.view(unsigned.dtype), axis=0)


def pseudo_colour(frame: NDArray[np.number], how: Grayscale, palette: tuple[LookupTable, ...]) -> Rgb:
    """Gray through the palette of a Pseudo-Color Softcopy Presentation State (PS3.4 N.2.2); padding is black.

    What the VOI LUT makes of the stored values spans all of the entries.
    """
    shown = fractions(frame, with_range(frame, how))
    channels = []
    for table in palette:
        entries = _eight_bits(table)
        channels.append(entries[np.rint(shown * (len(entries) - 1)).astype(np.intp)])
    rgb: Rgb = np.stack(channels, axis=-1)
    mask = padding_mask(frame, how)
    if mask is not None:
        rgb[mask] = 0
    return rgb


def _eight_bits(table: LookupTable) -> NDArray[np.uint8]:
    """The entries from 0 to 255; tables that say 16 bits and hold 8 are taken for what they hold."""
    entries = entries_of(table)
    is_wide = table.bits > 8 and int(entries.max(initial=0)) > 255
    return (entries >> (table.bits - 8) if is_wide else entries).astype(np.uint8)


def colour_to_rgb(frame: NDArray[np.number], photometric: str, bits_stored: int) -> Rgb:
    """RGB, YBR_FULL or expanded YBR_PARTIAL_422 of any depth; shape (rows, columns, 3).

    Raises:
        PixelsUnreadable: another colour space, or samples that are no unsigned integers.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype.kind != "u":
        raise PixelsUnreadable("Colour has three unsigned samples to a pixel.")
    shallow = _shallow(frame, bits_stored)
    if photometric == "RGB":
        return shallow
    if photometric == "YBR_FULL":
        return ybr_full_to_rgb(shallow)
    if photometric == YBR_PARTIAL:
        return ybr_partial_to_rgb(shallow)
    raise PixelsUnreadable("The photometric interpretation cannot be rendered.")


def ybr_full_to_rgb(frame: NDArray[np.uint8]) -> Rgb:
    """YBR_FULL, whose equation is that of JFIF (PS3.3 C.7.6.3.1.2)."""
    return np.asarray(Image.fromarray(frame, "YCbCr").convert("RGB"))


def ybr_partial_to_rgb(frame: NDArray[np.uint8]) -> Rgb:
    """YBR_PARTIAL_422, expanded: black is 16 and white 235 (PS3.3 C.7.6.3.1.2 of 2017, retired)."""
    rgb = (frame.astype(np.float32) - OFFSETS) @ FROM_PARTIAL
    return (np.clip(rgb, 0, WHITE) + 0.5).astype(np.uint8)


def _shallow(frame: NDArray[np.number], bits_stored: int) -> Rgb:
    """The upper 8 of the bits stored."""
    if frame.dtype.itemsize == 1:
        return frame.astype(np.uint8, copy=False)
    shallow: Rgb = np.right_shift(frame.astype(np.uint64), max(bits_stored - 8, 0)).astype(np.uint8)
    return shallow
