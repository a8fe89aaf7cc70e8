"""One result as the DICOM files to publish: the same inputs make the same bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset, config

from ai_engine.encode.seg import build_seg
from ai_engine.encode.source import InstanceReference, Making, reference_to, write_part10
from ai_engine.encode.sr import Basis, build_sr
from ai_engine.findings import Findings


@dataclass(frozen=True, slots=True)
class EncodedObject:
    """One instance: what it is called, and its Part 10 file."""

    reference: InstanceReference
    part10: bytes


@dataclass(frozen=True, slots=True)
class EncodedResult:
    """The objects of one result; `seg` is None when no segment has a voxel."""

    seg: EncodedObject | None
    sr: EncodedObject


def encode(
    findings: Findings,
    slices: Sequence[Dataset],
    making: Making,
    predecessors: Sequence[InstanceReference] = (),
) -> EncodedResult:
    """Encode the findings. CPU-bound (about a second for a large label map): call it in a thread.

    Args:
        findings: of one series.
        slices: its images in the order of the labels' axis 0 (`Volume.slices`); headers suffice.
        making: by whom, when, and the UIDs.
        predecessors: the SRs of earlier results that this one replaces.

    Raises:
        ShapeMismatch: the labels do not cover exactly these slices.
        UndescribedLabel: a voxel belongs to no described segment.
    """
    with config.disable_value_validation():  # its warnings would put the source's values into the log
        seg = build_seg(slices, findings, making)
        sr = build_sr(findings, Basis(slices, seg, predecessors), making)
        return EncodedResult(None if seg is None else _encoded(seg.dataset), _encoded(sr))


def _encoded(made: Dataset) -> EncodedObject:
    return EncodedObject(reference_to(made), write_part10(made))
