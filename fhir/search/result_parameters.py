"""Parameters that shape a search's answer rather than choose its matches (FHIR R4 search.html#return).

Each reader enters its value into the query, and says whether that belongs into the self link.
"""

import re
from collections.abc import Callable, Iterable, Mapping

from fhir.search.conditions import SearchQuery, SortKey
from fhir.search.definitions import parameters_of
from fhir.search.kinds import KINDS
from fhir.search.subset import Subset, Summary
from fhir.search.value import InvalidSearch, UnsupportedSearch

MAX_COUNT = 1_000  # entries of a page; what a client may hold at once
MAX_SORT_KEYS = 5
MAX_ELEMENTS = 100  # names in `_elements`
_ELEMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

PAGE = "_page"  # our own: where the next page begins


def _take_count(query: SearchQuery, value: str) -> bool:
    if not value.isascii() or not value.isdigit() or len(value) > 10:
        raise InvalidSearch("'_count' is no whole number of zero or more.")
    query.count = min(int(value), MAX_COUNT)
    query.only_count = query.only_count or query.count == 0  # search.html#count: 0 is as _summary=count
    return True


def _take_summary(query: SearchQuery, value: str) -> bool:
    if value not in ("true", "text", "data", "count", "false"):
        raise InvalidSearch("'_summary' is true, text, data, count or false.")
    query.only_count = query.only_count or value == "count"
    if value in ("true", "text", "data"):
        query.subset = query.subset or Subset(Summary(value))
    return True


def _take_total(query: SearchQuery, value: str) -> bool:
    if value not in ("none", "estimate", "accurate"):
        raise InvalidSearch("'_total' is none, estimate or accurate.")
    query.total = value != "none"
    return True


def _take_sort(query: SearchQuery, value: str) -> bool:
    keys = [key for key in value.split(",") if key]
    if len(query.sort) + len(keys) > MAX_SORT_KEYS:
        raise InvalidSearch(f"'_sort' has more than {MAX_SORT_KEYS} keys.")
    for key in keys:
        parameter = parameters_of(query.resource_type).get(key.removeprefix("-"))
        if parameter is None or parameter.type not in KINDS:
            raise InvalidSearch("'_sort' names no search parameter that has an order.")
        query.sort.append(SortKey(parameter, key.startswith("-")))
    return True


def _take_elements(query: SearchQuery, value: str) -> bool:
    names = frozenset(name.partition(".")[0] for name in value.split(",") if name)
    if len(names) > MAX_ELEMENTS or not all(map(_ELEMENT.fullmatch, names)):
        raise InvalidSearch(f"'_elements' is no list of at most {MAX_ELEMENTS} names of elements.")
    if names:  # they say more than a summary
        query.subset = Subset(elements=names)
    return True


def _take_page(query: SearchQuery, value: str) -> bool:
    query.page = value
    return True


def _take_contained(_query: SearchQuery, value: str) -> bool:
    if value != "false":
        raise UnsupportedSearch("Contained resources are not searched: '_contained' is false only.")
    return True


def _take_contained_type(_query: SearchQuery, value: str) -> bool:
    if value not in ("container", "contained"):
        raise InvalidSearch("'_containedType' is container or contained.")
    return True  # says how to answer what `_contained` is refused for


RESULT_PARAMETERS: Mapping[str, Callable[[SearchQuery, str], bool]] = {
    "_count": _take_count,
    "_summary": _take_summary,
    "_total": _take_total,
    "_sort": _take_sort,
    "_elements": _take_elements,
    "_contained": _take_contained,
    "_containedType": _take_contained_type,
    PAGE: _take_page,
}


def read_subset(resource_type: str, pairs: Iterable[tuple[str, str]]) -> Subset | None:
    """The part of a resource that `_summary` and `_elements` of a read ask for (http.html#parameters).

    Raises:
        InvalidSearch: a value that makes no sense.
    """
    query = SearchQuery(resource_type)
    for name, value in pairs:
        if name in ("_summary", "_elements"):
            RESULT_PARAMETERS[name](query, value)
    return query.subset
