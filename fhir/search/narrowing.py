"""The criteria that granular scopes are held to (SMART App Launch 2.2, Finer-grained resource constraints).

Only what the index answers alike for every caller and at every time: parameters of the type itself, without
modifiers and chains, of types whose values mean the same on every day.
"""

from fhir.search.conditions import Condition
from fhir.search.criteria import Criteria, UnknownParameter
from fhir.search.definitions import SearchType, parameters_of
from fhir.search.value import UnsupportedSearch

MAX_CRITERIA = 5  # of one scope
MAX_CRITERIA_TEXT = 500  # characters of them, as sent

_HELD_TO = frozenset({SearchType.TOKEN, SearchType.REFERENCE, SearchType.URI})


def narrowing(resource_type: str, name: str, value: str) -> Condition:
    """The condition of one criterion.

    Raises:
        UnsupportedSearch, InvalidSearch: it is none that a scope is held to.
    """
    parameter = parameters_of(resource_type).get(name)
    if parameter is None or parameter.type not in _HELD_TO:
        raise UnsupportedSearch(f"Scopes of {resource_type} are not held to this parameter.")
    try:
        condition = Criteria(None).read(resource_type, name, value)
    except UnknownParameter:
        condition = None
    if condition is None:
        raise UnsupportedSearch("A criterion of a scope needs a value.")
    return condition
