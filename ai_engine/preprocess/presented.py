"""Stored values as a radiograph is meant to be shown: from 0, black, to 1, white (PS3.3 C.11.1, C.11.2)."""

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_modality_lut, apply_voi

from ai_engine.preprocess.pixels import Stored, padding_of
from ai_engine.preprocess.plane import numbers_of
from ai_engine.preprocess.refusal import RefusalReason, SeriesRefused

Shown = NDArray[np.float32]

WHITE_IS_LOW = "MONOCHROME1"


def presented(header: Dataset, stored: Stored) -> Shown:
    """The image after Modality LUT, first VOI LUT or window, inversion of MONOCHROME1; padding is black."""
    padding = padding_of(header, stored)
    values = apply_modality_lut(stored, header)
    shown = _by_table(header, values) if header.get("VOILUTSequence") else _by_window(header, values, padding)
    if header.get("PhotometricInterpretation") == WHITE_IS_LOW:
        shown = 1 - shown
    if padding is not None:
        shown[padding] = 0
    return shown


def _by_table(header: Dataset, values: Stored) -> Shown:
    bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
    return _limited(apply_voi(values, header) / (2**bits - 1))


def _by_window(header: Dataset, values: Stored, padding: NDArray[np.bool_] | None) -> Shown:
    """By the first window; where there is none, by the lowest and highest value."""
    real = values.astype(np.float32)
    if all(header.get(keyword) not in (None, "") for keyword in ("WindowCenter", "WindowWidth")):
        function = str(header.get("VOILUTFunction") or "LINEAR")
        return _windowed(real, _first(header, "WindowCenter"), _first(header, "WindowWidth"), function)
    inside = real if padding is None or padding.all() else real[~padding]
    low, high = float(inside.min()), float(inside.max())
    return _limited((real - low) / max(high - low, 1.0))


def _windowed(values: Shown, center: float, width: float, function: str) -> Shown:
    """VOI LUT Function (PS3.3 C.11.2.1.2, C.11.2.1.3)."""
    if width <= 0 or (width < 1 and function == "LINEAR"):
        raise SeriesRefused(RefusalReason.INVALID_ATTRIBUTE, "WindowWidth is not what a window can have")
    if function == "SIGMOID":
        return _limited(1 / (1 + np.exp(-4 * (values - center) / width)))
    if function == "LINEAR":
        center, width = center - 0.5, max(width - 1, 1e-6)
    return _limited((values - center) / width + 0.5)


def _limited(values: NDArray[np.floating]) -> Shown:
    limited: Shown = values.clip(0, 1).astype(np.float32)
    return limited


def _first(header: Dataset, keyword: str) -> float:
    """The number of the first of several windows, which viewers show first."""
    value = header[keyword].value
    first = Dataset()
    setattr(first, keyword, value[0] if isinstance(value, MultiValue) else value)
    return numbers_of(first, keyword, 1)[0]
