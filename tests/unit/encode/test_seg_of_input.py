"""A voxel marked in the input lies in the Segmentation where its image says: tilted, turned, as frames."""

import random
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.images import Source
from ai_engine.encode.seg import build_seg
from ai_engine.encode.source import Making
from ai_engine.phantom.chest import make_phantom
from ai_engine.phantom.datasets import PhantomStudy
from ai_engine.phantom.enhanced import enhanced
from ai_engine.phantom.series import SMALL, numbered_from_the_head, oblique_series, small_series, tilted
from ai_engine.preprocess.volume import build_volume
from ai_engine.wants import Wants

from .conftest import make_findings

ANY = Wants(modalities=(), sop_classes=())
AT = (7, 20, 33)  # row and column, on the slice that is the eighth from the feet


def frames(series: Sequence[FileDataset]) -> list[FileDataset]:
    order = list(range(len(series)))
    random.Random(4).shuffle(order)
    return [enhanced(series, order)]


def oblique(_: Sequence[FileDataset]) -> list[FileDataset]:
    study = PhantomStudy()
    return oblique_series(make_phantom(SMALL, study.uid("frame-of-reference")), study, 30)


KINDS: dict[str, Callable[[list[FileDataset]], list[FileDataset]]] = {
    "as it is": list,
    "numbered from the head": numbered_from_the_head,
    "oblique": oblique,
    "tilted": lambda series: tilted(series, 20),
    "frames": frames,
    "tilted frames": lambda series: frames(tilted(series, -15)),
}


def place_in(seg: Dataset) -> NDArray[np.float64]:
    """The place of the one pixel that is set, by the plane of its frame (PS3.3 C.7.6.2.1.1)."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    (group,) = seg.PerFrameFunctionalGroupsSequence
    plane = group.get("PlanePositionSequence") or shared.PlanePositionSequence
    orientation = shared.get("PlaneOrientationSequence") or group.PlaneOrientationSequence
    cosines = np.array(orientation[0].ImageOrientationPatient, float)
    row_spacing, column_spacing = map(float, shared.PixelMeasuresSequence[0].PixelSpacing)
    ((row, column),) = np.argwhere(seg.pixel_array.reshape(seg.Rows, seg.Columns))
    across, down = cosines[:3] * column_spacing * column, cosines[3:] * row_spacing * row
    return np.array(plane[0].ImagePositionPatient, float) + across + down


@pytest.mark.parametrize("kind", KINDS)
def test_a_mark_lies_where_its_image_says(kind: str, making: Making) -> None:
    volume = build_volume(KINDS[kind](small_series()), ANY)
    labels = np.zeros(volume.voxels.shape, np.uint8)
    labels[AT] = 1
    source = Source(volume.slices, volume.frame_numbers, volume.voxels)
    made = build_seg(Analysed(make_findings(labels), source), making)
    assert made is not None
    np.testing.assert_allclose(place_in(made.dataset), volume.geometry.position_lps_mm(AT), atol=1e-3)
    header = volume.slices[AT[0]]
    cosines, spacing = np.array(header.ImageOrientationPatient, float), list(map(float, header.PixelSpacing))
    by_header = np.array(header.ImagePositionPatient, float)
    by_header += cosines[:3] * spacing[1] * AT[2] + cosines[3:] * spacing[0] * AT[1]
    np.testing.assert_allclose(place_in(made.dataset), by_header, atol=1e-3)
