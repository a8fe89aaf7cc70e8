"""`_include` and `_revinclude` of a search (FHIR R4 search.html#include)."""

from collections.abc import Sequence

from fhir.search.conditions import Include, SearchQuery
from fhir.search.definitions import (
    EVERY_RESOURCE,
    SearchParameter,
    SearchType,
    parameters_of,
    resource_types,
    stored_types,
)
from fhir.search.value import InvalidSearch, UnsupportedSearch

MAX_INCLUDES = 50  # parameters `_include` and `_revinclude`
EVERY_REFERENCE = "*"
ITERATE = frozenset({"iterate", "recurse"})  # the latter is its name of before R4

_ANY: tuple[SearchParameter, ...] = ()
INCLUDE, REVERSE_INCLUDE = "_include", "_revinclude"


def read_include(query: SearchQuery, name: str, modifier: str, value: str) -> Include:
    """The include of a parameter: `Type:parameter[:Type]`, `Type:*` or `*`.

    Raises:
        InvalidSearch: it names no reference, or there are too many.
        UnsupportedSearch: a modifier that is not `iterate`.
    """
    if modifier and modifier not in ITERATE:
        raise UnsupportedSearch(f"'{name}' takes no modifier but 'iterate'.")
    if len(query.includes) >= MAX_INCLUDES:
        raise InvalidSearch(f"More than {MAX_INCLUDES} '_include' and '_revinclude'.")
    reverse, iterate = name == REVERSE_INCLUDE, bool(modifier)
    anywhere = iterate or query.resource_type == EVERY_RESOURCE
    if value == EVERY_REFERENCE and (reverse or anywhere):
        return _of_any_type(query.resource_type, anywhere, reverse=reverse, iterate=iterate)
    source_type, code, target_type = _parts(
        name, query.resource_type, value, starts_here=not (reverse or anywhere)
    )
    parameters = tuple(_references(source_type, code))
    if not parameters:
        raise InvalidSearch(f"'{name}' names no reference parameter of that resource type.")
    return Include(source_type, parameters, target_type, reverse, iterate)


def _of_any_type(searched: str, anywhere: bool, *, reverse: bool, iterate: bool) -> Include:
    if not reverse:
        return Include(None, _ANY, None, reverse, iterate)
    if anywhere:  # from every resource found, by each of a thousand references
        raise UnsupportedSearch("'_revinclude=*' is not supported here: name what is to be followed.")
    return Include(None, _leading_to(searched), None, reverse, iterate)


def _parts(name: str, searched: str, value: str, *, starts_here: bool) -> tuple[str, str, str | None]:
    if value == EVERY_REFERENCE:
        return searched, EVERY_REFERENCE, None
    source_type, *rest = value.split(":")
    if not 1 <= len(rest) <= 2 or source_type not in resource_types():
        raise InvalidSearch(f"The value of '{name}' is not Type:parameter[:Type].")
    target_type = rest[1] if len(rest) == 2 and rest[1] else None
    if target_type is not None and target_type not in resource_types():
        raise InvalidSearch(f"The target of '{name}' is no resource type.")
    if starts_here and source_type != searched:
        raise InvalidSearch(f"'{name}' starts from another type than the one searched.")
    return source_type, rest[0], target_type


def _references(source_type: str, code: str) -> Sequence[SearchParameter]:
    found = parameters_of(source_type).values()
    return [p for p in found if p.type is SearchType.REFERENCE and code in (p.code, EVERY_REFERENCE)]


def _leading_to(target_type: str) -> tuple[SearchParameter, ...]:
    """Every reference parameter of any type that may lead to this one."""
    return tuple(
        parameter
        for source_type in sorted(stored_types())
        for parameter in _references(source_type, EVERY_REFERENCE)
        if not parameter.targets or target_type in parameter.targets
    )
