"""Runs whose windows are ours: volumes to batches of windows, what a network says of them to answers; numpy.

Without input or output: `batches_of` yields batches and is sent what the network says of each, so that one
network in the child and one behind HTTP are driven alike, and windows of several volumes share a batch.

`network` is the section of that name of the manifest (`ai_engine.network`), as JSON.

Rule: imports numpy and its neighbours here only; it also runs in the child, which sees nothing else of ours.
"""

import math
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ai_engine.runners.grids import Grid, grid_over, onto
from ai_engine.runners.heat import found_in
from ai_engine.runners.label_maps import count_fractions, labels_from
from ai_engine.runners.resampling import resample
from ai_engine.runners.windows import Blend, Extent, Layout, cut, lay_out, pad, size_up, weights_of

Json = Any
FLOAT_BYTES = 4
START_BYTES = 88  # of a window: three numbers that others share, and a place in a list
Batches = Generator[NDArray[np.float32], NDArray[np.generic], list[Mapping[str, Json]]]


class NotFinite(Exception):
    """The network said something that is no number."""


class WrongShape(Exception):
    """The network's answer does not fit the windows it was given."""


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One volume, (slice, row, column), and its affine to LPS mm."""

    voxels: NDArray[np.generic]
    affine: NDArray[np.float64]


@dataclass(slots=True)
class _Run:
    """A volume on its way through the network."""

    source: Source
    grid: Grid
    layout: Layout
    blend: Blend
    volume: NDArray[np.float32] | None  # padded; let go with the last window
    missing: int  # windows that the network has not answered


def batches_of(sources: Sequence[Source], network: Mapping[str, Json], most: int) -> Batches:
    """Yields windows (batch, 1, …), up to `most` at once; returns one answer for each source.

    Raises:
        NotFinite, WrongShape: what was sent back is no answer.
    """
    answers: list[Mapping[str, Json]] = [{} for _ in sources]
    waiting: list[tuple[int, _Run, Extent]] = []
    for number, source in enumerate(sources):
        run = _begin(source, network)
        for start in run.layout.starts:
            waiting.append((number, run, start))
            if len(waiting) == most:
                _take_in((yield _windows(waiting)), waiting, answers, network)
    if waiting:
        _take_in((yield _windows(waiting)), waiting, answers, network)
    return answers


def memory_needed(source: Source, network: Mapping[str, Json]) -> int:
    """Bytes that a volume takes at least on its way: computed beforehand, nothing is made.

    The grid, what the windows say of it and how much they count; the weights of one window; a batch and its
    answer, as arrays and as bytes; the places of the windows.

    Raises:
        GridTooLarge: no memory is enough.
    """
    grid = grid_over(source.voxels.shape, source.affine, network["axes"], network["spacing_mm"])
    roi, whole = network["roi"], network["task"] == "classification"
    voxels, windows = size_up(roi if whole else grid.shape, roi, network["overlap"])
    channels = len(network["labels"] or network["names"])
    said = 0 if whole else channels  # scores are not blended
    together = min(windows, network["batch"])
    batch = 2 * together * (1 + (0 if whole else channels)) + 1
    standing = 0 if grid.tilt is None else math.prod(grid.tilt.shape)  # let go before the windows begin
    floats: int = math.prod(grid.shape) * whole + voxels * (said + 2) + math.prod(roi) * batch
    floats = max(floats, standing + math.prod(grid.shape))
    fractions = math.prod(source.voxels.shape) * count_fractions(source.voxels.shape, network)
    return floats * FLOAT_BYTES + windows * START_BYTES + fractions


def _begin(source: Source, network: Mapping[str, Json]) -> _Run:
    grid = grid_over(source.voxels.shape, source.affine, network["axes"], network["spacing_mm"])
    volume = scaled(onto(source.voxels, grid), network["intensity"])
    roi = network["roi"]
    if network["task"] == "classification":
        volume = fitted(volume, roi)
    layout = lay_out(volume.shape, roi, network["overlap"])
    blend = Blend(layout, weights_of(layout.roi, network["blending"]))
    return _Run(source, grid, layout, blend, pad(volume, layout, network["padding"]), len(layout.starts))


def scaled(volume: NDArray[np.float32], intensity: Mapping[str, Json] | None) -> NDArray[np.float32]:
    """The volume with `low` … `high` brought to `to_low` … `to_high`; changed in place."""
    if intensity is None:
        return volume
    low, high, to_low, to_high = (intensity[name] for name in ("low", "high", "to_low", "to_high"))
    volume -= low
    volume *= (to_high - to_low) / (high - low)
    volume += to_low
    if intensity["clip"]:
        np.clip(volume, min(to_low, to_high), max(to_low, to_high), out=volume)
    return volume


def fitted(volume: NDArray[np.float32], roi: Sequence[int]) -> NDArray[np.float32]:
    """The whole volume stretched or shrunk to the window."""
    for axis, size in enumerate(roi):
        if volume.shape[axis] != size:
            last = volume.shape[axis] - 1
            volume = resample(volume, axis, np.linspace(0, last, size))
    return volume


def _windows(waiting: Sequence[tuple[int, _Run, Extent]]) -> NDArray[np.float32]:
    cuts = [cut(run.volume, start, run.layout.roi) for _, run, start in waiting if run.volume is not None]
    return np.stack(cuts)[:, None]


def _take_in(
    said: NDArray[np.generic],
    waiting: list[tuple[int, _Run, Extent]],
    answers: list[Mapping[str, Json]],
    network: Mapping[str, Json],
) -> None:
    """Blend a batch's answer in; volumes whose last window it was get theirs."""
    values = _checked(said, waiting, network)
    for (number, run, start), window in zip(waiting, values, strict=True):
        run.missing -= 1
        if network["task"] == "classification":
            answers[number] = {"scores": scores_from(activated(window, network["activation"]), network)}
            continue
        run.blend.add(start, window)
        if not run.missing:
            answers[number] = _answer(run, network)
    waiting.clear()


