"""Which series a model wants: the part of its manifest that routing and preprocessing obey."""

from collections.abc import Collection
from typing import Literal

import msgspec

from ai_engine.attributes import AttributeRule, Attributes
from ai_engine.kernels import Sharpness
from terminology.definitions import sop_classes

NO_AGENT = frozenset({"", "NONE", "NO", "N"})  # what scanners write in Contrast/Bolus Agent for none
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
    maximum_tilt_degrees: float | None = None  # of the gantry; the affine of a tilted stack is sheared
    units: Units | None = None  # None: Hounsfield units for CT, the rescaled values for others
    input: Literal["volume", "projections"] = "volume"  # one series as a volume, or radiographs of the study
    views: tuple[str, ...] = ()  # of projections: one image each of "L-CC", "PA", …; empty: all
    several_volumes: Literal["refuse", "first"] = "refuse"  # echoes, b values, points in time in one series
    contrast: Literal["with", "without"] | None = None  # by Contrast/Bolus Agent
    kernel: Sharpness | None = None  # what is preferred where a study has several reconstructions
    attributes: tuple[AttributeRule, ...] = ()  # what each image must fit
    quiet_time_s: float = 60.0  # without a new instance before the series counts as settled

    def sop_class_uids(self) -> frozenset[str]:
        """The UIDs of `sop_classes`."""
        return frozenset(uid for keyword in self.sop_classes if (uid := uid_of(keyword)))

    def accepts_image_type(self, image_type: Collection[str | float]) -> bool:
        """Whether an image of this Image Type (0008,0008) may be part of the input."""
        return not set(self.excluded_image_types) & {str(value) for value in image_type}

    @property
    def asked(self) -> frozenset[str]:
        """The keywords of the attributes that `unmet` looks at."""
        of_contrast = ("ContrastBolusAgent",) if self.contrast is not None else ()
        return frozenset(rule.keyword for rule in self.attributes).union(of_contrast)

    def unmet(self, attributes: Attributes) -> str | None:
        """What an image with these attributes does not fit, in words that follow "it"; None: it fits."""
        agents = {str(value).upper() for value in attributes.get("ContrastBolusAgent", ())} - NO_AGENT
        if self.contrast is not None and bool(agents) != (self.contrast == "with"):
            return f"is {'with' if agents else 'without'} contrast medium by ContrastBolusAgent"
        missed = [rule.keyword for rule in self.attributes if not rule.accepts(attributes)]
        return f"is not as asked in {', '.join(missed)}" if missed else None

    def accepts_series(self, modality: str | None, sop_class_uid: str, body_part: str | None = None) -> bool:
        """Whether a series goes to this model; what a series does not state is not held against it."""
        return (
            (not modality or not self.modalities or modality in self.modalities)
            and (not self.sop_classes or sop_class_uid in self.sop_class_uids())
            and (not body_part or not self.body_parts or body_part.upper() in self.body_parts)
        )
