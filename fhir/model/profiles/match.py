"""Fixed values and patterns (FHIR R4 elementdefinition-definitions.html#ElementDefinition.pattern_x_)."""

from typing import Any

from fhir.fhirpath.equality import freeze

Json = Any


def is_fixed(value: Json, fixed: Json) -> bool:
    """Whether a value is exactly the fixed one; 1.0 is 1."""
    return freeze(value) == freeze(fixed)


def fits_pattern(value: Json, pattern: Json) -> bool:
    """Whether a value has all that the pattern has: of an array, some entry for each of its own."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            name in value and fits_pattern(value[name], below) for name, below in pattern.items()
        )
    if isinstance(pattern, list):
        return isinstance(value, list) and all(
            any(fits_pattern(each, below) for each in value) for below in pattern
        )
    return is_fixed(value, pattern)
