"""The functions of FHIRPath N1 §5 and of FHIR R4 (fhirpath.html#functions), by name."""

from collections.abc import Mapping

from fhir.fhirpath.functions import collections, conversion, fhir, logic, numbers, strings
from fhir.fhirpath.functions.function import Function
from fhir.fhirpath.functions.types import TYPE_FUNCTIONS

FUNCTIONS: Mapping[str, Function] = {
    **collections.FUNCTIONS,
    **logic.FUNCTIONS,
    **conversion.FUNCTIONS,
    **strings.FUNCTIONS,
    **numbers.FUNCTIONS,
    **fhir.FUNCTIONS,
}

__all__ = ["FUNCTIONS", "TYPE_FUNCTIONS", "Function"]
