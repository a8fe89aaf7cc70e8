"""Any pixel format through every syntax that takes it, any recipe to a picture (PS3.5 §8, PS3.3 C.11)."""

import io
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some
from PIL import Image

from dicomweb.definitions import transfer_syntaxes as ts
from dicomweb.pixels.decode import decode_frame, sample_values
from dicomweb.pixels.encode import encode_frame
from dicomweb.pixels.faults import PixelsUnreadable
from dicomweb.pixels.format import PixelFormat, to_header
from dicomweb.pixels.syntaxes import ENCODABLE, LOSSY_METHOD, can_encode
from dicomweb.render.geometry import Frame, place
from dicomweb.render.parameters import InvalidRendering, Viewport
from dicomweb.render.task import render
from dicomweb.render.values import (
    Coding,
    Drawing,
    Grayscale,
    LookupTable,
    Order,
    Recipe,
    Window,
    WindowFunction,
)

pytestmark = pytest.mark.slow
NUMBERS = some.floats(-1e38, 1e38) | some.sampled_from([0.0, 1.0, -1024.0, 255.0, 1e-9])


@some.composite
def formats(draw: Any) -> PixelFormat:
    """Integer pixels of any depth, gray, palette or colour."""
    allocated = draw(some.sampled_from([8, 16, 32]))
    stored = draw(some.integers(1, allocated))
    high = draw(some.integers(stored - 1, allocated - 1))
    samples = draw(some.sampled_from([1, 3]))
    names = ["MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"] if samples == 1 else ["RGB", "YBR_FULL"]
    signed = draw(some.integers(0, 1)) if samples == 1 else 0
    rows, columns = draw(some.integers(1, 30)), draw(some.integers(1, 30))
    name = draw(some.sampled_from(names))
    assume(name != "PALETTE COLOR" or (allocated <= 16 and not signed))
    return PixelFormat(rows, columns, samples, allocated, stored, high, signed, name)


@settings(max_examples=300, deadline=None)
@given(formats(), some.integers(0, 2**32 - 1), some.booleans())
def test_lossless_syntaxes_give_back_every_sample(pixels: PixelFormat, seed: int, is_noise: bool) -> None:
    shape = (pixels.rows, pixels.columns, 3)[: 2 + (pixels.samples_per_pixel > 1)]
    top = 1 << (pixels.high_bit + 1)
    values = (
        np.random.default_rng(seed).integers(0, top, shape, np.uint64)
        if is_noise
        else np.full(shape, seed % top)
    )
    cells = values.astype(f"u{pixels.bits_allocated // 8}")
    for syntax in (each for each in ENCODABLE if can_encode(each, pixels)):
        found = decode_frame(encode_frame(cells, syntax, pixels), syntax, pixels).pixels
        assert found.dtype == sample_values(cells, pixels).dtype, syntax
        if syntax not in LOSSY_METHOD:
            assert np.array_equal(found, sample_values(cells, pixels)), syntax


TABLES = some.builds(
    LookupTable,
    some.integers(1, 300),
    some.integers(-500, 500),
    some.integers(1, 16),
    some.binary(max_size=700),
    some.booleans(),
)
WINDOWS = some.builds(Window, NUMBERS, some.floats(1e-3, 1e38), some.sampled_from(WindowFunction))
POINTS = some.lists(some.tuples(some.floats(-16, 16), some.floats(-16, 16)), min_size=1, max_size=5).map(
    tuple
)
GRAYSCALES = some.builds(
    Grayscale,
    slope=NUMBERS,
    intercept=NUMBERS,
    modality_lut=some.none() | TABLES,
    window=some.none() | WINDOWS,
    voi_lut=some.none() | TABLES,
    inverse=some.booleans(),
    presentation_lut=some.none() | TABLES,
    padding=some.none() | some.tuples(some.integers(-5, 5), some.integers(5, 300)),
)
VIEWPORTS = some.builds(
    Viewport,
    some.integers(1, 99),
    some.integers(1, 99),
    some.floats(0, 40),
    some.floats(0, 40),
    some.none() | NUMBERS,
)


@settings(max_examples=300, deadline=None)
@given(
    formats()
    | some.builds(
        PixelFormat,
        *[some.integers(1, 9)] * 2,
        *map(some.just, (1, 32, 32, 31, 0, "MONOCHROME2")),
        is_float=some.just(True),
    ),
    GRAYSCALES,
    some.none() | VIEWPORTS,
    some.lists(
        some.builds(Drawing, some.sampled_from(["POINT", "POLYLINE"]), POINTS, is_filled=some.booleans())
    ),
    some.tuples(TABLES, TABLES, TABLES),
    some.sampled_from(["image/jpeg", "image/png", "image/gif"]),
    some.integers(0, 2**32 - 1),
)
def test_any_recipe_makes_a_picture_or_is_refused(
    pixels: PixelFormat, how: Any, viewport: Any, drawings: Any, palette: Any, media_type: str, seed: int
) -> None:
    data = np.random.default_rng(seed).bytes((pixels.stored_frame_bits + 7) // 8)
    try:
        placement = place(Frame(pixels.columns, pixels.rows), viewport)
        recipe = Recipe(pixels.bits_stored, how, placement, drawings=tuple(drawings))
        order = Order(
            ts.ExplicitVRLittleEndian, (len(data),), (recipe,), (0,), Coding(media_type, 90), palette
        )
        built = msgspec.to_builtins(order, builtin_types=(bytes,))
        _, picture = render({"format": to_header(pixels), "order": built}, data)
    except (PixelsUnreadable, InvalidRendering):
        return
    with Image.open(io.BytesIO(picture)) as image:
        assert image.size == (placement.width, placement.height)
