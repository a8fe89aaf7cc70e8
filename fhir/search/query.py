"""The parameters of a request become a `SearchQuery` (FHIR R4 search.html).

Known and supported parameters become criteria; unknown ones are left out and not repeated in the self link,
or refused when the client asked for strict handling (search.html#errors). What FHIR defines and this server
does not offer is always refused: leaving it out would widen the result.
"""

from collections.abc import Iterable

from fhir.search.conditions import DEFAULT_COUNT, SearchQuery
from fhir.search.criteria import Criteria, UnknownParameter
from fhir.search.definitions import EVERY_RESOURCE, stored_types
from fhir.search.includes import INCLUDE, REVERSE_INCLUDE, read_include
from fhir.search.result_parameters import MAX_COUNT, PAGE, RESULT_PARAMETERS
from fhir.search.value import InvalidSearch, UnsupportedSearch
from server.kernel.access import Access

__all__ = ["DEFAULT_COUNT", "MAX_COUNT", "PAGE", "RESULT_PARAMETERS", "SearchQuery", "parse_query"]

MAX_PARAMETERS = 100  # each is a subquery
MAX_NAME_CHARACTERS = 200  # a chain of a few links
TYPE = "_type"
WITHOUT_EFFECT = frozenset({"_format", "_pretty"})  # on the answer's form, decided elsewhere

Pairs = Iterable[tuple[str, str]]


def parse_query(
    resource_type: str, pairs: Pairs, *, strict: bool = False, access: Access | None = None
) -> SearchQuery:
    """The search that the name-value pairs of a request describe.

    Chains lead to other types: they need the `access` of who searches.

    Raises:
        InvalidSearch: a value that makes no sense, too many of something, or (strict) an unknown name.
        UnsupportedSearch: what FHIR defines and this server does not offer.
        Forbidden: a chain leads to a type that the caller may not search.
    """
    query, criteria = SearchQuery(resource_type), Criteria(access)
    for at, (name, value) in enumerate(pairs):
        if at >= MAX_PARAMETERS or len(name) > MAX_NAME_CHARACTERS:
            raise InvalidSearch(f"A search has at most {MAX_PARAMETERS} parameters, their names short.")
        if "\x00" in name or "\x00" in value:
            raise InvalidSearch("A search parameter contains NUL.")
        if name in WITHOUT_EFFECT:
            continue
        try:
            understood = _take(query, criteria, name, value)
        except UnknownParameter:
            if strict:
                raise InvalidSearch(f"{resource_type} has no search parameter '{_shown(name)}'.") from None
            continue
        if understood and name != PAGE:
            query.understood.append((name, str(query.count) if name == "_count" else value))
    return query


def _take(query: SearchQuery, criteria: Criteria, name: str, value: str) -> bool:
    """Enter one parameter into the query; whether it belongs into the self link."""
    base, _, modifier = name.partition(":")
    if base in RESULT_PARAMETERS:
        if modifier:
            raise UnsupportedSearch(f"'{base}' takes no modifier here.")
        return RESULT_PARAMETERS[base](query, value)
    if base in (INCLUDE, REVERSE_INCLUDE):
        query.includes.append(read_include(query, base, modifier, value))
        return True
    if name == TYPE:
        query.types = _types(query.resource_type, value)
        return True
    condition = criteria.read(query.resource_type, name, value)
    if condition is not None:
        query.criteria.append(condition)
    return condition is not None


def _types(resource_type: str, value: str) -> tuple[str, ...]:
    if resource_type != EVERY_RESOURCE:
        raise UnsupportedSearch(f"'{TYPE}' is for searches of several types.")
    names = tuple(dict.fromkeys(name for name in value.split(",") if name))
    if not names or not set(names) <= stored_types():
        raise InvalidSearch(f"'{TYPE}' is no list of resource types.")
    return names


def _shown(name: str) -> str:
    """The name if it can be one; a value put in its place is not repeated."""
    return (
        name if name.replace("-", "").replace("_", "").replace(":", "").isalnum() and len(name) < 40 else "…"
    )
