"""Why a series cannot become a volume, in a code for machines and a sentence for people."""

from enum import Enum

from server.kernel.faults import Fault, FaultKind

LARGEST_INPUT_VOXELS = 1 << 31  # 8192 slices of 512 x 512; headers may claim any size before a pixel is read


class RefusalReason(Enum):
    """The closed set of reasons; the value is stable and goes into metrics and workitems."""

    NO_IMAGES = "no-images"
    NOT_WANTED = "not-wanted"
    TOO_FEW_SLICES = "too-few-slices"
    MISSING_ATTRIBUTE = "missing-attribute"
    INVALID_ATTRIBUTE = "invalid-attribute"
    MIXED_SERIES = "mixed-series"
    NOT_PARALLEL = "not-parallel"
    NOT_IN_LINE = "not-in-line"
    DUPLICATE_POSITION = "duplicate-position"
    MISSING_SLICES = "missing-slices"
    MULTI_FRAME = "multi-frame"
    SEVERAL_VOLUMES = "several-volumes"
    MISSING_VIEWS = "missing-views"
    NOT_HOUNSFIELD = "not-hounsfield"
    TRANSFER_SYNTAX_NOT_SUPPORTED = "transfer-syntax-not-supported"
    PIXEL_DATA_UNREADABLE = "pixel-data-unreadable"
    LIMIT_EXCEEDED = "limit-exceeded"


class SeriesRefused(Fault):
    """The series is stored and stays so, but no model can be run on it."""

    kind = FaultKind.UNPROCESSABLE

    def __init__(self, reason: RefusalReason, text: str) -> None:
        super().__init__(text)
        self.reason = reason

    @property
    def code(self) -> str:
        """The reason as its stable code."""
        return self.reason.value


def require_voxels(count: int) -> None:
    """Refuse more voxels than are read, before memory for them is taken."""
    if count > LARGEST_INPUT_VOXELS:
        raise SeriesRefused(
            RefusalReason.LIMIT_EXCEEDED, f"the input has {count} voxels; {LARGEST_INPUT_VOXELS} are taken"
        )
