"""Which series a model wants: the part of its manifest that routing and preprocessing obey."""

from collections.abc import Collection
from typing import Literal

import msgspec

from terminology.definitions import sop_classes

Units = Literal["hounsfield", "rescaled", "real-world", "stored"]


def uid_of(keyword: str) -> str | None:
    """The UID of the SOP Class with this keyword (PS3.6 Table A-1), or None."""
    uid = getattr(sop_classes, keyword, None)
    return uid if uid in sop_classes.SOP_CLASSES else None


class Wants(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a series must be. An empty tuple and a None set no limit.

    `modalities`, `sop_classes`, `body_parts` and `excluded_image_types` decide whether a series is routed to
    the model at all; the numbers decide whether the model accepts it, and a refusal says which was missed.
    """

    modalities: tuple[str, ...]
    sop_classes: tuple[str, ...]  # keywords of PS3.6 Table A-1
    body_parts: tuple[str, ...] = ()  # Body Part Examined; a series that states none is taken
    excluded_image_types: tuple[str, ...] = ("LOCALIZER",)  # any value of Image Type
    minimum_slices: int = 2
    maximum_slice_spacing_mm: float | None = None
    maximum_slice_thickness_mm: float | None = None
    maximum_pixel_spacing_mm: float | None = None
    minimum_extent_mm: float | None = None  # along the stack of slices
    units: Units | None = None  # None: Hounsfield units for CT, the rescaled values for others
    several_volumes: Literal["refuse", "first"] = (
        "refuse"  # echoes, b values, points in time, … in one series
    )
    quiet_time_s: float = 60.0  # without a new instance before the series counts as settled

    def sop_class_uids(self) -> frozenset[str]:
        """The UIDs of `sop_classes`."""
        return frozenset(uid for keyword in self.sop_classes if (uid := uid_of(keyword)))

    def accepts_image_type(self, image_type: Collection[str]) -> bool:
        """Whether an image of this Image Type (0008,0008) may be part of the input."""
        return not set(self.excluded_image_types) & {str(value) for value in image_type}

    def accepts_series(self, modality: str | None, sop_class_uid: str, body_part: str | None = None) -> bool:
        """Whether a series goes to this model; what a series does not state is not held against it."""
        return (
            (not modality or not self.modalities or modality in self.modalities)
            and (not self.sop_classes or sop_class_uid in self.sop_class_uids())
            and (not body_part or not self.body_parts or body_part.upper() in self.body_parts)
        )
