"""What a model may ask of an image's attributes, beyond its kind: rows of a table in its manifest.

The same question is asked when a study is routed (of DICOM JSON) and when the input is built (of data sets).
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

NUMBERS: Final = frozenset(
    {
        *("EchoTime", "RepetitionTime", "InversionTime", "FlipAngle", "EchoTrainLength", "DiffusionBValue"),
        *("MagneticFieldStrength", "KVP", "SliceThickness", "SpacingBetweenSlices"),
    }
)
TEXTS: Final = frozenset(
    {
        *("ContrastBolusAgent", "ConvolutionKernel", "ScanningSequence", "SequenceVariant", "ScanOptions"),
        *("MRAcquisitionType", "AcquisitionContrast", "ImageType", "PatientPosition", "ViewPosition"),
        *("ImageLaterality", "PresentationIntentType", "BodyPartExamined", "Manufacturer"),
    }
)
ASKABLE: Final = NUMBERS | TEXTS

Attributes = Mapping[str, Sequence[str | float]]  # by keyword; absent: not stated


class AttributeRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One row: what an attribute must be. An image that does not state it passes, unless `stated` is true."""

    keyword: str  # of `ASKABLE`
    at_least: float | None = None
    at_most: float | None = None
    one_of: tuple[str, ...] = ()  # any of its values is one of these, in whatever case
    none_of: tuple[str, ...] = ()
    stated: bool | None = None  # true: it must be; false: it must not

    def accepts(self, attributes: Attributes) -> bool:
        """Whether an image with these attributes passes."""
        values = [value for value in attributes.get(self.keyword, ()) if value != ""]
        if not values:
            return not self.stated
        return self.stated is not False and all(map(self._within, values)) and self._named(values)

    def _within(self, value: str | float) -> bool:
        if self.at_least is None and self.at_most is None:
            return True
        if isinstance(value, str):
            return False
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    def _named(self, values: Sequence[str | float]) -> bool:
        names = {str(value).upper() for value in values}
        return (not self.one_of or not names.isdisjoint(map(str.upper, self.one_of))) and names.isdisjoint(
            map(str.upper, self.none_of)
        )


def problems_of(rules: Sequence[AttributeRule]) -> list[str]:
    """What is wrong with the rows themselves, in words for who writes a manifest."""
    asked = [each.keyword for each in rules]
    unknown = [f"{each} is no attribute that a model may ask for" for each in asked if each not in ASKABLE]
    limits = [
        f"{each.keyword} is no number"
        for each in rules
        if each.keyword in TEXTS and (each.at_least is not None or each.at_most is not None)
    ]
    return unknown + limits
