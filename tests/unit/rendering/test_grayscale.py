"""Stored values to gray, by hand-computed values (PS3.3 C.11.1, C.11.2.1.2, C.11.2.1.3, C.7.5.1.1.2)."""

import numpy as np
import pytest

from dicomweb.render.grayscale import presentation, to_gray
from dicomweb.render.values import Grayscale, LookupTable, Window, WindowFunction

LINEAR, EXACT, SIGMOID = WindowFunction.LINEAR, WindowFunction.LINEAR_EXACT, WindowFunction.SIGMOID


def words(*values: int) -> bytes:
    return np.array(values, "<u2").tobytes()


def gray(stored: list[float], how: Grayscale, dtype: str = "i2") -> list[int]:
    return to_gray(np.array([stored], dtype), how)[0].tolist()


@pytest.mark.parametrize(
    ("window", "stored", "shown"),
    [
        # The examples of C.11.2.1.2.1, and what its formula gives between the ends.
        pytest.param(Window(2048, 4096), [0, 1, 4094, 4095, 4096], [0, 0, 255, 255, 255], id="2048, 4096"),
        pytest.param(Window(2048, 1), [2047, 2048], [0, 255], id="a width of 1 is a threshold"),
        pytest.param(Window(0, 100), [-51, -50, -49, -1, 0], [0, 0, 3, 126, 129], id="0, 100: below"),
        pytest.param(Window(0, 100), [48, 49, 50], [252, 255, 255], id="0, 100: above"),
        pytest.param(Window(0, 1), [-1, 0], [0, 255], id="0, 1"),
        pytest.param(Window(0, 100, EXACT), [-51, -50, -25, 0], [0, 0, 64, 128], id="exact: below"),
        pytest.param(Window(0, 100, EXACT), [49, 50, 51], [252, 255, 255], id="exact: above"),
        pytest.param(Window(0.5, 1, EXACT), [0, 1, 2], [0, 255, 255], id="exact: a width of 1 is a slope"),
        pytest.param(Window(0, 100, SIGMOID), [-50, -25, 0, 50], [30, 69, 128, 225], id="sigmoid"),
        pytest.param(Window(0, 0.001, SIGMOID), [-32768, 32767], [0, 255], id="sigmoid: steep"),
    ],
)
@pytest.mark.parametrize("dtype", ["i2", "i4", "f8"])
def test_windows(window: Window, stored: list[float], shown: list[int], dtype: str) -> None:
    assert gray(stored, Grayscale(window=window), dtype) == shown


def test_exact_window_between_integers() -> None:
    how = Grayscale(window=Window(0.5, 1, EXACT))
    assert gray([0.0, 0.2, 0.5, 1.0], how, "f4") == [0, 51, 128, 255]


def test_rescale_comes_before_the_window() -> None:
    how = Grayscale(slope=2, intercept=-1024, window=Window(40, 400))
    assert gray([532, 412, 631, 632], how) == [128, 0, 254, 255]  # HU 40, -200, 238, 240


def test_inverse_turns_after_the_window() -> None:
    how = Grayscale(window=Window(0, 100), inverse=True)
    assert gray([-50, -49, 0, 49], how) == [255, 252, 126, 0]


@pytest.mark.parametrize("inverse", [False, True])
def test_padding_is_black_and_no_part_of_the_range(inverse: bool) -> None:
    how = Grayscale(padding=(-2000, -1900), inverse=inverse)
    black, white = (255, 0) if inverse else (0, 255)
    assert gray([-2000, -1950, 0, 100], how) == [0, 0, black, white]


@pytest.mark.parametrize(
    ("stored", "dtype", "shown"),
    [
        pytest.param([10, 20, 30], "u1", [0, 128, 255], id="8 bits"),
        pytest.param([-100, 0, 100], "i2", [0, 128, 255], id="signed"),
        pytest.param([0, 65535], "u2", [0, 255], id="16 bits"),
        pytest.param([0, 2**31], "u4", [0, 255], id="32 bits"),
        pytest.param([float("nan"), 0.0, 1.0, float("inf")], "f4", [0, 0, 255, 255], id="not finite"),
        pytest.param([7, 7], "u1", [128, 128], id="all the same"),
    ],
)
def test_without_a_voi_the_frame_gives_the_range(stored: list[float], dtype: str, shown: list[int]) -> None:
    assert gray(stored, Grayscale(), dtype) == shown


def test_a_frame_of_padding_only() -> None:
    assert gray([5, 5], Grayscale(padding=(5, 5))) == [0, 0]


def test_a_falling_rescale_shows_the_largest_stored_value_black() -> None:
    assert gray([0, 100], Grayscale(slope=-1)) == [255, 0]


def test_a_given_range_stands_before_that_of_the_frame() -> None:
    assert gray([0, 1], Grayscale(value_range=(0, 2)), "u1") == [0, 128]


def test_modality_lut_takes_end_entries_outside() -> None:
    table = LookupTable(3, first=10, bits=16, data=words(0, 50, 100))
    how = Grayscale(modality_lut=table, window=Window(50, 100, EXACT))
    assert gray([0, 10, 11, 12, 99], how) == [0, 0, 128, 255, 255]


def test_voi_lut_is_scaled_by_its_bits() -> None:
    table = LookupTable(3, first=-1, bits=12, data=words(0, 2048, 4095))
    assert gray([-5, -1, 0, 1, 9], Grayscale(voi_lut=table)) == [0, 0, 128, 255, 255]


def test_voi_lut_that_holds_more_than_its_bits() -> None:
    table = LookupTable(2, first=0, bits=8, data=words(0, 1020))
    assert gray([0, 1], Grayscale(voi_lut=table)) == [0, 255]


def test_presentation_lut_comes_last() -> None:
    table = LookupTable(2, first=0, bits=8, data=bytes([255, 0]))
    how = Grayscale(window=Window(50, 100, EXACT), presentation_lut=table, inverse=True)
    assert gray([0, 100], how) == [255, 0]


@pytest.mark.parametrize("dtype", ["u1", "i1", "u2", "i2"])
def test_the_table_says_what_the_functions_say(dtype: str) -> None:
    limits = np.iinfo(dtype)
    frame = np.linspace(limits.min, limits.max, 99).astype(dtype).reshape(9, 11)
    how = Grayscale(slope=0.5, intercept=3, window=Window(9, 77, SIGMOID), padding=(0, 4), inverse=True)
    assert (to_gray(frame, how) == presentation(frame, how)).all()


@pytest.mark.parametrize("function", list(WindowFunction))
@pytest.mark.parametrize("dtype", ["i2", "f8"])
def test_windows_far_from_anything(function: WindowFunction, dtype: str) -> None:
    assert gray([-1, 0, 1], Grayscale(window=Window(1e300, 1.0, function)), dtype) == [0, 0, 0]
    assert gray([-1, 0, 1], Grayscale(window=Window(-1e300, 1.0, function)), dtype) == [255, 255, 255]
    assert gray([-1, 1], Grayscale(slope=1e300, window=Window(0, 1e-300 + 1, function)), dtype) == [0, 255]


@pytest.mark.parametrize("shape", [(1, 300_000), (300_000, 1), (513, 511)])
def test_large_frames_go_through_in_blocks(shape: tuple[int, int]) -> None:
    frame = (np.arange(shape[0] * shape[1]) % 256).astype(np.uint8).reshape(shape)
    assert (to_gray(frame, Grayscale(value_range=(0, 255))) == frame).all()
