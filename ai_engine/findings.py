"""What a model found, in coded terms: the one value that SEG, SR and (through the SR) FHIR are made from.

Rule: needs no numpy at run time, because manifests are read by the server, which is installed without it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept (PS3.3 8): Code Value, Coding Scheme Designator, Code Meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Who made a result: TID 4019 Algorithm Identification and the FHIR Device."""

    name: str  # stable over versions: "ct-quantification"
    title: str  # for people
    version: str
    manufacturer: str
    family: Code  # CID 7162
    intended_use: str  # "Research use only. Not for clinical use."


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a label map (PS3.3 C.8.20.4)."""

    number: int  # from 1; the value of its voxels in `Findings.labels`
    label: str
    category: Code
    type: Code
    type_modifier: Code | None  # laterality and the like
    tracking_id: str  # stable name within (study, model); its UID is derived when encoding
    recommended_rgb: tuple[int, int, int]
    tracking_salt: str = ""  # as that of its finding


@dataclass(frozen=True, slots=True)
class Measurement:
    """One number with its meaning (TID 300 / TID 1419)."""

    concept: Code
    value: float
    unit: Code  # UCUM
    derivation: Code | None = None  # CID 7464: mean, …
    method: str | None = None  # a sentence: how it was measured
    slice_index: int | None = None  # counted from 0 along axis 0, when measured on one slice


@dataclass(frozen=True, slots=True)
class Point:
    """A place in the source series, said in both coordinate systems."""

    index: tuple[float, float, float]  # slice, row, column; counted from 0, voxel centres are whole numbers
    lps_mm: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Location:
    """Where a finding lies. `long_axis` are the ends of its longest extent within one slice."""

    centre: Point
    long_axis: tuple[Point, Point] | None = None
    box: tuple[Point, Point] | None = None  # the corners with the least and the greatest index

    @property
    def slice_index(self) -> int:
        """The slice that shows it best: that of its long axis, else of its centre."""
        return round((self.long_axis[0] if self.long_axis else self.centre).index[0])


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A qualitative evaluation (PS3.16 TID 1500 row 12): what was judged, and how."""

    concept: Code
    value: Code
    probability: float | None = None  # that `concept` is present, calibrated; None: none is stated
    uncertainty: float | None = None  # of the probability


@dataclass(frozen=True, slots=True)
class QualityFlag:
    """Something about the input or the run that a reader should know."""

    concept: Code
    text: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One measurement group (TID 1410/1411): a finding, where it is, what was measured.

    `tracking_salt` tells findings of one `tracking_id` apart that are not the same thing: "nodule-1" of
    another run may be another nodule. It is part of what the Tracking UID derives from.
    """

    tracking_id: str
    finding: Code
    site: Code | None = None
    laterality: Code | None = None
    segment_number: int | None = None  # the segment it was measured on; its tracking_id is the same
    measurements: tuple[Measurement, ...] = ()
    probability: float | None = None  # calibrated, 0 to 1; None: the model states none
    uncertainty: float | None = None  # of the probability: standard deviation; None: none is stated
    location: Location | None = None
    tracking_salt: str = ""


@dataclass(frozen=True, slots=True)
class NotMeasured:
    """Something the model would measure and could not, and why, in words for a reader."""

    name: str
    reason: str


CERTAIN = 255  # a fraction of 1


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """Everything one run of a model says of one series.

    `labels` is uint8 with axes (slice, row, column) of the source series in Geometry order; 0 is background,
    n is the segment with number n. None: the model draws nothing. `fractions` says how likely segments are,
    by their number: uint8 of the same shape, 255 is certain; those without have labels alone.
    """

    model: ModelIdentity
    segments: tuple[Segment, ...]
    labels: NDArray[np.uint8] | None
    findings: tuple[Finding, ...]
    not_measured: tuple[NotMeasured, ...]
    conclusion: str
    evaluations: tuple[Evaluation, ...] = ()  # of the series as a whole: what was looked for and is not there
    quality: tuple[QualityFlag, ...] = ()
    fractions: Mapping[int, NDArray[np.uint8]] = field(default_factory=dict)
