"""Windows cover a volume and blend to it again; grids turn and resample as MONAI's transforms do."""

import math
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ai_engine.runners.grids import GridTooLarge, back_from, grid_over, index_in_volume, onto, volume_box
from ai_engine.runners.heat import found_in
from ai_engine.runners.windowed import Source, batches_of
from ai_engine.runners.windows import Blend, cut, lay_out, pad, size_up, weights_of

RNG = np.random.default_rng(7)


def oblique(spacing: Sequence[float], angle: float = 0.3) -> np.ndarray:
    """Slices from the feet up, rows to the back, columns to the left, turned about the body's axis."""
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]) * np.array(spacing)
    affine[:3, 3] = (10, -20, 30)
    return affine


@pytest.mark.parametrize("blending", ["constant", "gaussian"])
@pytest.mark.parametrize(
    ("shape", "roi", "overlap"),
    [
        pytest.param((16, 16, 16), (8, 8, 8), 0.0, id="exact tiles"),
        pytest.param((17, 30, 9), (8, 12, 9), 0.25, id="last windows moved back"),
        pytest.param((5, 30, 9), (8, 12, 16), 0.5, id="smaller than the window"),
        pytest.param((20, 20, 20), (20, 20, 20), 0.75, id="one window"),
    ],
)
def test_windows_blend_to_the_very_volume(
    shape: tuple[int, ...], roi: tuple[int, ...], overlap: float, blending: str
) -> None:
    volume = RNG.normal(size=shape).astype(np.float32)
    layout = lay_out(shape, roi, overlap)
    padded = pad(volume, layout, -5.0)
    blend = Blend(layout, weights_of(layout.roi, blending))
    for start in layout.starts:
        window = cut(padded, start, layout.roi)
        assert window.shape == roi
        blend.add(start, np.stack([window, 2 * window]))
    once, twice = blend.result(shape)
    assert np.allclose(once, volume, atol=1e-5)
    assert np.allclose(twice, 2 * volume, atol=1e-5)


def test_windows_lie_where_monai_lays_them() -> None:
    layout = lay_out((20,), (8,), 0.25)
    assert layout.starts == ((0,), (6,), (12,))  # dense_patch_slices((20,), (8,), (6,))


def test_weight_falls_from_the_centre_as_monai_has_it() -> None:
    weights = weights_of((8,), "gaussian")
    assert np.allclose(weights, np.maximum(np.exp(-0.5 * (np.arange(8) - 3.5) ** 2), 1e-3))


def test_native_grid_is_the_volume_itself() -> None:
    volume = RNG.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    grid = grid_over(volume.shape, oblique((2, 0.7, 0.7)), "native", None)
    assert np.array_equal(onto(volume, grid), volume)


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SPL", "IAR"])
def test_turned_there_and_back_nothing_is_moved(axes: str) -> None:
    volume = RNG.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    grid = grid_over(volume.shape, oblique((2, 0.7, 0.5)), axes, None)
    on_grid = onto(volume, grid)
    everything = (slice(0, 4), slice(0, 5), slice(0, 6))
    assert np.allclose(back_from(on_grid[None], grid, everything)[0], volume, atol=1e-2)


def test_axes_point_where_their_letters_say() -> None:
    volume = np.zeros((4, 5, 6), np.int16)
    volume[3, 0, 5] = 1  # head, front, left
    on_grid = onto(volume, grid_over(volume.shape, oblique((2, 0.7, 0.5)), "RAS", None))
    assert on_grid.shape == (6, 5, 4)
    assert on_grid[0, 4, 3] == 1  # not to the right, to the front, to the head


def test_a_ramp_stays_one_on_a_finer_and_a_coarser_grid() -> None:
    slices, rows, columns = np.indices((9, 11, 13))
    volume = (10 * slices + 3 * rows + columns).astype(np.float32)
    grid = grid_over(volume.shape, oblique((2, 0.5, 0.5)), "SPL", (1.0, 1.0, 0.25))
    on_grid = onto(volume, grid)
    assert on_grid.shape == (17, 6, 25)
    for point in ((0, 0, 0), (16, 5, 24), (3, 2, 7)):
        at = index_in_volume(grid, point)
        assert on_grid[point] == pytest.approx(10 * at[0] + 3 * at[1] + at[2], abs=1e-3)


