"""Does a resource obey a profile? Rules compiled from StructureDefinitions (FHIR R4 profiling.html)."""

from fhir.model.profiles.check import check_profiles
from fhir.model.profiles.library import Library

__all__ = ["Library", "check_profiles"]