def _checked(
    said: NDArray[np.generic], waiting: Sequence[tuple[int, _Run, Extent]], network: Mapping[str, Json]
) -> NDArray[np.float32]:
    values = np.asarray(said, np.float32)
    channels = len(network["labels"] or network["names"])
    roi = () if network["task"] == "classification" else waiting[0][1].layout.roi
    if values.shape != (len(waiting), channels, *roi):
        raise WrongShape
    if not np.isfinite(values).all():
        raise NotFinite
    return values


def _answer(run: _Run, network: Mapping[str, Json]) -> Mapping[str, Json]:
    run.volume = None
    likely = activated(run.blend.result(run.grid.shape), network["activation"])
    if network["task"] == "detection":
        return found_in(likely, run.grid, network)
    labels, fractions = labels_from(likely, run.grid, network)
    values = volumes_of(labels, run.source.affine, network["volumes"])
    return {"labels": labels, "fractions": fractions, "values": values}


def activated(values: NDArray[np.float32], activation: str) -> NDArray[np.float32]:
    """Logits (channel, …) to probabilities; changed in place."""
    if activation == "softmax":
        values -= values.max(axis=0)
        np.exp(values, out=values)
        values /= values.sum(axis=0)
    elif activation == "sigmoid":
        np.negative(values, out=values)
        np.exp(np.minimum(values, 80, out=values), out=values)
        values += 1
        np.reciprocal(values, out=values)
    return values


def scores_from(values: NDArray[np.float32], network: Mapping[str, Json]) -> list[Json]:
    """A score for each channel that has a name."""
    return [
        {"name": name, "probability": float(value)}
        for name, value in zip(network["names"], values, strict=True)
        if name
    ]


def volumes_of(
    labels: NDArray[np.uint8], affine: NDArray[np.float64], names: Mapping[str, str]
) -> list[Json]:
    """The volume in cm3 of each label that has a name for it."""
    if not names:
        return []
    counts = np.bincount(labels.ravel(), minlength=256)
    voxel_cm3 = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return [{"name": name, "value": float(counts[int(number)]) * voxel_cm3} for number, name in names.items()]
