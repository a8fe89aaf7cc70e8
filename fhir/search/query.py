"""A search as a value: what the parameters of a request ask for (FHIR R4 search.html).

Known and supported parameters become criteria; unknown ones are left out and not repeated in the self link,
or refused when the client asked for strict handling (search.html#errors). What FHIR defines and this server
does not offer yet (chains, `_has`, full text) is always refused: leaving it out would widen the result.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from fhir.search.definitions import (
    SearchParameter,
    SearchType,
    parameters_of,
    resource_types,
    unsupported_codes,
)
from fhir.search.kinds import KINDS
from fhir.search.value import InvalidSearch, UnsupportedSearch, split_escaped

DEFAULT_COUNT = 50
MAX_COUNT = 1_000  # entries of a page; what a client may hold at once
MAX_PARAMETERS = 100  # each is a subquery
MAX_VALUES = 500  # joined by commas in one parameter
MAX_VALUES_TOGETHER = 2_000  # of one search: each binds a few variables, and databases bound their number
MAX_SORT_KEYS = 5
MAX_INCLUDES = 50  # parameters `_include` and `_revinclude`
MAX_NAME_CHARACTERS = 100

PAGE = "_page"  # our own: where the next page begins
NOT_OFFERED = frozenset({"_has", "_filter", "_list", "_type", "_graph"})  # they narrow a search
WITHOUT_EFFECT = frozenset({"_format", "_pretty"})  # on the answer's form, decided elsewhere
EVERY_REFERENCE = "*"

Pairs = Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Criterion:
    """One parameter with its values, any of which may match; `missing` asks whether there is any value."""

    parameter: SearchParameter
    modifier: str | None
    values: tuple[str, ...]  # raw: escapes stay
    missing: bool | None = None


@dataclass(frozen=True, slots=True)
class SortKey:
    """One key of `_sort`."""

    parameter: SearchParameter
    descending: bool


@dataclass(frozen=True, slots=True)
class Include:
    """`source_type:code[:target_type]`; `reverse` for `_revinclude`."""

    source_type: str
    parameters: tuple[SearchParameter, ...]
    target_type: str | None
    reverse: bool


@dataclass(slots=True)
class SearchQuery:
    """A search of one resource type."""

    resource_type: str
    criteria: list[Criterion] = field(default_factory=list)
    sort: list[SortKey] = field(default_factory=list)
    includes: list[Include] = field(default_factory=list)
    elements: frozenset[str] | None = None
    count: int = DEFAULT_COUNT
    only_count: bool = False
    total: bool = False
    page: str | None = None
    understood: list[tuple[str, str]] = field(default_factory=list)  # for the self link


def parse_query(resource_type: str, pairs: Pairs, *, strict: bool = False) -> SearchQuery:
    """The search that the name-value pairs of a request describe.

    Raises:
        InvalidSearch: a value that makes no sense, too many of something, or (strict) an unknown name.
        UnsupportedSearch: what FHIR defines and this server does not offer.
    """
    query = SearchQuery(resource_type)
    for at, (name, value) in enumerate(pairs):
        if at >= MAX_PARAMETERS or len(name) > MAX_NAME_CHARACTERS:
            raise InvalidSearch(f"A search has at most {MAX_PARAMETERS} parameters, their names short.")
        if "\x00" in name or "\x00" in value:
            raise InvalidSearch("A search parameter contains NUL.")
        if name in WITHOUT_EFFECT:
            continue
        if _take(query, name, value):
            if name != PAGE:
                query.understood.append((name, value))
        elif strict:
            raise InvalidSearch(f"{resource_type} has no search parameter '{_shown(name)}'.")
    return query


def _take(query: SearchQuery, name: str, value: str) -> bool:
    base, _, modifier = name.partition(":")
    if base in RESULT_PARAMETERS:
        if modifier:
            raise UnsupportedSearch(f"'{base}' takes no modifier here.")
        return RESULT_PARAMETERS[base](query, value)
    if base in ("_include", "_revinclude"):
        return _take_include(query, base == "_revinclude", modifier, value)
    if base in NOT_OFFERED or base in unsupported_codes():
        raise UnsupportedSearch(f"The search parameter '{base}' is not supported.")
    return _take_criterion(query, base, modifier or None, value)


def _take_criterion(query: SearchQuery, code: str, modifier: str | None, value: str) -> bool:
    if "." in code or (modifier and "." in modifier):
        raise UnsupportedSearch("Chained search parameters are not supported.")
    parameter = parameters_of(query.resource_type).get(code)
    if parameter is None:
        return False
    if modifier == "missing":
        query.criteria.append(Criterion(parameter, None, (), _boolean(code, value)))
        return True
    if value == "":  # search.html#general: a parameter without value is as if absent
        return False
    allowed = _modifiers(parameter)
    if modifier is not None and modifier not in allowed:
        raise UnsupportedSearch(f"The modifier of '{code}' is not supported.")
    values = tuple(split_escaped(value, ","))
    if len(values) > MAX_VALUES:
        raise InvalidSearch(f"The search parameter '{code}' has more than {MAX_VALUES} values.")
    if sum(len(each.values) for each in query.criteria) + len(values) > MAX_VALUES_TOGETHER:
        raise InvalidSearch(f"A search has at most {MAX_VALUES_TOGETHER} values.")
    query.criteria.append(Criterion(parameter, modifier, values))
    return True


def _modifiers(parameter: SearchParameter) -> frozenset[str]:
    if parameter.type is SearchType.COMPOSITE or parameter.code in ("_id", "_lastUpdated"):
        return frozenset()
    if parameter.type is SearchType.REFERENCE and parameter.targets:
        return frozenset({"identifier", *parameter.targets})
    return KINDS[parameter.type].modifiers


def _boolean(code: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise InvalidSearch(f"'{code}:missing' is true or false.")
    return value == "true"


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
    return value in ("count", "false")  # other summaries are whole resources here, as R4 allows


def _take_total(query: SearchQuery, value: str) -> bool:
    if value not in ("none", "estimate", "accurate"):
        raise InvalidSearch("'_total' is none, estimate or accurate.")
    query.total = value != "none"
    return True


def _take_sort(query: SearchQuery, value: str) -> bool:
    keys = [key for key in value.split(",") if key]
    if len(keys) > MAX_SORT_KEYS:
        raise InvalidSearch(f"'_sort' has more than {MAX_SORT_KEYS} keys.")
    for key in keys:
        parameter = parameters_of(query.resource_type).get(key.removeprefix("-"))
        if parameter is None or parameter.type not in KINDS:
            raise InvalidSearch("'_sort' names no search parameter that has an order.")
        query.sort.append(SortKey(parameter, key.startswith("-")))
    return True


def _take_elements(query: SearchQuery, value: str) -> bool:
    names = frozenset(name for name in value.split(",") if name)
    query.elements = names or None
    return True


def _take_page(query: SearchQuery, value: str) -> bool:
    query.page = value
    return True


def _take_contained(_query: SearchQuery, value: str) -> bool:
    if value != "false":
        raise UnsupportedSearch("Searching contained resources is not supported.")
    return True


RESULT_PARAMETERS: Mapping[str, Callable[[SearchQuery, str], bool]] = {
    "_count": _take_count,
    "_summary": _take_summary,
    "_total": _take_total,
    "_sort": _take_sort,
    "_elements": _take_elements,
    "_contained": _take_contained,
    PAGE: _take_page,
}


def _take_include(query: SearchQuery, reverse: bool, modifier: str, value: str) -> bool:
    name = "_revinclude" if reverse else "_include"
    if modifier:
        raise UnsupportedSearch(f"'{name}' takes no modifier here.")
    if len(query.includes) >= MAX_INCLUDES:
        raise InvalidSearch(f"More than {MAX_INCLUDES} '_include' and '_revinclude'.")
    source_type, code, target_type = _parts_of_include(name, query.resource_type, value, reverse)
    parameters = tuple(_references(source_type, code))
    if not parameters:
        raise InvalidSearch(f"'{name}' names no reference parameter of that resource type.")
    query.includes.append(Include(source_type, parameters, target_type, reverse))
    return True


def _parts_of_include(name: str, searched: str, value: str, reverse: bool) -> tuple[str, str, str | None]:
    if value == EVERY_REFERENCE and not reverse:
        return searched, EVERY_REFERENCE, None
    source_type, *rest = value.split(":")
    if not 1 <= len(rest) <= 2 or source_type not in resource_types():
        raise InvalidSearch(f"The value of '{name}' is not Type:parameter[:Type].")
    target_type = rest[1] if len(rest) == 2 and rest[1] else None
    if target_type is not None and target_type not in resource_types():
        raise InvalidSearch(f"The target of '{name}' is no resource type.")
    if not reverse and source_type != searched:
        raise InvalidSearch(f"'{name}' starts from another type than the one searched.")
    return source_type, rest[0], target_type


def _references(source_type: str, code: str) -> Sequence[SearchParameter]:
    found = parameters_of(source_type).values()
    return [p for p in found if p.type is SearchType.REFERENCE and code in (p.code, EVERY_REFERENCE)]


def _shown(name: str) -> str:
    """The name if it can be one; a value put in its place is not repeated."""
    return (
        name if name.replace("-", "").replace("_", "").replace(":", "").isalnum() and len(name) < 40 else "…"
    )
