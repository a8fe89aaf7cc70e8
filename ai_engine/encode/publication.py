"""One result as the DICOM files to publish: the same inputs make the same bytes."""

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom import Dataset, config

from ai_engine.encode.analysed import Analysed
from ai_engine.encode.companions import Companions
from ai_engine.encode.images import Source
from ai_engine.encode.measurements import Basis
from ai_engine.encode.seg import build_seg
from ai_engine.encode.source import InstanceReference, Making, reference_to, write_part10
from ai_engine.encode.sr import build_sr
from ai_engine.findings import Findings
from ai_engine.manifest import ResultObjects

SEG_AND_SR = ResultObjects()


@dataclass(frozen=True, slots=True)
class EncodedObject:
    """One instance: what it is called, and its Part 10 file."""

    reference: InstanceReference
    part10: bytes


@dataclass(frozen=True, slots=True)
class EncodedResult:
    """The objects of one result.

    `seg` is None when no segment has a voxel, `pdf` when none is asked for; `others` are key objects and
    pictures.
    """

    seg: EncodedObject | None
    sr: EncodedObject
    others: tuple[EncodedObject, ...] = ()
    pdf: EncodedObject | None = None

    @property
    def objects(self) -> tuple[EncodedObject, ...]:
        """All of them."""
        return tuple(each for each in (self.seg, self.sr, *self.others, self.pdf) if each is not None)


def encode(
    findings: Findings,
    source: Source,
    making: Making,
    predecessors: Sequence[InstanceReference] = (),
    asked: ResultObjects = SEG_AND_SR,
) -> EncodedResult:
    """Encode the findings. CPU-bound (some seconds for a large label map): call it in a thread.

    Args:
        findings: of one series.
        source: its images in the order of the labels' axis 0 (`Volume.slices`); headers suffice, and voxels
            where pictures are asked for.
        making: by whom, when, and the UIDs.
        predecessors: the SRs of earlier results that this one replaces.
        asked: which objects the manifest asks for.

    Raises:
        ShapeMismatch: the labels do not cover exactly these slices.
        UndescribedLabel: a voxel belongs to no described segment.
        NoPlaceInPatient: there are labels, and the images do not say where they lie.
    """
    with config.disable_value_validation():  # its warnings would put the source's values into the log
        analysed = Analysed(findings, source)
        seg = build_seg(analysed, making, asked.segmentation)
        sr = _encoded(build_sr(Basis(analysed, seg), making, predecessors))
        companions = Companions(analysed, making, asked)
        others = tuple(map(_encoded, companions.images()))
        pdf = _encoded(companions.document(sr.reference)) if asked.pdf else None
        return EncodedResult(None if seg is None else _encoded(seg.dataset), sr, others, pdf)


def _encoded(made: Dataset) -> EncodedObject:
    return EncodedObject(reference_to(made), write_part10(made))
