"""`is`, `as` and `ofType`, as functions and as operators (FHIRPath N1 §5.2.4, §6.3)."""

from collections.abc import Callable, Mapping
from typing import Any

from fhir.fhirpath.errors import EvaluationFailed
from fhir.fhirpath.items import Collection

OfType = Callable[[Any], bool]


def _is(fits: OfType) -> Callable[[Collection], Collection]:
    def apply(items: Collection) -> Collection:
        if len(items) > 1:
            raise EvaluationFailed("One value is needed to ask for its type.")
        return [fits(items[0])] if items else []

    return apply


def _of_type(fits: OfType) -> Callable[[Collection], Collection]:
    return lambda items: [item for item in items if fits(item)]


# R4's own invariants apply `as` to collections, so it filters like ofType and does not insist on one item.
TYPE_FUNCTIONS: Mapping[str, Callable[[OfType], Callable[[Collection], Collection]]] = {
    "is": _is,
    "as": _of_type,
    "ofType": _of_type,
}
