"""A segmentation that was written is read back, slice by slice, in any order of its sources."""

import dataclasses
from typing import get_args

import numpy as np
import pytest
from pydicom import Dataset

from ai_engine.agreement import dice_with
from ai_engine.encode.analysed import Analysed
from ai_engine.encode.images import Source
from ai_engine.encode.read_seg import SEGMENTATION_CLASSES, masks_of_seg
from ai_engine.encode.seg import SegmentationKind, build_seg
from ai_engine.encode.source import Making, write_part10

from .conftest import blob, make_findings, make_slices


def masks_by_name(part10: bytes, slices: list[Dataset]) -> dict[str, np.ndarray]:
    return {each.tracking_id: each.mask for each in masks_of_seg(part10, slices)}


@pytest.mark.filterwarnings("ignore:The number of bytes of compressed")  # frames this small do not shrink
@pytest.mark.parametrize("kind", get_args(SegmentationKind))
def test_masks_are_those_that_were_drawn(making: Making, kind: SegmentationKind) -> None:
    slices = make_slices()
    labels = blob(slices)
    seg = build_seg(Analysed(make_findings(labels), Source(slices)), making, kind)
    assert seg is not None
    assert seg.dataset.SOPClassUID in SEGMENTATION_CLASSES
    part10 = write_part10(seg.dataset)
    masks = masks_by_name(part10, slices)
    assert masks.keys() == {"left-lung", "right-lung"}
    assert np.array_equal(masks["left-lung"], labels == 1)
    assert np.array_equal(masks["right-lung"], labels == 2)
    turned = masks_by_name(part10, slices[::-1])
    assert np.array_equal(turned["left-lung"], (labels == 1)[::-1])
    moved = np.roll(labels, 1, axis=2)
    one, two = (labels == 1), (moved == 1)
    found = dice_with(masks_of_seg(part10, slices), make_findings(moved))
    assert found["left-lung"] == pytest.approx(2 * (one & two).sum() / (one.sum() + two.sum()))
    assert found["body"] == 0.0  # only one of them has it


def test_other_slices_are_empty(making: Making) -> None:
    slices = make_slices()
    seg = build_seg(Analysed(make_findings(blob(slices)), Source(slices)), making)
    assert seg is not None
    others = make_slices()
    for each in others:
        each.SOPInstanceUID += ".1"
    assert all(not each.mask.any() for each in masks_of_seg(write_part10(seg.dataset), others))


@pytest.mark.filterwarnings("ignore:The number of bytes of compressed")
@pytest.mark.parametrize("kind", get_args(SegmentationKind))
def test_run_agrees_with_itself_whatever_its_threshold(making: Making, kind: SegmentationKind) -> None:
    slices = make_slices()
    labels = blob(slices)
    likely_by_column = np.where(np.arange(labels.shape[2]) % 2, 0.9, 0.3)  # drawn from 0.3 on
    fractions = {n: np.rint(255 * likely_by_column * (labels == n)).astype(np.uint8) for n in (1, 2)}
    findings = make_findings(labels)
    likely = dataclasses.replace(findings, fractions=fractions)
    seg = build_seg(Analysed(likely, Source(slices)), making, kind)
    assert seg is not None
    part10 = write_part10(seg.dataset)
    found = dice_with(masks_of_seg(part10, slices), likely)
    assert (found["left-lung"], found["right-lung"]) == (1, 1)
    without = dice_with(masks_of_seg(part10, slices), findings)
    assert ("left-lung" in without) == (kind != "fractional")  # a drawing against a probability says nothing
