"""One result to encode: what was found, and the images that it was found in."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ai_engine.encode.images import Source
from ai_engine.findings import Finding, Findings
from ai_engine.slice_names import slice_names
from server.kernel.faults import Fault, FaultKind

MAX_KEY_SLICES = 20  # more than anybody leafs through; the findings come in order of their probability


class ShapeMismatch(Fault):
    """The labels do not cover exactly the source slices."""

    kind = FaultKind.INTERNAL


@dataclass(frozen=True, eq=False)
class Analysed:
    """The findings of one series, and its images in the order of the labels' axis 0."""

    findings: Findings
    source: Source

    @cached_property
    def areas(self) -> NDArray[np.intp]:
        """How many voxels of each plane (axis 0) have each value (axis 1).

        Raises:
            ShapeMismatch: the labels do not cover exactly these slices.
        """
        labels, slices = self.findings.labels, self.source.slices
        if labels is None:
            return np.zeros((len(slices), 256), np.intp)
        expected = (len(slices), int(slices[0].Rows), int(slices[0].Columns))
        if labels.shape != expected or labels.dtype != np.uint8:
            raise ShapeMismatch(f"labels are {labels.dtype} {labels.shape}, not uint8 {expected}")
        return np.stack([np.bincount(plane.ravel(), minlength=256) for plane in labels])

    @cached_property
    def slice_names(self) -> tuple[str, ...]:
        """What to call each slice in words."""
        return slice_names(self.source.slices, self.source.frame_numbers)

    def within(self, slice_index: int) -> int:
        """The slice index, not beyond the first and the last slice."""
        return min(max(slice_index, 0), len(self.source.slices) - 1)

    def slice_with_most_of(self, finding: Finding) -> int | None:
        """The slice that the most of a finding's segment lies on; None: it has none that is drawn."""
        if finding.segment_number is None or not self.areas[:, finding.segment_number].any():
            return None
        return int(self.areas[:, finding.segment_number].argmax())

    def slices_of(self, finding: Finding) -> Iterator[int]:
        """Where a finding is shown: where it lies, or was measured, or the most of its segment is."""
        measured = [each.slice_index for each in finding.measurements if each.slice_index is not None]
        most = self.slice_with_most_of(finding)
        if finding.location is not None:
            yield self.within(finding.location.slice_index)
        elif measured:
            yield from map(self.within, measured)
        elif most is not None:
            yield most

    def key_slices(self) -> list[int]:
        """The slices that show what was found, each once, in the order of the findings.

        Those of the last findings may be left out.
        """
        shown = (at for finding in self.findings.findings for at in self.slices_of(finding))
        return list(dict.fromkeys(shown))[:MAX_KEY_SLICES]
