"""Small phantom series and what can be wrong with a series, for tests of everything that reads one."""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from pydicom import Dataset, FileDataset
from pydicom.uid import UID

from ai_engine.phantom.chest import Phantom, PhantomSpec, make_phantom
from ai_engine.phantom.datasets import PhantomStudy, datasets_of, slice_dataset
from server.kernel.uids import derived_uid

SMALL = PhantomSpec(
    slices=24, rows=64, columns=64
)  # 12.5 mm by 6 mm: for geometry, too coarse for measurements


def small_series(study: PhantomStudy | None = None, spec: PhantomSpec = SMALL) -> list[FileDataset]:
    """A small phantom's instances, from the feet upwards."""
    study = study or PhantomStudy()
    return list(datasets_of(make_phantom(spec, study.uid("frame-of-reference")), study))


def numbered_from_the_head(datasets: Sequence[FileDataset]) -> list[FileDataset]:
    """The same slices in the other order, with instance numbers that grow towards the feet."""
    turned = [copy.deepcopy(dataset) for dataset in reversed(datasets)]
    for number, dataset in enumerate(turned, 1):
        dataset.InstanceNumber = number
    return turned


def oblique_series(phantom: Phantom, study: PhantomStudy, degrees: float) -> list[FileDataset]:
    """The phantom in a patient who lies rotated about the x axis; directions and positions turn along."""
    turn = np.radians(degrees)
    rotation = np.eye(4)
    rotation[1:3, 1:3] = [[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]
    geometry = replace(phantom.geometry, affine=rotation @ phantom.geometry.affine)
    return [slice_dataset(voxels, geometry, index, study) for index, voxels in enumerate(phantom.voxels)]


def tilted(datasets: Sequence[FileDataset], degrees: float) -> list[FileDataset]:
    """A stack sheared as by a tilted gantry: each slice shifted along its columns, by its height."""
    shift = np.tan(np.radians(degrees))
    moved = [copy.deepcopy(dataset) for dataset in datasets]
    for dataset in moved:
        x, y, z = map(float, dataset.ImagePositionPatient)
        dataset.ImagePositionPatient = [x, round(y + shift * z, 6), z]
    return moved


def with_gap(datasets: Sequence[FileDataset], missing: Iterable[int]) -> list[FileDataset]:
    """The series without the slices at these indices, counted from 0."""
    left_out = set(missing)
    return [dataset for index, dataset in enumerate(datasets) if index not in left_out]


def with_repetition(datasets: Sequence[FileDataset], index: int) -> list[FileDataset]:
    """The series with one slice sent twice, as two instances."""
    again = copy.deepcopy(datasets[index])
    again.SOPInstanceUID = again.file_meta.MediaStorageSOPInstanceUID = _other_uid(again)
    return [*datasets, again]


def without(datasets: Sequence[FileDataset], keyword: str) -> list[FileDataset]:
    """The series with one attribute missing in every slice."""
    stripped = [copy.deepcopy(dataset) for dataset in datasets]
    for dataset in stripped:
        delattr(dataset, keyword)
    return stripped


def localizer(like: Dataset) -> Dataset:
    """A scout image as scanners put into a series."""
    scout = copy.deepcopy(like)
    scout.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    scout.SOPInstanceUID = _other_uid(scout)
    scout.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    return scout


def _other_uid(dataset: Dataset) -> UID:
    return UID(derived_uid(str(dataset.SOPInstanceUID), "another"))
