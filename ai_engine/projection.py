"""Radiographs as a model gets them: each of its own size and view, and without a place in the patient."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Code Value of View Code Sequence (CID 4014 View for Mammography, SNOMED CT) → the ACR's name in that table
MAMMOGRAPHY_VIEWS: Mapping[str, str] = {
    "399162004": "CC",
    "399368009": "MLO",
    "399260004": "ML",
    "399352003": "LM",
    "399099002": "LMO",
    "399196006": "FB",
    "399188001": "SIO",
    "441555000": "ISO",
    "399192008": "XCCL",
    "399101009": "XCCM",
}


@dataclass(frozen=True, slots=True, eq=False)
class ProjectionImage:
    """One radiograph.

    `pixels` is float32 with axes (row, column), from 0 (black) to 1 (white) as it is meant to be shown.
    `spacing_mm` lies between rows and columns, at the patient where the magnification is stated, else at the
    detector; None: not stated. `view` is a name of `MAMMOGRAPHY_VIEWS` or the View Position; "": not stated.
    """

    pixels: NDArray[np.float32]
    spacing_mm: tuple[float, float] | None
    view: str
    laterality: str  # "L", "R", "B", "U"; "": not stated
    sop_instance_uid: str

    @property
    def name(self) -> str:
        """What `wants.views` calls it: "L-CC", or "PA" where no side is stated."""
        return "-".join(part for part in (self.laterality, self.view) if part)
