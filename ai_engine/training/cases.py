"""Scans made ready to learn from: generated, brought through the bundle's own preparation, kept as files."""

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ai_engine.bundles.lung_nodule_ct.scripts.grid import Box, lung_box
from ai_engine.bundles.lung_nodule_ct.scripts.orientation import orientation_of
from ai_engine.phantom.nodule_scans.population import POPULATIONS
from ai_engine.phantom.nodule_scans.scan import NoduleScan, make_scan

PAD = 24  # voxels repeated around a box, so that patches may hang over its edge
REGION_POINTS = 4000
STEPS = 255  # of the image's 8 bits: 5.5 HU, below any scan's noise


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """A scan on the network's grid, padded by PAD. `image` uint8, `numbers` uint8 (n: nodule n - 1)."""

    image: NDArray[np.uint8]
    numbers: NDArray[np.uint8]
    region_points: NDArray[np.int16]  # (n, 3), random voxels of the region that is searched
    centres: NDArray[np.int16]  # (nodules, 3)

    def patch(self, centre: NDArray[np.integer], size: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Image (0 to 1) and numbers of a cube around a voxel, moved inwards where it would leave."""
        low = [
            int(np.clip(at - size // 2, 0, whole - size))
            for at, whole in zip(centre, self.image.shape, strict=True)
        ]
        cube = tuple(slice(at, at + size) for at in low)
        return self.image[cube].astype(np.float32) / np.float32(STEPS), np.asarray(self.numbers[cube])


def on_grid(scan: NoduleScan, box: Box) -> NDArray[np.uint8]:
    """The truth at the box's grid points."""
    orientation = orientation_of(scan.geometry.affine)
    assert orientation is not None
    numbers = orientation.to_canonical(scan.nodule_numbers)
    z, y, x = (
        np.clip(np.rint(box.canonical(axis, np.arange(size))), 0, numbers.shape[axis] - 1).astype(int)
        for axis, size in enumerate(box.image.shape)
    )
    truth: NDArray[np.uint8] = numbers[z][:, y][:, :, x]
    return truth


def box_of(scan: NoduleScan) -> Box:
    """The lung box of a generated scan."""
    orientation = orientation_of(scan.geometry.affine)
    box = None if orientation is None else lung_box(orientation.to_canonical(scan.voxels), orientation)
    if box is None:
        raise ValueError("a generated scan shows no lung")
    return box


def make_case(population: str, seed: int) -> Case:
    """Generate a scan and prepare it."""
    scan = make_scan(POPULATIONS[population], seed)
    box = box_of(scan)
    numbers = on_grid(scan, box)
    inside = np.flatnonzero(box.region)
    chosen = np.random.default_rng(seed).choice(inside, REGION_POINTS)
    points = np.stack(np.unravel_index(chosen, box.region.shape), axis=1)
    present = range(1, len(scan.nodules) + 1)
    centres = [np.argwhere(numbers == number).mean(axis=0) for number in present if (numbers == number).any()]
    image = np.rint(box.image * STEPS).astype(np.uint8)
    return Case(
        np.pad(image, PAD, mode="edge"),
        np.pad(numbers, PAD),
        (points + PAD).astype(np.int16),
        (np.array(centres).reshape(-1, 3) + PAD).astype(np.int16),
    )


def save_case(folder: Path, population: str, seed: int) -> None:
    """Write a case unless it is there; it appears whole."""
    target = folder / f"{population}-{seed}"
    if target.exists():
        return
    case = make_case(population, seed)
    part = folder / f"{target.name}.part{os.getpid()}"
    part.mkdir()
    for name in ("image", "numbers", "region_points", "centres"):
        np.save(part / f"{name}.npy", getattr(case, name))
    try:
        part.rename(target)
    except OSError:  # another process was quicker
        shutil.rmtree(part)


def load_case(folder: Path, population: str, seed: int) -> Case:
    """A case, its volumes mapped from the file."""
    at = folder / f"{population}-{seed}"
    image, numbers = (np.load(at / f"{name}.npy", mmap_mode="r") for name in ("image", "numbers"))
    return Case(image, numbers, np.load(at / "region_points.npy"), np.load(at / "centres.npy"))


def workers(count: int) -> ProcessPoolExecutor:
    """Processes to work on scans, one thread each: several of a linear algebra library wait by spinning."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # read when numpy is imported: by the new processes alone
    return ProcessPoolExecutor(count, get_context("spawn"))


class CasePool:
    """Cases made by other processes, in order; asking for one waits until it is there."""

    def __init__(self, folder: Path, wanted: Sequence[tuple[str, int]], processes: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._executor = workers(processes)
        self._made: dict[tuple[str, int], Future[None]] = {
            key: self._executor.submit(save_case, folder, *key) for key in wanted
        }
        self._loaded: dict[tuple[str, int], Case] = {}

    def case(self, population: str, seed: int) -> Case:
        """The case, when it is there."""
        key = population, seed
        if key not in self._loaded:
            self._made[key].result()
            self._loaded[key] = load_case(self._folder, *key)
        return self._loaded[key]

    def close(self) -> None:
        """End the processes."""
        self._executor.shutdown(cancel_futures=True)