def test_network_sees_a_copy() -> None:
    """What is shared with the parent is read-only in the child."""
    volume = RNG.normal(size=(4, 5, 6)).astype(np.float32)
    before = volume.copy()
    volume.flags.writeable = False
    network = {
        "axes": "native",
        "spacing_mm": None,
        "intensity": {"low": 0, "high": 2, "to_low": 0, "to_high": 1, "clip": True},
        "task": "segmentation",
        "roi": [4, 5, 6],
        "overlap": 0,
        "blending": "constant",
        "padding": 0,
    }
    (window,) = next(batches_of([Source(volume, oblique((2, 0.7, 0.7)))], network, 1))[0]
    assert np.array_equal(volume, before)
    assert np.allclose(window, np.clip(before / 2, 0, 1))


def test_spot_between_two_slices_is_found_without_label() -> None:
    grid = grid_over((5, 8, 8), oblique((5, 1, 1)), "SPL", (1.0, 1.0, 1.0))
    heat = np.zeros((1, *grid.shape), np.float32)
    heat[0, 2:4, 3:5, 3:5] = 0.9  # 2 to 3 mm, the slices lie at 0 and 5
    found = found_in(heat, grid, {"names": ["nodule"], "threshold": 0.5, "first_label": 1})
    (detection,) = found["detections"]
    assert detection["center"] == pytest.approx((0.5, 3.5, 3.5))
    assert "label" not in detection
    assert not found["labels"].any()


def test_of_two_at_one_place_the_likelier_has_the_voxels() -> None:
    grid = grid_over((8, 8, 8), oblique((1, 1, 1)), "SPL", None)
    heat = np.zeros((3, *grid.shape), np.float32)
    heat[0, 2:5, 2:5, 2:5] = 0.7
    heat[1, 1:6, 1:6, 1:6] = 0.9
    heat[2, 5:7, 2:5, 2:5] = 0.6  # one slice of it is the likeliest's too
    network = {"names": ["nodule", "mass", "cyst"], "threshold": 0.5, "first_label": 1}
    found = found_in(heat, grid, network)
    assert [(each["name"], each.get("label")) for each in found["detections"]] == [
        ("mass", 1),
        ("nodule", None),
        ("cyst", 3),
    ]
    assert np.bincount(found["labels"].ravel())[1:].tolist() == [125, 0, 9]


def test_slab_is_brought_back_without_the_whole_volume() -> None:
    grid = grid_over((80, 160, 160), oblique((1, 1, 1), 0), "RAS", (4.0, 4.0, 2.0))
    likely = RNG.random((2, *grid.shape), np.float32)
    slab = (slice(16, 32), slice(0, 160), slice(0, 160))
    tracemalloc.start()
    made = back_from(likely, grid, slab)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * made.nbytes


def test_box_of_the_volume_holds_all_that_a_place_of_the_grid_can_tell_of() -> None:
    volume = np.zeros((12, 16, 16), np.float32)
    grid = grid_over(volume.shape, oblique((2, 0.7, 0.7)), "RAS", (1.5, 1.5, 3.0))
    low, high = (2, 3, 2), (4, 5, 3)
    likely = np.zeros((1, *grid.shape), np.float32)
    likely[0, 2:5, 3:6, 2:4] = 1
    everywhere = (slice(0, 12), slice(0, 16), slice(0, 16))
    touched = np.argwhere(back_from(likely, grid, everywhere)[0] > 0)
    box = volume_box(grid, low, high)
    for axis in range(3):
        assert box[axis].start <= touched[:, axis].min()
        assert touched[:, axis].max() < box[axis].stop


@pytest.mark.parametrize("fine", [1e-3, 1e-300])
def test_grid_without_end_is_not_made(fine: float) -> None:
    with pytest.raises(GridTooLarge):
        grid_over((20, 30, 40), oblique((2, 0.7, 0.7)), "RAS", (fine, fine, fine))


def test_windows_are_counted_as_they_are_laid_out() -> None:
    for shape, roi, overlap in [((17, 30, 9), (8, 12, 9), 0.25), ((5, 30, 9), (8, 12, 16), 0.9)]:
        layout = lay_out(shape, roi, overlap)
        assert size_up(shape, roi, overlap) == (math.prod(layout.padded), len(layout.starts))


def leaning(lean: Sequence[float]) -> np.ndarray:
    """An axial stack, 0.8 mm pixels, slices 2 mm apart, moved in its plane from each to the next, in mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.array([[lean[0], 0, 0.8], [lean[1], 0.8, 0], [2, 0, 0]])
    affine[:3, 3] = (-20, -30, 5)
    return affine


LEANS = [(0.0, 0.9), (0.0, -0.9), (0.7, -0.5)]


@pytest.fixture(params=LEANS, ids=["forwards", "backwards", "aslant"])
def rod(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A rod along the patient's axis in a leaning stack: voxels, affine, and the rod itself, to the voxel."""
    affine = leaning(request.param)
    indices = np.indices((20, 48, 44)).reshape(3, -1)
    x, y, _ = affine[:3, :3] @ indices + affine[:3, 3:]
    middle = affine @ (9.5, 24, 22, 1)
    distance = np.hypot(x - middle[0], y - middle[1]).reshape(20, 48, 44)
    return (1000 * np.clip(4.5 - distance, 0, 1)).astype(np.int16), affine, distance


