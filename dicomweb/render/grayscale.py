"""Stored values to 8-bit gray (PS3.3 C.11.1, C.11.2, C.11.6, C.7.5.1.1.2; PS3.4 N.2.1). In the child process.

Integer pixels of up to 16 bits go through one table, made of the same functions: a frame then costs one
look-up per pixel whatever the transformations are.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from dicomweb.render.lookup import entries_of, look_up
from dicomweb.render.values import Grayscale, LookupTable, Window, WindowFunction

Values = NDArray[np.float64]
Gray = NDArray[np.uint8]
WHITE = 255.0
BLOCK_PIXELS = 1 << 17
TABLES_KEPT = 16  # the frames of a series mostly share one


def linear(values: Values, window: Window) -> Values:
    """LINEAR, from 0 to 1 (PS3.3 C.11.2.1.2.1)."""
    center, width = window.center, max(window.width, 1.0)
    low, high = center - 0.5 - (width - 1) / 2, center - 0.5 + (width - 1) / 2
    slope = (values - (center - 0.5)) / (width - 1) + 0.5 if width > 1 else np.zeros_like(values)
    shown: Values = np.where(values <= low, 0.0, np.where(values > high, 1.0, slope))
    return shown


def linear_exact(values: Values, window: Window) -> Values:
    """LINEAR_EXACT, from 0 to 1 (PS3.3 C.11.2.1.3.2)."""
    center, width = window.center, window.width
    slope = (values - center) / width + 0.5
    shown: Values = np.where(
        values <= center - width / 2, 0.0, np.where(values > center + width / 2, 1.0, slope)
    )
    return shown


def sigmoid(values: Values, window: Window) -> Values:
    """SIGMOID, from 0 to 1 (PS3.3 C.11.2.1.3.1)."""
    exponent = np.clip(-4 * (values - window.center) / window.width, -700, 700)
    return 1 / (1 + np.exp(exponent))


FUNCTIONS: Mapping[WindowFunction, Callable[[Values, Window], Values]] = {
    WindowFunction.LINEAR: linear,
    WindowFunction.LINEAR_EXACT: linear_exact,
    WindowFunction.SIGMOID: sigmoid,
}


def modality_values(stored: NDArray[np.number], how: Grayscale) -> Values:
    """Through the Modality LUT, or rescaled (PS3.3 C.11.1.1)."""
    if how.modality_lut is not None:
        return look_up(how.modality_lut, stored.astype(np.float64)).astype(np.float64)
    return stored.astype(np.float64) * how.slope + how.intercept


def padding_mask(stored: NDArray[np.number], how: Grayscale) -> NDArray[np.bool_] | None:
    """Where there are no pixels (PS3.3 C.7.5.1.1.2); None: everywhere are some."""
    if how.padding is None:
        return None
    low, high = how.padding
    return (stored >= low) & (stored <= high)


def value_range(frame: NDArray[np.number], how: Grayscale) -> tuple[float, float]:
    """The smallest and largest modality value of a frame's pixels; padding and NaN are none."""
    mask = padding_mask(frame, how)
    pixels = frame if mask is None else frame[~mask]
    if frame.dtype.kind == "f":
        pixels = pixels[np.isfinite(pixels)]
    if pixels.size == 0:
        return 0.0, 1.0
    if how.modality_lut is not None:
        values = modality_values(pixels, how)
        return float(values.min()), float(values.max())
    ends = modality_values(np.array([pixels.min(), pixels.max()]), how)
    return float(ends.min()), float(ends.max())


def range_window(low: float, high: float) -> Window:
    """The window that shows `low` black and `high` white."""
    width = high - low
    return Window((low + high) / 2, width if width > 0 else 1.0, WindowFunction.LINEAR_EXACT)


def _fraction(table: LookupTable, values: Values) -> Values:
    """A LUT's output from 0 to 1; by what its entries hold where they do not fit the bits that it says."""
    largest = max(2.0**table.bits - 1, float(entries_of(table).max(initial=0)))
    return look_up(table, values).astype(np.float64) / largest


def presentation(stored: NDArray[np.number], how: Grayscale) -> Gray:
    """Stored values as gray from 0, black, to 255, white; padding is black.

    `how` has a window, a VOI LUT or a value range.
    """
    gray = np.floor(fractions(stored, how) * WHITE + 0.5).astype(np.uint8)
    mask = padding_mask(stored, how)
    if mask is not None:
        gray[mask] = 0
    return gray


def fractions(stored: NDArray[np.number], how: Grayscale) -> Values:
    """Stored values from 0, black, to 1, white; `how` as in `presentation`."""
    with np.errstate(all="ignore"):  # far outside of a window the numbers may be; the ends are cut
        shown: Values = np.clip(np.nan_to_num(_shown(modality_values(stored, how), how)), 0, 1)
    return shown


def _shown(values: Values, how: Grayscale) -> Values:
    """Modality values from 0, black, to 1, white."""
    if how.window is not None:
        shown = FUNCTIONS[how.window.function](values, how.window)
    elif how.voi_lut is not None:
        shown = _fraction(how.voi_lut, values)
    else:
        shown = linear_exact(values, range_window(*(how.value_range or (0.0, 1.0))))
    if how.presentation_lut is not None:
        table = how.presentation_lut
        return _fraction(table, shown * (table.entries - 1) + table.first)
    return 1 - shown if how.inverse else shown


@lru_cache(maxsize=TABLES_KEPT)
def table_of_all(code: str, how: Grayscale) -> Gray:
    """The gray of every value of an integer type such as "i2", in the order of its bits read as unsigned."""
    unsigned = np.arange(2 ** (8 * int(code[1])), dtype=f"u{code[1]}")
    return presentation(unsigned.view(code), how)


def apply_table(table: Gray, frame: NDArray[np.number]) -> Gray:
    """Each pixel's entry.

    Some rows at a time: numpy widens what it indexes by to 64 bits, and these then stay in the processor's
    cache. So a mammogram takes 22 ms and not 68: less than to shrink its 16 bits first would.
    """
    indices, gray = frame.view(f"u{frame.dtype.itemsize}"), np.empty(frame.shape, np.uint8)
    step = max(1, BLOCK_PIXELS // frame.shape[1])
    for start in range(0, len(frame), step):
        rows = slice(start, start + step)
        np.take(table, indices[rows], out=gray[rows], mode="clip")
    return gray


def with_range(frame: NDArray[np.number], how: Grayscale) -> Grayscale:
    """`how` with the range of the frame's values, where nothing else says what is black and white."""
    if how.window is None and how.voi_lut is None and how.value_range is None:
        return replace(how, value_range=value_range(frame, how))
    return how


def to_gray(frame: NDArray[np.number], how: Grayscale) -> Gray:
    """A frame, shape (rows, columns), as gray of the same shape."""
    how = with_range(frame, how)
    if frame.dtype.kind in "iu" and frame.dtype.itemsize <= 2:
        return apply_table(table_of_all(f"{frame.dtype.kind}{frame.dtype.itemsize}", how), frame)
    return presentation(frame, how)
