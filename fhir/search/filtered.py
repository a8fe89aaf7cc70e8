"""What the operators of `_filter` ask of each type of parameter (FHIR R4 search_filter.html#ops)."""

from collections.abc import Mapping

from fhir.search.conditions import Condition, Criterion
from fhir.search.definitions import SearchParameter, SearchType
from fhir.search.filter import Comparison
from fhir.search.value import PREFIXES, InvalidSearch, UnsupportedSearch

ORDERED = frozenset({"gt", "lt", "ge", "le", "ap", "sa", "eb"})  # the prefixes of the same names
NEGATED: Mapping[str, str] = {"ne": "eq", "ni": "in"}
TERMINOLOGICAL: Mapping[str, str] = {"in": "in", "ss": "above", "sb": "below"}  # as modifiers of a token

# The modifiers that stand for the other operators; None: a value without modifier.
MODIFIER_OF: Mapping[SearchType, Mapping[str, str | None]] = {
    SearchType.STRING: {"eq": "equals", "co": "contains", "sw": None, "ew": "ends"},
    SearchType.TOKEN: {"eq": None, **TERMINOLOGICAL},
    SearchType.REFERENCE: {"eq": None, "re": None},
    SearchType.URI: {"eq": None, "sw": "starts", "ss": "above", "sb": "below"},
    SearchType.DATE: {"eq": None, "po": "overlaps"},
    SearchType.NUMBER: {"eq": None},
    SearchType.QUANTITY: {"eq": None},
}
_WITH_PREFIX = frozenset({SearchType.DATE, SearchType.NUMBER, SearchType.QUANTITY})


def compared(parameter: SearchParameter, asked: Comparison) -> Condition:
    """The condition of a comparison whose operator is not negated.

    Raises:
        InvalidSearch: the value of `pr` is not true or false.
        UnsupportedSearch: the operator means nothing for that type of parameter.
    """
    if asked.operator == "pr":
        if asked.value not in ("true", "false"):
            raise InvalidSearch("In '_filter' the value of 'pr' is true or false.")
        return Criterion(parameter, None, (), asked.value == "false")
    value = asked.value.replace("\\", "\\\\")  # raw, as in a criterion; it is one value, whatever is in it
    if parameter.type in _WITH_PREFIX:
        if value[:2] in PREFIXES:
            raise InvalidSearch("In '_filter' a value has no prefix: that is the operator.")
        if asked.operator in ORDERED:
            return Criterion(parameter, None, (asked.operator + value,))
    modifiers = MODIFIER_OF.get(parameter.type, {})
    if asked.operator not in modifiers or (parameter.code == "_id" and asked.operator != "eq"):
        raise UnsupportedSearch(f"In '_filter' '{asked.operator}' means nothing for '{parameter.code}'.")
    return Criterion(parameter, modifiers[asked.operator], (value,))