@pytest.mark.parametrize("spacing", [None, (0.8, 0.8, 1.0)])
def test_rod_in_a_leaning_stack_stands_upright(
    rod: tuple[np.ndarray, np.ndarray, np.ndarray], spacing: tuple[float, ...] | None
) -> None:
    voxels, affine, _ = rod
    on_grid = onto(voxels, grid_over(voxels.shape, affine, "LPS", spacing))
    assert on_grid.max() == pytest.approx(1000, abs=1)
    for plane in np.moveaxis(on_grid, 2, 0):
        middle = [(plane * at).sum() / plane.sum() for at in np.indices(plane.shape)]
        first = [(on_grid[..., 0] * at).sum() / on_grid[..., 0].sum() for at in np.indices(on_grid.shape[:2])]
        assert middle == pytest.approx(first, abs=0.1)


@pytest.mark.parametrize("spacing", [None, (1.1, 1.3, 1.5)])
@pytest.mark.parametrize("axes", ["RAS", "LPS", "SPL"])
def test_labels_of_a_leaning_stack_come_back_within_half_a_voxel(
    rod: tuple[np.ndarray, np.ndarray, np.ndarray], axes: str, spacing: tuple[float, ...] | None
) -> None:
    voxels, affine, distance = rod
    network = {
        **SEGMENTING,
        "axes": axes,
        "spacing_mm": spacing,
        "intensity": {"low": 0, "high": 1000, "to_low": 0, "to_high": 1, "clip": True},
    }
    labels = answered(voxels, affine, network)["labels"]
    assert (labels[distance < 4.0 - 0.4] == 1).all()
    assert (labels[distance > 4.0 + 0.4] == 0).all()


def test_ball_in_a_leaning_stack_is_found_where_it_is() -> None:
    affine = leaning((0.0, 0.9))
    centre = affine @ (14, 30, 12, 1)
    places = np.tensordot(affine[:3, :3], np.indices((20, 48, 44)), 1) + affine[:3, 3, None, None, None]
    distance = np.linalg.norm(places - centre[:3, None, None, None], axis=0)
    voxels = np.where(distance <= 5, 1000, 0).astype(np.int16)
    intensity = {"low": 0, "high": 1000, "to_low": 0, "to_high": 1, "clip": True}
    network = {**SEGMENTING, "task": "detection", "names": ["", "nodule"], "intensity": intensity}
    found = answered(voxels, affine, {**network, "labels": [], "threshold": 0.5, "first_label": 3})
    (ball,) = found["detections"]
    assert ball["center"] == pytest.approx((14, 30, 12), abs=0.3)
    low, high = ball["box"]
    inside = np.argwhere(distance <= 5)
    assert np.array(low) == pytest.approx(inside.min(axis=0), abs=1)
    assert np.array(high) == pytest.approx(inside.max(axis=0), abs=1)
    assert 2 * ((found["labels"] == 3) & (voxels > 0)).sum() > 1.9 * (voxels > 0).sum()


SEGMENTING = {
    "task": "segmentation",
    "spacing_mm": None,
    "axes": "RAS",
    "roi": [16, 16, 16],
    "overlap": 0.25,
    "blending": "constant",
    "padding": 0,
    "activation": "none",
    "labels": [0, 1],
    "threshold": None,
    "volumes": {},
}


def answered(voxels: np.ndarray, affine: np.ndarray, network: dict[str, Any]) -> Any:
    """What comes of a network whose second channel is its input."""
    batches = batches_of([Source(voxels, affine)], network, 8)
    batch = next(batches)
    while True:
        try:
            batch = batches.send(np.concatenate([1 - batch, batch], axis=1))
        except StopIteration as ended:
            return ended.value[0]


def test_stack_that_leans_by_less_than_half_a_pixel_is_left_as_it_is() -> None:
    volume = RNG.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    grid = grid_over(volume.shape, leaning((0.1, 0.1)), "LPS", None)
    assert np.array_equal(onto(volume, grid), volume.transpose(2, 1, 0))


def test_native_axes_are_the_stacks_own() -> None:
    volume = RNG.integers(-1000, 1000, (20, 5, 6)).astype(np.int16)
    assert np.array_equal(onto(volume, grid_over(volume.shape, leaning(LEANS[0]), "native", None)), volume)
