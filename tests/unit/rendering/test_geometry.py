"""Crop, flip, scale and aspect ratio (PS3.18 §8.3.5.1.3, PS3.3 C.7.6.3.1.7)."""

import numpy as np
import pytest

from dicomweb.render.geometry import Frame, Shown, fit, place
from dicomweb.render.parameters import MAX_SIDE, InvalidRendering, Viewport
from dicomweb.render.picture import arrange
from dicomweb.render.values import Placement

WIDE = Frame(columns=200, rows=100)


@pytest.mark.parametrize(
    ("frame", "viewport", "region", "size"),
    [
        pytest.param(WIDE, None, (0, 0, 200, 100), (200, 100), id="as it is"),
        pytest.param(
            WIDE, Viewport(100, 100), (0, 0, 200, 100), (100, 50), id="as large as its width allows"
        ),
        pytest.param(WIDE, Viewport(1000, 200), (0, 0, 200, 100), (400, 200), id="magnified to its height"),
        pytest.param(WIDE, Viewport(50, 50, 10, 20, 30, 30), (10, 20, 40, 50), (50, 50), id="a region"),
        pytest.param(WIDE, Viewport(50, 50, 10, 20), (10, 20, 200, 100), (50, 21), id="to the edges"),
        pytest.param(
            WIDE, Viewport(9, 9, 190, 90, 50, 50), (190, 90, 200, 100), (9, 9), id="cut at the edges"
        ),
        pytest.param(
            WIDE, Viewport(9, 9, 1.5, 0, 1, 1), (1, 0, 3, 1), (9, 4), id="parts of pixels count whole"
        ),
        pytest.param(Frame(256, 120, 4 / 3), None, (0, 0, 256, 120), (256, 160), id="tall pixels"),
        pytest.param(Frame(100, 100, 0.5), None, (0, 0, 100, 100), (200, 100), id="wide pixels"),
        pytest.param(Frame(100, 100, 0.5), Viewport(50, 50), (0, 0, 100, 100), (50, 25), id="wide, fitted"),
        pytest.param(Frame(100, 100, 1.005), None, (0, 0, 100, 100), (100, 100), id="nearly square"),
        pytest.param(Frame(100, 100, 1e6), None, (0, 0, 100, 100), (100, 100), id="an aspect that none has"),
        pytest.param(Frame(4 * MAX_SIDE, 4), None, (0, 0, 4 * MAX_SIDE, 4), (MAX_SIDE, 1), id="very large"),
    ],
)
def test_place(
    frame: Frame, viewport: Viewport | None, region: tuple[int, ...], size: tuple[int, int]
) -> None:
    placement = place(frame, viewport)
    assert (placement.region, (placement.width, placement.height)) == (region, size)


@pytest.mark.parametrize("corner", [(200, 0), (0, 100), (1e9, 1e9)])
def test_region_outside(corner: tuple[float, float]) -> None:
    with pytest.raises(InvalidRendering, match="viewport"):
        place(WIDE, Viewport(10, 10, *corner))


def test_negative_lengths_flip() -> None:
    both = place(WIDE, Viewport(10, 10, 0, 0, -200, -100))
    assert (both.flip_horizontally, both.flip_vertically, both.region) == (True, True, (0, 0, 200, 100))
    one = place(WIDE, Viewport(10, 10, region_width=-50))
    assert (one.flip_horizontally, one.flip_vertically, one.region) == (True, False, (0, 0, 50, 100))


def test_turned_by_a_quarter_the_sides_change() -> None:
    placement = fit(Shown((0, 0, 200, 100), rotation=90), (100, 100))
    assert (placement.width, placement.height) == (50, 100)
    assert fit(Shown((0, 0, 10, 20)), None, magnification=2.0).width == 20


PIXELS = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)


@pytest.mark.parametrize(
    ("placement", "shown"),
    [
        pytest.param(Placement((0, 0, 3, 2), 3, 2), [[1, 2, 3], [4, 5, 6]], id="whole"),
        pytest.param(Placement((1, 0, 3, 1), 2, 1), [[2, 3]], id="cropped"),
        pytest.param(Placement((0, 0, 3, 2), 3, 2, True), [[3, 2, 1], [6, 5, 4]], id="flipped horizontally"),
        pytest.param(
            Placement((0, 0, 3, 2), 3, 2, False, True), [[4, 5, 6], [1, 2, 3]], id="flipped vertically"
        ),
        pytest.param(Placement((0, 0, 3, 2), 2, 3, rotation=90), [[4, 1], [5, 2], [6, 3]], id="clockwise"),
        pytest.param(Placement((0, 0, 3, 2), 3, 2, rotation=180), [[6, 5, 4], [3, 2, 1]], id="by a half"),
        pytest.param(
            Placement((0, 0, 3, 2), 2, 3, rotation=270), [[3, 6], [2, 5], [1, 4]], id="by 270 degrees"
        ),
        pytest.param(
            Placement((0, 0, 3, 2), 2, 3, True, rotation=90),
            [[1, 4], [2, 5], [3, 6]],
            id="turned, then flipped",
        ),
        pytest.param(Placement((0, 0, 1, 1), 2, 2), [[1, 1], [1, 1]], id="magnified"),
    ],
)
def test_arrange(placement: Placement, shown: list[list[int]]) -> None:
    assert np.asarray(arrange(PIXELS, placement)).tolist() == shown


def test_shrinking_takes_means() -> None:
    pixels = np.array([[0, 100], [100, 200]], np.uint8)
    assert np.asarray(arrange(pixels, Placement((0, 0, 2, 2), 1, 1))).tolist() == [[100]]
    colours = np.stack([pixels] * 3, axis=2)
    assert np.asarray(arrange(colours, Placement((0, 0, 2, 2), 1, 1))).tolist() == [[[100, 100, 100]]]
